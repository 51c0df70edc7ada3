"""`/v1/lots` and `/v1/areas`: lots counted, changed, moved, looked at; picks of a fulfilment.

Owns rows and their refs; what they do is `inventory/lots.py`'s. A list is one pass and taken whole:
with a problem in any row nothing is done, and the report says which rows. Changes and moves need an
`Idempotency-Key`: the same key has one effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import msgspec

from penstock.api import stock_rows
from penstock.api.errors import problem, refused
from penstock.api.exchange import Reply, Request, idempotency_key, replayed
from penstock.api.reading import read_json, refuse_nul
from penstock.api.served import Served
from penstock.api.stock_rows import Envelope, Problem, Ref, Resolved, StockRow
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.ids import new_id, parse_id
from penstock.inventory.areas import AreaInput, find_areas, list_areas, upsert_areas
from penstock.inventory.counts import Outcome, microseconds
from penstock.inventory.lot_views import MAX_LISTED, LotSearch, list_lots, lot_history
from penstock.inventory.lots import (
    LotCounts,
    LotMove,
    LotQty,
    PositionLots,
    Want,
    change_lots,
    find_positions,
    lots_not_tracked,
    move_lots,
    set_lots,
    suggest_lots,
    track_products,
)
from penstock.orders.commands import claim_keys, drop_keys, write_answers
from penstock.passes import Pass
from penstock.quantity import check_qty
from penstock.rules.lots import SkuLots, keep_for_fulfilment, suggest_for_fulfilment

MAX_ROWS = 2_000
T = TypeVar("T")
Days = Annotated[int, msgspec.Meta(ge=0, le=36_500)]
_encode = msgspec.json.Encoder().encode


class LotRow(StockRow, forbid_unknown_fields=True, kw_only=True):
    """A lot at a place; without `lot`, units of no known one."""

    lot: Ref | None = None
    expires_on: date | None = None
    supplier: Annotated[str, msgspec.Meta(max_length=100)] = ""
    area: Ref | None = None


class CountRow(LotRow, forbid_unknown_fields=True, kw_only=True):
    """How many were counted."""

    qty: int
    counted_at: datetime | None = None


class ChangeRow(LotRow, forbid_unknown_fields=True, kw_only=True):
    """By how much a lot changed."""

    delta: int


class MoveRow(StockRow, forbid_unknown_fields=True, kw_only=True, rename={"from_area": "from"}):
    """How many go from one area to another; no area: the rest of the location."""

    lot: Ref
    qty: int
    from_area: Ref | None = None
    to: Ref | None = None


class WantRow(StockRow, forbid_unknown_fields=True, kw_only=True):
    """For how many lots are to be suggested."""

    qty: int
    min_remaining_days: Days = 0


class TrackBody(msgspec.Struct, forbid_unknown_fields=True):
    """SKUs of which lots are to be kept."""

    skus: Annotated[list[Ref], msgspec.Meta(min_length=1, max_length=MAX_ROWS)]
    channel: Ref | None = None


class AreasBody(msgspec.Struct, forbid_unknown_fields=True):
    """Areas to make or change."""

    areas: Annotated[list[AreaInput], msgspec.Meta(min_length=1, max_length=MAX_ROWS)]


class KeepBody(msgspec.Struct, forbid_unknown_fields=True):
    """Lots that were picked for a fulfilment; with `peg`, that are to be kept for it."""

    lots: list[SkuLots] = []
    peg: bool = False


class Report(msgspec.Struct, omit_defaults=True):
    """What became of a list; `older` positions are as a newer count has them."""

    rows: int
    positions: int = 0
    older: int = 0
    problems: list[Problem] = []


_count = msgspec.json.Decoder(CountRow)
_change = msgspec.json.Decoder(ChangeRow)
_move = msgspec.json.Decoder(MoveRow)
_want = msgspec.json.Decoder(WantRow)
_track = msgspec.json.Decoder(TrackBody)
_areas = msgspec.json.Decoder(AreasBody)
_keep = msgspec.json.Decoder(KeepBody)


async def post_track(served: Served, request: Request) -> Reply:
    """Begin to keep lots of SKUs; 200 with those that are new to it. Refuses `unknown_sku`."""
    refuse_nul(request.body)
    body = read_json(_track, request.body)
    ids = await served.knowledge.run_pass(
        "lots", lambda tx: stock_rows.product_ids(tx, body.skus, body.channel)
    )
    begun = set(await served.database.run(served.schema, lambda tx: track_products(tx, ids)))
    new = [sku for sku, product_id in zip(body.skus, ids, strict=True) if product_id in begun]
    return Reply(HTTPStatus.OK, _encode({"tracked": new}))


async def post_counts(served: Served, request: Request) -> Reply:
    """Count positions by lot; 200 with a report. A lot that is not named is not there any more."""
    envelope = _rows_of(request)

    async def work(tx: Pass) -> Report:
        report, rows, resolved = await _understand(tx, envelope, _count, _check_count)
        if report.problems:
            return report
        for row in rows.values():
            instant = row.counted_at or envelope.counted_at or tx.now
            row.counted_at = stock_rows.check_instant(instant, tx.now, "counted_at")
        quantities = {place: row.qty for place, row in rows.items()}
        positions, first = await _by_position(tx, rows, resolved, quantities)
        instants = [microseconds(rows[place].counted_at or tx.now) for place in first]
        source_id = await stock_rows.source_id(tx, envelope.source)
        outcomes = await set_lots(tx, LotCounts(positions, instants, source_id, new_id()))
        report.positions = int(
            ((outcomes == Outcome.CHANGED) | (outcomes == Outcome.UNCHANGED)).sum()
        )
        report.older = int((outcomes == Outcome.OLDER).sum())
        return report

    return await _once(served, request, work, needs_key=False)


async def post_changes(served: Served, request: Request) -> Reply:
    """Change lots by deltas: received, found, thrown away; 200 with a report."""
    envelope = _rows_of(request)

    async def work(tx: Pass) -> Report:
        report, rows, resolved = await _understand(tx, envelope, _change, _check_change)
        if not report.problems:
            deltas = {place: row.delta for place, row in rows.items()}
            positions, _ = await _by_position(tx, rows, resolved, deltas)
            await change_lots(tx, positions, new_id())
            report.positions = len(positions)
        return report

    return await _once(served, request, work, needs_key=True)


async def post_moves(served: Served, request: Request) -> Reply:
    """Move lots between areas; 200 with a report. Problems of rows: `lot_unavailable`."""
    envelope = _rows_of(request)

    async def work(tx: Pass) -> Report:
        report, rows, resolved = await _understand(tx, envelope, _move, _check_move)
        if report.problems:
            return report
        ids = await find_positions(tx, _keys(resolved))
        at = dict(zip(resolved.places, resolved.location_ids, strict=True))
        named = [(at[n], area) for n, r in rows.items() for area in (r.from_area, r.to) if area]
        areas = await find_areas(tx, named)
        moves: list[LotMove] = []
        for place, position_id in zip(resolved.places, ids, strict=True):
            row = rows[place]
            from_id, _ = areas.get((at[place], row.from_area or ""), (0, ""))
            to_id, kind = areas.get((at[place], row.to or ""), (0, "pick"))
            moves.append(LotMove(position_id, row.lot, row.qty, from_id, to_id, kind))
        results = await move_lots(tx, moves)
        for place, result in zip(resolved.places, results, strict=True):
            if isinstance(result, Refusal):
                report.problems.append(stock_rows.problem_of(place, result))
        report.positions = len(moves) - len(report.problems)
        return report

    return await _once(served, request, work, needs_key=True)


async def post_suggestions(served: Served, request: Request) -> Reply:
    """Suggest lots, first expired first; 200 with the picks of each row, in order."""
    envelope = _rows_of(request)

    async def work(tx: Pass) -> Report | list[Any]:
        report, rows, resolved = await _understand(tx, envelope, _want, _check_want)
        if report.problems:
            return report
        ids = await find_positions(tx, _keys(resolved))
        wants = [
            Want(position_id, rows[place].qty, rows[place].min_remaining_days)
            for place, position_id in zip(resolved.places, ids, strict=True)
        ]
        return await suggest_lots(tx, wants, tx.now)

    found = await served.knowledge.run_pass("lots", work)
    body = found if isinstance(found, Report) else {"suggestions": found}
    return Reply(HTTPStatus.OK, _encode(body))


async def get_lots(served: Served, request: Request) -> Reply:
    """List what lies where, first expired first; refuses with `invalid_query`."""
    query = _query(request, {"sku", "location", "lot", "expires_before", "limit"})
    try:
        search = msgspec.convert(query, LotSearch, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal("invalid_query", f"{error}.".replace("`", "'")) from None
    found = await served.database.run(served.schema, lambda tx: list_lots(tx, search))
    return Reply(HTTPStatus.OK, _encode({"lots": found}))


async def get_history(served: Served, request: Request) -> Reply:
    """Say what became of a lot (`sku`, `lot`), newest first; refuses with `invalid_query`."""
    query = _query(request, {"sku", "lot"})
    if query.keys() != {"sku", "lot"}:
        raise Refusal("invalid_query", "Say which lot, with `sku` and `lot`.", field="lot")

    async def work(tx: Tx) -> list[Any]:
        return [*await lot_history(tx, query["sku"], query["lot"], MAX_LISTED)]

    found = await served.database.run(served.schema, work)
    return Reply(HTTPStatus.OK, _encode({"history": found}))


async def get_fulfilment_lots(served: Served, fulfilment_id: str) -> Reply:
    """Say which lots to pick for a fulfilment; refuses with `unknown_fulfilment`."""
    fulfilment_id = parse_id(fulfilment_id)
    found = await served.database.run(
        served.schema,
        lambda tx: suggest_for_fulfilment(tx, served.knowledge, fulfilment_id),
    )
    return Reply(HTTPStatus.OK, _encode({"lots": found}))


async def post_fulfilment_lots(served: Served, fulfilment_id: str, request: Request) -> Reply:
    """Say which lots were picked for a fulfilment, or keep some for it early (`peg`).

    Refusals: `unknown_fulfilment`, `fulfilment_not_open`, `unknown_sku`, `lot_unavailable`.
    """
    fulfilment_id = parse_id(fulfilment_id)
    refuse_nul(request.body)
    body = read_json(_keep, request.body or b"{}")
    found = await served.knowledge.run_pass(
        "lots",
        lambda tx: keep_for_fulfilment(tx, fulfilment_id, body.lots, is_fixed=not body.peg),
    )
    return Reply(HTTPStatus.OK, _encode({"lots": found}))


async def get_areas(served: Served, request: Request) -> Reply:
    """List storage areas, of a `location` if one is named, `after` a location's ref."""
    query = _query(request, {"location", "after"})
    found = await served.database.run(
        served.schema, lambda tx: list_areas(tx, query.get("location"), query.get("after", ""))
    )
    return Reply(HTTPStatus.OK, _encode({"areas": found}))


