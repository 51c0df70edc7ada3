"""The demo's summary: what became of the orders, in figures that the database gives.

Owns the figures and how they look. Everything is counted in one snapshot by set-based statements,
so a second run prints what the first did. The audit's verdict is the one that was noted last.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from penstock.db import Tx
from penstock.demo.run import SQL, Verdict, progress_of

_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class Place(msgspec.Struct, frozen=True):
    """Locations of one kind, how many of them have work, and the fulfilments they have."""

    kind: str
    locations: int
    at_work: int
    fulfilments: int


class Summary(msgspec.Struct, frozen=True):
    """Figures of an account's orders, stock and fulfilments; amounts in minor units.

    `split_rate` is the share of allocated orders that come from several locations, `fill_rate` of
    the units asked that were allocated, `orders_per_s` how fast that went while it was done.
    """

    sample: str
    products: int
    positions: int
    orders: int
    orders_of_sample: int
    lines: int
    units_asked: int
    units_allocated: int
    statuses: dict[str, int]
    total_minor: int
    currency: str
    first_placed_at: datetime | None
    last_placed_at: datetime | None
    fulfilments: int
    orders_allocated: int
    orders_split: int
    mean_distance_km: float
    shipping_minor: int
    places: list[Place]
    oversold_positions: int
    worked_s: float
    split_rate: float
    fill_rate: float
    orders_per_s: float
    verdict: Verdict | None


async def summarise(tx: Tx) -> Summary:
    """Count everything the summary tells."""
    await tx.script(_ONE_SNAPSHOT)
    progress = await progress_of(tx)
    orders, total_minor, first, last, currency = await _row(tx, SQL.order_figures)
    lines, asked, allocated, cancelled = await _row(tx, SQL.line_figures)
    fulfilments, of_orders, split, distance_m, cost = await _row(tx, SQL.fulfilment_figures)
    products, positions, oversold = await _row(tx, SQL.stock_figures)
    worked_s = progress.worked_s if progress else 0.0
    return Summary(
        sample=progress.sample_name if progress else "",
        products=products,
        positions=positions,
        orders=orders,
        orders_of_sample=progress.orders if progress else 0,
        lines=lines,
        units_asked=asked - cancelled,
        units_allocated=allocated,
        statuses={row[0]: row[1] for row in await tx.fetch(SQL.orders_by_status)},
        total_minor=total_minor,
        currency=currency,
        first_placed_at=first,
        last_placed_at=last,
        fulfilments=fulfilments,
        orders_allocated=of_orders,
        orders_split=split,
        mean_distance_km=distance_m / 1000,
        shipping_minor=cost,
        places=[Place(*row) for row in await tx.fetch(SQL.places)],
        oversold_positions=oversold,
        worked_s=worked_s,
        split_rate=_share(split, of_orders),
        fill_rate=_share(allocated, asked - cancelled),
        orders_per_s=_share(progress.orders_taken if progress else 0, worked_s),
        verdict=progress.verdict if progress else None,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


async def _row(tx: Tx, query: bytes) -> tuple[Any, ...]:
    return (await tx.fetch(query))[0]


def render(summary: Summary) -> RenderableType:
    """Draw the summary: a figure a line, with what it means beside it."""
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, title_justify="left")
    table.title = Text(f"The sample retailer: {summary.sample}", style="bold")
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for figure, value, meaning in (*_flow(summary), *_money(summary), *_verdicts(summary)):
        table.add_row(figure, value, meaning)
    return table


def _flow(s: Summary) -> list[tuple[str, str, str]]:
    of = f" of {s.orders_of_sample:,}" if s.orders < s.orders_of_sample else ""
    placed = _dates(s)
    statuses = ", ".join(f"{n:,} {status.replace('_', ' ')}" for status, n in s.statuses.items())
    by_kind = ", ".join(
        f"{p.fulfilments:,} from {p.at_work} of {p.locations} {p.kind}s" for p in s.places
    )
    return [
        ("orders", f"{s.orders:,}{of}", f"{placed}: {statuses}"),
        ("lines", f"{s.lines:,}", f"{s.products:,} products at {s.positions:,} positions"),
        ("fulfilments", f"{s.fulfilments:,}", by_kind),
        ("split rate", f"{s.split_rate:.1%}", "of allocated orders come from several locations"),
        ("fill rate", f"{s.fill_rate:.1%}", f"of {s.units_asked:,} units asked are allocated"),
    ]


def _money(s: Summary) -> list[tuple[str, str, str]]:
    per_order = s.shipping_minor / 100 / s.orders_allocated if s.orders_allocated else 0.0
    shipping = f"{s.shipping_minor / 100:,.0f} {s.currency}"
    worth = f"{s.total_minor / 100:,.0f} {s.currency}"
    return [
        ("mean distance", f"{s.mean_distance_km:,.0f} km", "from location to customer"),
        ("shipping cost", shipping, f"{per_order:.2f} an order; the goods are worth {worth}"),
    ]


def _verdicts(s: Summary) -> list[tuple[str, str, str]]:
    audit, checked = "not yet", "`penstock audit` checks"
    if s.verdict:
        audit = f"{s.verdict.breaches:,} breaches" if s.verdict.breaches else "clean"
        at = f"{s.verdict.audited_at:%Y-%m-%d %H:%M} UTC"
        checked = f"{s.verdict.checks} invariants, checked {at}"
    return [
        ("orders/s", f"{s.orders_per_s:,.0f}", f"routed in {s.worked_s:.1f} s, each durable"),
        ("oversold", f"{s.oversold_positions:,}", "positions promise more than they have"),
        ("audit", audit, checked),
    ]


def _dates(s: Summary) -> str:
    if s.first_placed_at is None or s.last_placed_at is None:
        return "none placed"
    first, last = (f"{at.day} {at:%b %Y}" for at in (s.first_placed_at, s.last_placed_at))
    return f"placed {first} to {last}"
