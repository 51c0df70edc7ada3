"""Which products a category holds, and how deep it lies, as far as controls need to know.

Both are the tree's (`catalogue/categories.py`), whatever refs look like. Every process holds, per
category that a control or a threshold names, its products; who changes a product's category, or
the tree, bumps revision `control`, or `threshold`, where one names any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from penstock.availability.product_map import Ints
from penstock.db import Queries, Tx

SQL = Queries("penstock.availability", "controls.sql")


async def products_in(tx: Tx, categories: Sequence[str]) -> dict[str, Ints]:
    """Return the ids of the products in each category or one below it."""
    if not categories:
        return {}
    rows = await tx.fetch(SQL.products_in_categories, (list(categories),))
    return {row[0]: row[1] for row in rows}


async def depths_of(tx: Tx, categories: Sequence[str]) -> dict[str, int]:
    """Return how deep categories lie, 1 at the top: of several catalogues, where it is deepest."""
    if not categories:
        return {}
    return {row[0]: row[1] for row in await tx.fetch(SQL.depths_of_categories, (list(categories),))}


class Membership:
    """Products by the set of named categories they are in: one small code per product."""

    def __init__(self, members: Mapping[str, Ints]) -> None:
        highest = max((int(ids.max()) for ids in members.values() if len(ids)), default=-1)
        codes = np.zeros(highest + 2, dtype=np.int32)  # the last: of products not in any
        sets: list[frozenset[str]] = [frozenset()]
        for name, ids in sorted(members.items()):
            known = {one: place for place, one in enumerate(sets)}
            for code in np.unique(codes[ids]).tolist():
                within = sets[code] | {name}
                if within not in known:
                    known[within] = len(sets)
                    sets.append(within)
                mine = ids[codes[ids] == code]
                codes[mine] = known[within]
        self.codes = codes
        self.sets = sets

    def of(self, product_ids: Ints) -> Ints:
        """Return the code of each product."""
        return self.codes.take(product_ids, mode="clip")

    def of_one(self, product_id: int) -> int:
        """Return the code of one product."""
        return int(self.codes[product_id]) if product_id < len(self.codes) else 0

    def codes_in(self, category: str | None) -> list[int]:
        """Return the codes of products in a category; of every product, without one."""
        return [n for n, one in enumerate(self.sets) if category is None or category in one]
