"""What may be promised of kits, from what may be promised of their components.

A kit that ships whole is at a location as often as its scarcest component allows there, and in
total the sum of that; one whose parts may ship apart is in total what the scarcest component allows
over all locations. Buffers and switches of the components count; positions of the kit's own SKU do
not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from penstock.availability.atp import VirtualCatalogue
from penstock.availability.neighbours import rows_of


def kits_by_row(
    catalogue: VirtualCatalogue, parts: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.int64], int]:
    """Return whole kits by location row, and how many there are if parts may ship apart.

    `parts` are (product id, quantity in each kit), at least one.
    """
    index = catalogue.index
    product_ids = np.array([product_id for product_id, _ in parts], dtype=np.intp)
    per_kit = np.array([qty for _, qty in parts], dtype=np.int64)
    line_start, ids = index.positions_of(product_ids)
    width = len(catalogue.terms.serves)  # the last is nowhere: nothing is promised there
    lines = np.arange(len(parts)).repeat(line_start[1:] - line_start[:-1])
    rows = rows_of(catalogue.terms.row_of, index.location[ids])
    there = np.zeros((len(parts), width), dtype=np.int64)
    np.add.at(there, (lines, rows), catalogue.available_at(ids))
    whole = (there // per_kit[:, None]).min(axis=0)[:-1]
    return whole, int((there.sum(axis=1) // per_kit).min())