async def post_areas(served: Served, request: Request) -> Reply:
    """Make or change storage areas; 200 with a result each, in order."""
    refuse_nul(request.body)
    areas = read_json(_areas, request.body).areas
    results = await served.database.run(served.schema, lambda tx: upsert_areas(tx, areas))
    told = [
        {"location": one.location, "ref": one.ref}
        | (
            {"problem": msgspec.Raw(problem(result))}
            if isinstance(result, Refusal)
            else {"result": result}
        )
        for one, result in zip(areas, results, strict=True)
    ]
    return Reply(HTTPStatus.OK, _encode({"results": told}))


def _rows_of(request: Request) -> Envelope:
    envelope = stock_rows.read_rows(request.body)
    if len(envelope.items) > MAX_ROWS:
        raise Refusal("too_many_rows", f"Send at most {MAX_ROWS} rows at once.", most=MAX_ROWS)
    return envelope


def _query(request: Request, names: set[str]) -> dict[str, str]:
    query = {name: values[-1] for name, values in request.query().items()}
    unknown = sorted(query.keys() - names)
    if unknown:
        raise Refusal("invalid_query", f"There is no field {unknown[0][:60]!r}.", field=unknown[0])
    if any("\0" in value for value in query.values()):
        raise Refusal("invalid_query", "Text must not hold the character NUL.", field="")
    return query


