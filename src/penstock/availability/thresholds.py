"""Thresholds: levels of stock, and of what a channel may promise, that are told when crossed.

Owns table `threshold`: putting, removing, listing, and what processes hold of it: `Levels` of one
watch, resolved as buffers are (the narrowest product beats the narrowest place). Who is told what
is `rules/crossings.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.categories import Membership, products_in
from penstock.availability.floors import Floors, Setting, resolve
from penstock.availability.neighbours import Locations
from penstock.availability.product_map import Ints
from penstock.availability.rule import Rule
from penstock.availability.states import AT_RISK, IN_STOCK, OUT_OF_STOCK, UNKNOWN, States
from penstock.availability.threshold_input import (
    INVALID,
    ThresholdInput,
    check_threshold,
    ref_of,
    watch_of,
)
from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.records import Result, answers, sift

SQL = Queries("penstock.availability", "thresholds.sql")
MAX_LISTED = 1_000
_ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)  # thresholds have no hours
_encode = msgspec.json.Encoder().encode
_FIELDS = ("channel", "sku", "location")
_NOTHING: Sequence[int | None] = (None,)


class Stored(msgspec.Struct, frozen=True):
    """One row of table `threshold`."""

    ref: str
    watch: str
    channel_id: int | None
    product_id: int | None
    category_ref: str | None
    location_id: int | None
    at_risk: int
    out_of_stock: int


class Levels(msgspec.Struct, frozen=True):
    """The levels of one watch, by product and location row; 0 where no threshold says another."""

    at_risk: Floors
    out_of_stock: Floors

    def states(self, product_ids: Ints, rows: Ints, available: NDArray[np.int64]) -> States:
        """Return the state of each: at or below its level it is at risk, or out of stock."""
        found = np.full(len(available), IN_STOCK, dtype=np.uint8)
        found[available <= _level(self.at_risk, product_ids, rows)] = AT_RISK
        found[available <= _level(self.out_of_stock, product_ids, rows)] = OUT_OF_STOCK
        return found


def _level(floors: Floors, product_ids: Ints, rows: Ints) -> NDArray[np.int64] | int:
    return 0 if floors.is_zero else floors.at(product_ids, rows)


def entered(states: States, available: NDArray[np.int64]) -> States:
    """Return states in which what was not known is as it came: with stock, or without."""
    came = np.where(available > 0, IN_STOCK, OUT_OF_STOCK).astype(np.uint8)
    return np.where(states == UNKNOWN, came, states)


class Thresholds:
    """Every threshold of an account, as loaded; `watches` are those that have any."""

    def __init__(
        self,
        rows: Sequence[Stored],
        locations: Locations,
        members: Mapping[str, Ints] | None = None,
    ) -> None:
        self._rows = rows
        self._locations = locations
        self._membership = Membership(members or {})
        self.watches = sorted({(row.watch, row.channel_id or 0) for row in rows})

    def levels(self, watch: str, channel_id: int) -> Levels:
        """Return the levels of a watch (channel 0: none)."""
        mine = [r for r in self._rows if (r.watch, r.channel_id or 0) == (watch, channel_id)]
        setting = Setting((None,), self._locations, self._membership, _ALWAYS)
        at_risk = resolve([_rule(row, row.at_risk) for row in mine], setting)
        return Levels(at_risk, resolve([_rule(row, row.out_of_stock) for row in mine], setting))


def _rule(row: Stored, qty: int) -> Rule:
    return Rule(
        product_id=row.product_id,
        location_id=row.location_id,
        category=row.category_ref,
        qty=qty,
    )


async def load_thresholds(tx: Tx, locations: Locations) -> Thresholds:
    """Load every threshold; anew when `threshold` or `network` changes."""
    rows = [Stored("", *row) for row in await tx.fetch(SQL.thresholds)]
    categories = sorted({row.category_ref for row in rows if row.category_ref is not None})
    return Thresholds(rows, locations, await products_in(tx, categories))


async def put_thresholds(tx: Tx, thresholds: Sequence[ThresholdInput]) -> list[Result]:
    """Make or change thresholds by ref; a SKU means it in every catalogue.

    Returns `created`, `updated`, `unchanged` or a refusal each: `invalid_threshold`,
    `quantity_out_of_range`, `unknown_ref`, `superseded` (a later record has the same ref).
    """
    refusals, good, _ = sift(thresholds, check_threshold, ref_of, INVALID)
    await tx.execute(SQL.lock_thresholds)
    ids = await _ids(tx, good)
    refused = {ref_of(one): _unknown(one, ids) for one in good}
    wanted = {ref_of(one): _rows(one, ids) for one in good if refused[ref_of(one)] is None}
    there: dict[str, list[Stored]] = {}
    for row in await tx.fetch(SQL.stored_thresholds, (list(wanted),)):
        there.setdefault(row[0], []).append(Stored(*row))
    changed = [ref for ref, rows in wanted.items() if there.get(ref) != rows]
    written: dict[Hashable, str] = {r: "updated" if r in there else "created" for r in changed}
    if changed:
        await tx.execute(SQL.drop_thresholds, (changed,))
        rows = [row for ref in changed for row in wanted[ref]]
        await tx.execute(SQL.add_thresholds, (_encode(rows).decode(),))
        await tx.execute(SQL.bump_threshold)
    refusals = [r or refused[ref_of(one)] for r, one in zip(refusals, thresholds, strict=True)]
    return answers(thresholds, refusals, written, ref_of)


async def remove_thresholds(tx: Tx, refs: Sequence[str]) -> list[Result]:
    """Remove thresholds by ref; returns `removed` or the refusal `unknown_threshold` each."""
    await tx.execute(SQL.lock_thresholds)
    removed = {row[0] for row in await tx.fetch(SQL.drop_thresholds, (list(refs),))}
    if removed:
        await tx.execute(SQL.bump_threshold)
    return ["removed" if ref in removed else _no_threshold(ref) for ref in refs]


async def list_thresholds(
    tx: Tx, after: str | None = None, limit: int = MAX_LISTED
) -> list[ThresholdInput]:
    """Return thresholds as they were put, by ref, the first `limit` after a ref."""
    rows = await tx.fetch(SQL.list_thresholds, (after, after, limit))
    return [
        ThresholdInput(at_risk, out, ref, watch, channel, sku, category, location)
        for ref, at_risk, out, watch, channel, sku, category, location in rows
    ]


def _no_threshold(ref: str) -> Refusal:
    sentence = f"There is no threshold {ref[:100]!r}."
    return Refusal("unknown_threshold", sentence, threshold=ref[:100])


async def _ids(
    tx: Tx, thresholds: Sequence[ThresholdInput]
) -> dict[str, dict[str, list[int | None]]]:
    asked = [
        sorted({value for one in thresholds if (value := getattr(one, field)) is not None})
        for field in _FIELDS
    ]
    ids: dict[str, dict[str, list[int | None]]] = {field: {} for field in _FIELDS}
    for kind, ref, number in await tx.fetch(SQL.threshold_ids, asked, prepare=False):
        ids[kind].setdefault(ref, []).append(number)
    return ids


def _unknown(
    threshold: ThresholdInput, ids: Mapping[str, Mapping[str, Sequence[int | None]]]
) -> Refusal | None:
    for field in _FIELDS:
        ref = getattr(threshold, field)
        if ref is not None and ref not in ids[field]:
            sentence = f"There is no {field} {ref[:100]!r}."
            return Refusal("unknown_ref", sentence, field=field, kind=field, ref=ref[:100])
    return None


def _rows(
    threshold: ThresholdInput, ids: Mapping[str, Mapping[str, Sequence[int | None]]]
) -> list[Stored]:
    """Return the rows of a threshold, one per product of its SKU."""
    channel_id, location_id = (
        ids[name].get(getattr(threshold, name) or "", _NOTHING)[0] for name in _FIELDS[::2]
    )
    return [
        Stored(
            ref=ref_of(threshold),
            watch=watch_of(threshold),
            channel_id=channel_id,
            product_id=product_id,
            category_ref=threshold.category,
            location_id=location_id,
            at_risk=threshold.at_risk,
            out_of_stock=threshold.out_of_stock,
        )
        for product_id in sorted(ids["sku"].get(threshold.sku or "", _NOTHING), key=_or_0)
    ]


def _or_0(number: int | None) -> int:
    return number or 0
