"""What was last told of positions or products: a small column of states, stored two bits each.

Pure. A state is kept for every id, so that what is new is told apart from what was there: ten
million take 2.5 MB in the database and ten in memory.

Invariant: `unpack(pack(column)) == column`; a column is always a whole number of blocks long.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from penstock.availability.product_map import Ints

States: TypeAlias = NDArray[np.uint8]
UNKNOWN, IN_STOCK, AT_RISK, OUT_OF_STOCK = 0, 1, 2, 3
BLOCK = 4_096
_PER_BYTE = 4
_SHIFTS = np.array([0, 2, 4, 6], dtype=np.uint8)


def grown(column: States, highest_id: int) -> States:
    """Return a column that has room for an id, with some to spare."""
    if highest_id < len(column):
        return column
    blocks = (highest_id + highest_id // 8) // BLOCK + 1
    longer = np.zeros(blocks * BLOCK, dtype=np.uint8)
    longer[: len(column)] = column
    return longer


def packed_with(column: States, ids: Ints, states: States) -> tuple[list[int], list[bytes]]:
    """Return the blocks of some ids, as they are stored with these states; the column stays."""
    blocks = np.unique(ids // BLOCK)
    rows = column.reshape(-1, BLOCK)[blocks]
    rows[np.searchsorted(blocks, ids // BLOCK), ids % BLOCK] = states
    fours = rows.reshape(len(blocks), BLOCK // _PER_BYTE, _PER_BYTE) << _SHIFTS
    packed = np.bitwise_or.reduce(fours, axis=2)
    return blocks.tolist(), [row.tobytes() for row in packed]


def unpack(block: bytes) -> States:
    """Return the states of a stored block."""
    packed = np.frombuffer(block, dtype=np.uint8)
    return ((packed[:, None] >> _SHIFTS) & np.uint8(3)).reshape(-1)