def _check_count(row: CountRow) -> None:
    check_qty(row.qty, least=0, field="qty")


def _check_change(row: ChangeRow) -> None:
    check_qty(row.delta, least=stock_rows.LEAST_QTY, field="delta")


def _check_move(row: MoveRow) -> None:
    check_qty(row.qty, least=1, field="qty")


def _check_want(row: WantRow) -> None:
    check_qty(row.qty, least=1, field="qty")


Row = TypeVar("Row", bound=StockRow)


async def _understand(
    tx: Pass, envelope: Envelope, decoder: msgspec.json.Decoder[Row], check: Callable[[Row], None]
) -> tuple[Report, dict[int, Row], Resolved]:
    """Read and resolve the rows; a SKU that keeps no lots, or an unknown area, is a problem."""
    report = Report(len(envelope.items), problems=[])
    rows = stock_rows.readable(envelope.items, decoder, check, report.problems)
    resolved = await stock_rows.resolve(tx, rows, envelope.channel, report.problems)
    tracked = set(tx.knowledge.lot_products.tolist())
    for place, product_id in zip(resolved.places, resolved.product_ids, strict=True):
        if product_id not in tracked:
            refusal = lots_not_tracked(rows[place].sku)
            report.problems.append(stock_rows.problem_of(place, refusal))
    report.problems += await _unknown_areas(tx, rows, resolved)
    report.problems.sort(key=lambda one: one.row)
    return report, rows, resolved


