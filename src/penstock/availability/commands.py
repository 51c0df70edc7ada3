"""Availability's verbs: put and remove controls, what a channel has to leave and may not exceed.

A control is known by its ref. One that is put again is changed in its place, and what caps and
ring-fences have counted stays; removed and put anew, they begin at 0. Bumps revision `control`; who
changes controls waits for who else does. What is there is compared here and not by a join: every
process holds all controls, and PostgreSQL knows too little of the list to plan one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any

import msgspec

from penstock.availability.control_input import (
    ControlInput,
    check_control,
    hour_of,
    percent_bp,
    ref_of,
)
from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.records import Result, answers, sift

SQL = Queries("penstock.availability", "control_commands.sql")
NamedIds = Mapping[str, Mapping[str, Sequence[int]]]
_NOTHING = (None,)
_FIELDS = ("channel", "sku", "location", "network")
_encode = msgspec.json.Encoder().encode


class Stored(msgspec.Struct):
    """One row of table `control`; a SKU that several catalogues have is a row each."""

    ref: str
    kind: str
    channel_id: int | None
    product_id: int | None
    location_id: int | None
    location_kind: str | None
    network_id: int | None
    category_ref: str | None
    qty: int
    percent_bp: int
    group_name: str
    combine: str
    priority: int
    active_from: str | None
    active_until: str | None
    daily_from: str | None
    daily_until: str | None
    per_location: bool
    kept_channels: list[int] | None
    kept_tiers: list[str] | None
    basket_min_minor: int | None
    basket_currency: str | None
    id: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """Return what makes it the same control, with the same count."""
        return (self.ref, self.kind, self.product_id, self.per_location)


async def put_controls(tx: Tx, controls: Sequence[ControlInput]) -> list[Result]:
    """Make or change controls by ref; a SKU means it in every catalogue.

    Returns `created`, `updated`, `unchanged` or a refusal each: `unknown_ref`, `invalid_control`,
    `quantity_out_of_range`, `invalid_currency`, `control_group_differs` (the group is combined in
    another way), `superseded` (a later record has the same ref).
    """
    refusals, good, _ = sift(controls, check_control, ref_of, "invalid_control")
    await tx.execute(SQL.lock_controls)
    ids = await _named_ids(tx, good)
    refs = [ref_of(one) for one in good]
    there = [_stored(row[0]) for row in await tx.fetch(SQL.stored_controls, (refs,))]
    ways = {(row[2], row[0], row[1]) for row in await tx.fetch(SQL.groups_of_others, (refs,))}
    ways |= {(ref_of(one), one.group, one.combine) for one in good if _is_grouped(one)}
    refused = {ref_of(one): _unknown(one, ids) or _misfit(one, ways) for one in good}
    placed = [one for one in good if refused[ref_of(one)] is None]
    written = await _write(tx, {ref_of(one): _rows(one, ids) for one in placed}, there)
    if written:
        await tx.execute(SQL.bump_control)
    refusals = [
        refusal or refused.get(ref_of(one)) for refusal, one in zip(refusals, controls, strict=True)
    ]
    return answers(controls, refusals, written, ref_of)


async def remove_controls(tx: Tx, refs: Sequence[str]) -> list[Result]:
    """Remove controls by ref; returns `removed` or the refusal `unknown_control` each."""
    await tx.execute(SQL.lock_controls)
    removed = {row[0] for row in await tx.fetch(SQL.remove_controls, (list(refs),))}
    if removed:
        await tx.execute(SQL.bump_control)
    return ["removed" if ref in removed else _no_control(ref) for ref in refs]


def _no_control(ref: str) -> Refusal:
    return Refusal("unknown_control", f"There is no control {ref[:100]!r}.", control=ref[:100])


def _stored(body: Any) -> Stored:
    return msgspec.convert(body, Stored)


async def _write(
    tx: Tx, wanted: Mapping[Hashable, Sequence[Stored]], there: Sequence[Stored]
) -> dict[Hashable, str]:
    """Write the controls that are not there just so; returns what became of those."""
    by_ref: dict[str, list[Stored]] = {}
    for one in there:
        by_ref.setdefault(one.ref, []).append(one)
    written: dict[Hashable, str] = {}
    dropped: list[int] = []
    changed: list[Stored] = []
    added: list[Stored] = []
    for ref, rows in wanted.items():
        old = by_ref.get(str(ref), [])
        known = {one.key: one.id for one in old}
        mine = [msgspec.structs.replace(row, id=known.pop(row.key, 0)) for row in rows]
        if len(old) == len(mine) and all(row in old for row in mine):
            continue
        written[ref] = "updated" if old else "created"
        kept = {row.id for row in mine}
        dropped += [one.id for one in old if one.id not in kept]
        changed += [row for row in mine if row.id]
        added += [row for row in mine if not row.id]
    if dropped:
        await tx.execute(SQL.drop_controls, (dropped,))
    if changed:
        await tx.execute(SQL.change_controls, (_encode(changed).decode(),))
    if added:
        await tx.execute(SQL.add_controls, (_encode(added).decode(),))
    return written


async def _named_ids(tx: Tx, controls: Sequence[ControlInput]) -> NamedIds:
    asked = {field: _values(controls, field) for field in _FIELDS}
    asked["channel"] |= {ref for one in controls for ref in one.kept_channels}
    ids: dict[str, dict[str, list[int]]] = {field: {} for field in _FIELDS}
    params = tuple(sorted(asked[field]) for field in _FIELDS)
    for kind, ref, number in await tx.fetch(SQL.named_ids, params, prepare=False):
        ids[kind].setdefault(ref, []).append(number)
    return ids


def _values(controls: Iterable[ControlInput], field: str) -> set[str]:
    return {value for one in controls if (value := getattr(one, field)) is not None}


def _unknown(control: ControlInput, ids: NamedIds) -> Refusal | None:
    named = [(field, getattr(control, field)) for field in _FIELDS]
    named += [("channel", ref) for ref in control.kept_channels]
    for kind, ref in named:
        if ref is not None and ref not in ids[kind]:
            sentence = f"There is no {kind} {ref[:100]!r}."
            return Refusal("unknown_ref", sentence, field=kind, kind=kind, ref=ref[:100])
    return None


def _misfit(control: ControlInput, ways: AbstractSet[tuple[str, str, str]]) -> Refusal | None:
    """Return why a control cannot be in its group: others (ref, group, way) combine otherwise."""
    if not _is_grouped(control):
        return None
    mine = ref_of(control)
    for ref, group, combine in sorted(ways):
        if ref != mine and group == control.group and combine != control.combine:
            sentence = f"Group {group!r} combines by {combine!r}, as control {ref[:100]!r} says."
            return Refusal("control_group_differs", sentence, field="combine", group=group)
    return None


def _is_grouped(control: ControlInput) -> bool:
    return control.kind in {"buffer", "safety_stock"}


def _rows(control: ControlInput, ids: NamedIds) -> list[Stored]:
    """Return the rows of a control, one per product of its SKU."""
    only = {name: ids[name].get(getattr(control, name) or "", _NOTHING)[0] for name in _FIELDS}
    kept_channels = sorted(ids["channel"][ref][0] for ref in control.kept_channels)
    products = ids["sku"].get(control.sku or "", _NOTHING)
    return [
        Stored(
            ref=ref_of(control),
            kind=control.kind,
            channel_id=only["channel"],
            product_id=product_id,
            location_id=only["location"],
            location_kind=control.location_kind,
            network_id=only["network"],
            category_ref=control.category,
            qty=control.qty or 0,
            percent_bp=percent_bp(control),
            group_name=control.group,
            combine=control.combine,
            priority=control.priority,
            active_from=_instant(control.active_from),
            active_until=_instant(control.active_until),
            daily_from=_hour(control.daily_from),
            daily_until=_hour(control.daily_until),
            per_location=control.per_location,
            kept_channels=kept_channels or None,
            kept_tiers=sorted(control.kept_tiers) or None,
            basket_min_minor=control.basket_min_minor,
            basket_currency=control.basket_currency,
        )
        for product_id in products
    ]


def _instant(at: datetime | None) -> str | None:
    """Write an instant as `stored_controls` does."""
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _hour(text: str | None) -> str | None:
    hour = hour_of(text, "")
    return None if hour is None else hour.isoformat()
