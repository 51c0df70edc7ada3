"""`GET /`: a page that says what is there. Server-rendered, with nothing from elsewhere.

Owns the page's figures, which must stay cheap however large the account is: what the process knows
already, and orders by status, counted exactly while that is quick and from a sample beyond.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from importlib import resources
from string import Template

import numpy as np

from penstock.api.exchange import HTML, Reply, Request
from penstock.api.served import Served
from penstock.api.stock_rows import SQL
from penstock.db import Tx

MAX_COUNTED_ORDERS = 100_000
SAMPLED_PAGES = 500
ROUTES: Sequence[tuple[str, str, str]] = (
    ("POST", "/v1/orders", "place one order, or a list of up to 1,000; the answer is the decision"),
    ("GET", "/v1/orders?channel=…&ref=…", "find an order by its ref"),
    ("GET", "/v1/orders/{id}", "choices, lines, fulfilments, history, why it was sourced so"),
    ("POST", "/v1/orders/{id}/cancel", "cancel an order, or lines of it"),
    ("POST", "/v1/orders/{id}/retry-sourcing", "source again what lacks stock"),
    ("POST", "/v1/orders/{id}/holds/{kind}/clear", "clear a hold"),
    ("POST", "/v1/fulfilments/{id}/ship", "a fulfilment has left"),
    ("POST", "/v1/fulfilments/{id}/reject", "a location will not do it: source it elsewhere"),
    ("GET", "/v1/availability?channel=…&sku=…", "what may be promised, in total or by location"),
    ("GET", "/v1/availability/changes?channel=…", "what changed since a cursor"),
    ("POST", "/v1/stock", "counts, up to 20,000 rows"),
    ("POST", "/v1/stock/adjustments", "changes, up to 20,000 rows"),
    ("GET", "/v1/stock?sku=…&at=…", "what stock is, or was at an instant"),
    ("GET", "/v1/stock/history?sku=…&location=…", "why stock is what it is, movement by movement"),
    ("POST", "/v1/locations/{ref}/services/{service}", "switch a service of a location on or off"),
    ("POST", "/v1/networks/{ref}/services/{service}", "the same for a network"),
    ("GET", "/v1/audit", "what the audit has found"),
    ("GET", "/metrics", "metrics, in OpenMetrics text"),
    ("GET", "/healthz", "whether the process lives"),
    ("GET", "/readyz", "whether it may be sent requests"),
)
_WITHOUT_FIELDS = frozenset({"/healthz", "/readyz"})


async def front_page(served: Served, request: Request) -> Reply:
    """Answer with the page."""
    about, counts = await served.database.run(served.schema, _orders_by_status)
    host = request.headers.get("host") or "127.0.0.1:8000"
    knowledge, follower = served.knowledge, served.follower
    age_ms = follower.age_s * 1000
    figures = (
        (f"{len(knowledge.directory.refs):,}", "locations"),
        (f"{int(np.count_nonzero(knowledge.products.is_on)):,}", "products"),
        (f"{max(follower.index.size - 1, 0):,}", "stock positions"),
        (f"{'about ' if about else ''}{sum(count for _, count in counts):,}", "orders"),
    )
    text = _template().substitute(
        account=html.escape(served.name),
        state=f"ready · index {follower.version:,} · {age_ms:.0f} ms old",
        figures="\n".join(map(_figure, figures)),
        statuses=_bars(counts),
        routes="\n".join(map(_route, ROUTES)),
        example=html.escape(_example(served, host)),
    )
    return Reply(HTTPStatus.OK, text.encode(), HTML, ((b"cache-control", b"no-store"),))


@cache
def _template() -> Template:
    return Template(resources.files("penstock.api").joinpath("page.html").read_text("utf-8"))


async def _orders_by_status(tx: Tx) -> tuple[bool, list[tuple[str, int]]]:
    """Return whether the counts are estimates, and the counts."""
    row = await tx.fetch_one(SQL.orders_about)
    total, pages = row or (0, 0)
    if total <= MAX_COUNTED_ORDERS:
        return False, [(row[0], row[1]) for row in await tx.fetch(SQL.orders_by_status)]
    percent = min(100.0, 100.0 * SAMPLED_PAGES / max(pages, 1))
    rows = await tx.fetch(SQL.orders_by_status_sampled, (percent,))
    return True, [(row[0], round(row[1] * 100 / percent, -2)) for row in rows]


def _figure(figure: tuple[str, str]) -> str:
    value, name = figure
    return f'<div class="card figure"><b>{html.escape(value)}</b><span>{name}</span></div>'


def _bars(counts: Sequence[tuple[str, int]]) -> str:
    if not counts:
        return '<p class="empty">No orders yet: send one with the command below.</p>'
    most = max(count for _, count in counts)
    bars = (
        f'<div class="bar"><span>{html.escape(status.replace("_", " "))}</span>'
        f'<span><i style="width:{math.ceil(100 * count / most)}%"></i></span>'
        f"<span>{count:,.0f}</span></div>"
        for status, count in counts
    )
    return f'<div class="statuses">{"".join(bars)}</div>'


def _route(route: tuple[str, str, str]) -> str:
    verb, path, meaning = route
    shown = html.escape(path)
    if path in _WITHOUT_FIELDS:
        shown = f'<a href="{path}">{shown}</a>'
    return (
        f'<tr><td><code><span class="verb">{verb}</span> {shown}</code></td>'
        f"<td>{html.escape(meaning)}</td></tr>"
    )


def _example(served: Served, host: str) -> str:
    """Return a command that works here: a channel and a SKU of this account."""
    knowledge = served.knowledge
    channel = next(iter(knowledge.channels.by_ref), "web")
    sku = "SKU-1"
    if channel in knowledge.channels.by_ref:
        catalogue_id = knowledge.channels.catalogue_id(knowledge.channels.by_ref[channel])
        sku = next(iter(knowledge.products.by_sku(catalogue_id)), sku)
    return (
        f"curl http://{host}/v1/orders -H 'Content-Type: application/json' -d '{{\n"
        f'  "channel": "{channel}", "ref": "first-order",\n'
        '  "destination": {"town": "Bath", "country": "GB",'
        ' "latitude": 51.38, "longitude": -2.36},\n'
        f'  "lines": [{{"sku": "{sku}", "qty": 1, "unit_price": "9.95"}}]\n'
        "}'"
    )
