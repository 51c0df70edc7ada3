"""Carriers and lanes as people list them: a page at a time."""

from __future__ import annotations

from typing import Any

from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.carriers import SQL

_KEY = "\t"  # refs and places hold no tab
_PARTS = 4


async def list_carriers(tx: Tx, after: str, limit: int) -> list[dict[str, Any]]:
    """Return carriers by ref, after a ref, each with its services."""
    rows = await tx.fetch(SQL.page_of_carriers, (after, limit))
    return [{"ref": row[0], "name": row[1], "services": row[2]} for row in rows]


async def list_lanes(
    tx: Tx, carrier: str | None, after: str, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Return lanes, of a carrier if one is named, and where the next page begins (None: no more).

    Refuses with `invalid_query` an `after` that no page has ended with.
    """
    parts = after.split(_KEY) if after else [""] * _PARTS
    if len(parts) != _PARTS:
        raise Refusal("invalid_query", "after: It is the `next` of the page before.", field="after")
    rows = await tx.fetch(SQL.page_of_lanes, (carrier, carrier, *parts, limit))
    names = ("carrier", "service", "origin", "destination", "days")
    found: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
    following = None
    if len(rows) == limit:
        following = _KEY.join(str(part) for part in rows[-1][:_PARTS])
    return found, following
