"""Storage areas of locations: pick, bulk, receiving, quarantine, returns; made or changed by ref.

Owns table `area`. What lies in an area of kind `quarantine` or `returns` is kept from everybody, so
no area becomes such a one, or ceases to be: stock is moved, and its position's lock guards it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import msgspec
import numpy as np

from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.inventory.shelves import BLOCKED_KINDS
from penstock.records import MAX_REF, Result, answers, check_ref, sift

SQL = Queries("penstock.inventory", "areas.sql")
KINDS = ("pick", "bulk", "receiving", "quarantine", "returns")
MAX_LISTED = 500


class AreaInput(msgspec.Struct, forbid_unknown_fields=True):
    """A storage area to make or change, by its location's ref and its own."""

    location: str
    ref: str
    kind: str = "pick"
    name: str = ""


class Area(msgspec.Struct, frozen=True):
    """A storage area, with the units of known lots in it."""

    location: str
    ref: str
    kind: str
    name: str
    qty: int


async def upsert_areas(tx: Tx, areas: Sequence[AreaInput]) -> list[Result]:
    """Make or change areas; returns `created`, `updated`, `unchanged` or a refusal each.

    Refusals: `invalid_area`, `unknown_location`, `area_kind_fixed`, `superseded` (a later record of
    the list is about the same area).
    """
    refusals, good, body = sift(areas, check_area, _key, "invalid_area")
    if not good:
        return answers(areas, refusals, {}, _key)
    known = {(row[0], row[1]): row[2:] for row in await tx.fetch(SQL.areas_asked, (body,))}
    for place, one in enumerate(areas):
        if refusals[place] is None:
            refusals[place] = _unusable(one, *known[one.location, one.ref])
    rest = [one for one, refusal in zip(areas, refusals, strict=True) if refusal is None]
    rows = await tx.fetch(SQL.put_areas, (msgspec.json.encode(rest).decode(),))
    written: dict[Hashable, str] = {(r[0], r[1]): "created" if r[2] else "updated" for r in rows}
    return answers(areas, refusals, written, _key)


def _unusable(area: AreaInput, location_id: int | None, kind: str | None) -> Refusal | None:
    """Return why an area cannot be put, knowing its location's id and what kind it is."""
    if location_id is None:
        sentence = f"There is no location {area.location[:100]!r}."
        return Refusal("unknown_location", sentence, field="location", location=area.location[:100])
    if kind is not None and (kind in BLOCKED_KINDS) != (area.kind in BLOCKED_KINDS):
        sentence = f"Area {area.ref!r} is {kind}: make another of kind {area.kind}, move the stock."
        return Refusal("area_kind_fixed", sentence, field="kind", area=area.ref)
    return None


def check_area(area: AreaInput) -> None:
    """Refuse a record that cannot be an area with `invalid_area`, naming the field."""
    check_ref(area.ref, "invalid_area")
    if area.kind not in KINDS:
        raise Refusal("invalid_area", f"kind: One of {', '.join(KINDS)}.", field="kind")
    if len(area.name) > MAX_REF:
        sentence = f"name: It has at most {MAX_REF} characters."
        raise Refusal("invalid_area", sentence, field="name")


def _key(area: AreaInput) -> Hashable:
    return (area.location, area.ref)


async def list_areas(tx: Tx, location: str | None = None, after: str = "") -> list[Area]:
    """List areas by location and ref, up to `MAX_LISTED`; `after` is a location's ref."""
    rows = await tx.fetch(SQL.list_areas, (location, location, after, MAX_LISTED))
    return [Area(*row) for row in rows]


AreaIds = Mapping[tuple[int, str], tuple[int, str]]  # id and kind by location id and ref


async def find_areas(tx: Tx, asked: Sequence[tuple[int, str]]) -> AreaIds:
    """Return ids and kinds of the areas that are there, by location id and ref."""
    wanted = sorted(set(asked))
    if not wanted:
        return {}
    location_ids = np.array([key[0] for key in wanted], dtype=np.int32)
    rows = await tx.fetch(SQL.find_areas, (location_ids, [key[1] for key in wanted]))
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}