async def _unknown_areas(tx: Pass, rows: dict[int, Row], resolved: Resolved) -> list[Problem]:
    named = [
        (place, field, location_id, str(area))
        for place, location_id in zip(resolved.places, resolved.location_ids, strict=True)
        for field in ("area", "from_area", "to")
        if (area := getattr(rows[place], field, None)) is not None
    ]
    known = await find_areas(tx, [(location_id, area) for _, _, location_id, area in named])
    return [
        Problem(place, "unknown_area", f"There is no area {area!r} there.", field)
        for place, field, location_id, area in named
        if (location_id, area) not in known
    ]


def _keys(resolved: Resolved) -> list[tuple[int, int, int]]:
    columns = (resolved.product_ids, resolved.location_ids, resolved.pool_ids)
    return list(zip(*columns, strict=True))


LotRows = TypeVar("LotRows", bound=LotRow)


async def _by_position(
    tx: Pass, rows: dict[int, LotRows], resolved: Resolved, quantities: dict[int, int]
) -> tuple[list[PositionLots], list[int]]:
    """Put the rows of a position together; returns them with the first row's place of each."""
    keys = dict(zip(resolved.places, _keys(resolved), strict=True))
    areas = await find_areas(tx, [(keys[n][1], row.area) for n, row in rows.items() if row.area])
    together: dict[tuple[int, int, int], list[int]] = {}
    for place in resolved.places:
        together.setdefault(keys[place], []).append(place)
    positions: list[PositionLots] = []
    for key, places in together.items():
        lots: list[LotQty] = []
        unknown = 0
        for place in places:
            row = rows[place]
            if row.lot is None:
                unknown += quantities[place]
                continue
            area_id, kind = areas.get((key[1], row.area or ""), (0, "pick"))
            one = LotQty(row.lot, quantities[place], row.expires_on, row.supplier, area_id, kind)
            lots.append(one)
        position = PositionLots(key[0], key[1], lots, unknown, key[2])
        check_qty(position.total(), least=stock_rows.LEAST_QTY, field="qty")
        positions.append(position)
    return positions, [places[0] for places in together.values()]


async def _once(
    served: Served, request: Request, work: Callable[[Pass], Awaitable[Report]], *, needs_key: bool
) -> Reply:
    """Run work as one pass; under a known key the stored report is the answer."""
    key = idempotency_key(request.headers)
    if key is None and needs_key:
        raise Refusal("key_needed", "Send an Idempotency-Key: made twice it counts twice.")
    claims: Sequence[tuple[str, bytes]] = ()
    if key is not None:
        claims = [(key, hashlib.blake2b(request.body, digest_size=16).digest())]

    async def in_pass(tx: Pass) -> Any:
        for known in (await claim_keys(tx, claims)).values():
            if known is not None:
                return known
        report = await work(tx)
        answer = _encode(report)
        if report.problems and not report.positions:  # nothing was done: it may be sent mended
            await drop_keys(tx, [one for one, _ in claims])
        else:
            await write_answers(tx, [(one, answer) for one, _ in claims])
        return msgspec.Raw(answer)

    done = await served.knowledge.run_pass("lots", in_pass)
    if isinstance(done, Refusal):
        return refused(done)
    is_replay = not isinstance(done, msgspec.Raw)
    return Reply(HTTPStatus.OK, bytes(done), headers=replayed(is_replay=is_replay))
