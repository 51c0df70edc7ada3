"""The ordinary routes, by litestar: paths and methods to functions, nothing else.

Hot paths never get here (`application.py`). Every handler turns litestar's request into ours and
our reply into litestar's response.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from litestar import Litestar, Request, Response, get, post, put
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from penstock.api import (
    adjustments,
    audit,
    carriers,
    controls,
    desk,
    entities,
    exchange,
    health,
    history,
    lots,
    order_actions,
    order_views,
    page,
    places,
    products,
    stock_jobs,
    stock_sources,
    switches,
    thresholds,
)
from penstock.api.cart_routes import cart_routes
from penstock.api.errors import failed
from penstock.api.exchange import MAX_BODY_BYTES, Reply
from penstock.api.served import Served
from penstock.rules.finding import Named

Incoming: TypeAlias = Request[Any, Any, State]
Outgoing: TypeAlias = Response[bytes]


def make_routes(served: Callable[[], Served]) -> Litestar:
    """Return the application of the ordinary routes; `served` gives the account that is open."""
    return Litestar(
        route_handlers=[
            *_of_orders(served),
            *_of_the_rest(served),
            *_of_places(served),
            *_of_carriers(served),
            *_of_controls(served),
            *_of_thresholds(served),
            *_of_products(served),
            *_of_lots(served),
            *_of_lot_lists(served),
            *_of_stock_jobs(served),
            *_of_stock_sources(served),
            *_of_entities(served),
            *_of_desk(served),
            *cart_routes(served, _done),
            *_of_health(served),
        ],
        exception_handlers={Exception: _failed},
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )


def _failed(_: Incoming, error: Exception) -> Outgoing:
    return _response(failed(error))


def _response(reply: Reply) -> Outgoing:
    return Response(
        content=reply.body,
        status_code=reply.status,
        media_type=reply.media_type.decode(),
        headers={name.decode(): value.decode() for name, value in reply.headers},
    )


async def _read(request: Incoming) -> exchange.Request:
    headers = {name.decode(): value.decode() for name, value in request.scope["headers"]}
    exchange.refuse_other_sites(headers)
    query_string = request.scope["query_string"].decode()
    return exchange.Request(query_string, headers, await request.body())


async def _done(
    request: Incoming, work: Callable[[exchange.Request], Awaitable[Reply]]
) -> Outgoing:
    return _response(await work(await _read(request)))


def _of_orders(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @get("/v1/orders/{order_id:str}")
    async def get_order(request: Incoming, order_id: str) -> Outgoing:
        return await _done(request, lambda r: order_views.get_order(served(), order_id, r))

    @post("/v1/orders/{order_id:str}/cancel")
    async def cancel(request: Incoming, order_id: str) -> Outgoing:
        return await _done(request, lambda r: order_actions.cancel_order(served(), order_id, r))

    @post("/v1/orders/{order_id:str}/retry-sourcing")
    async def retry_sourcing(request: Incoming, order_id: str) -> Outgoing:
        return await _done(request, lambda r: order_actions.retry_sourcing(served(), order_id, r))

    @post("/v1/orders/{order_id:str}/holds/{kind:str}/clear")
    async def clear_hold(request: Incoming, order_id: str, kind: str) -> Outgoing:
        return await _done(request, lambda r: order_actions.clear_hold(served(), order_id, kind, r))

    @post("/v1/fulfilments/{fulfilment_id:str}/reject")
    async def reject(request: Incoming, fulfilment_id: str) -> Outgoing:
        return await _done(
            request, lambda r: order_actions.reject_fulfilment(served(), fulfilment_id, r)
        )

    @post("/v1/fulfilments/{fulfilment_id:str}/ship")
    async def ship(request: Incoming, fulfilment_id: str) -> Outgoing:
        return await _done(
            request, lambda r: order_actions.ship_fulfilment(served(), fulfilment_id, r)
        )

    return [get_order, cancel, retry_sourcing, clear_hold, reject, ship]


def _of_the_rest(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @post("/v1/stock/adjustments")
    async def adjust(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: adjustments.post_adjustments(served(), r))

    @post("/v1/locations/{ref:str}/services/{service:str}")
    async def switch_location(request: Incoming, ref: str, service: str) -> Outgoing:
        return await _done(request, lambda r: switches.switch_location(served(), ref, service, r))

    @post("/v1/networks/{ref:str}/services/{service:str}")
    async def switch_network(request: Incoming, ref: str, service: str) -> Outgoing:
        return await _done(request, lambda r: switches.switch_network(served(), ref, service, r))

    @get("/v1/stock/history")
    async def stock_history(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: history.get_history(served(), r))

    return [adjust, stock_history, switch_location, switch_network]


def _of_places(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @get("/v1/locations")
    async def find(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: places.get_locations(served(), r))

    @get("/v1/locations/{ref:str}")
    async def get_location(request: Incoming, ref: str) -> Outgoing:
        return await _done(request, lambda _: places.get_location(served(), ref))

    @put("/v1/locations/{ref:str}")
    async def put_location(request: Incoming, ref: str) -> Outgoing:
        return await _done(request, lambda r: places.put_location(served(), ref, r))

    @get("/v1/locations/{ref:str}/calendar")
    async def get_calendar(request: Incoming, ref: str) -> Outgoing:
        return await _done(request, lambda r: places.get_calendar(served(), ref, r))

    @get("/v1/locations/{ref:str}/slots")
    async def get_slots(request: Incoming, ref: str) -> Outgoing:
        return await _done(request, lambda r: places.get_slots(served(), ref, r))

    @get("/v1/locations/{ref:str}/ready")
    async def get_ready(request: Incoming, ref: str) -> Outgoing:
        return await _done(request, lambda r: places.get_ready(served(), ref, r))

    @get("/v1/locations/{ref:str}/delivery-window")
    async def get_window(request: Incoming, ref: str) -> Outgoing:
        return await _done(request, lambda r: places.get_window(served(), ref, r))

    return [find, get_location, put_location, get_calendar, get_slots, get_ready, get_window]


def _of_carriers(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @get("/v1/carriers")
    async def list_carriers(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: carriers.get_carriers(served(), r))

    @post("/v1/carriers")
    async def put_carriers(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: carriers.post_carriers(served(), r))

    @get("/v1/lanes")
    async def list_lanes(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: carriers.get_lanes(served(), r))

    @post("/v1/lanes")
    async def put_lanes(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: carriers.post_lanes(served(), r))

    @post("/v1/fulfilment-times")
    async def record_times(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: carriers.post_times(served(), r))

    return [list_carriers, put_carriers, list_lanes, put_lanes, record_times]


def _of_controls(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @get("/v1/controls")
    async def list_controls(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: controls.get_controls(served(), r))

    @post("/v1/controls")
    async def put_controls(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: controls.post_controls(served(), r))

    @post("/v1/controls/remove")
    async def remove_controls(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: controls.post_removal(served(), r))

    return [list_controls, put_controls, remove_controls]


def _of_thresholds(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @get("/v1/thresholds")
    async def list_thresholds(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: thresholds.get_thresholds(served(), r))

    @post("/v1/thresholds")
    async def put_thresholds(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: thresholds.post_thresholds(served(), r))

    @post("/v1/thresholds/remove")
    async def remove_thresholds(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: thresholds.post_removal(served(), r))

    return [list_thresholds, put_thresholds, remove_thresholds]


def _of_products(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @get("/v1/products")
    async def list_products(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: products.list_products(served(), r))

    @put("/v1/products")
    async def put_products(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: products.put_products(served(), r))

    @get("/v1/products/{sku:str}")
    async def get_product(request: Incoming, sku: str) -> Outgoing:
        return await _done(request, lambda r: products.get_product(served(), sku, r))

    @get("/v1/categories")
    async def list_categories(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: products.list_categories(served(), r))

    @put("/v1/categories")
    async def put_categories(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: products.put_categories(served(), r))

    @get("/v1/attribute-types")
    async def list_types(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: products.list_attribute_types(served(), r))

    @put("/v1/attribute-types")
    async def put_types(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: products.put_attribute_types(served(), r))

    return [
        list_products,
        put_products,
        get_product,
        list_categories,
        put_categories,
        list_types,
        put_types,
    ]


def _of_lots(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @get("/v1/lots")
    async def list_lots(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: lots.get_lots(served(), r))

    @get("/v1/lots/history")
    async def lot_history(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: lots.get_history(served(), r))

    @get("/v1/fulfilments/{fulfilment_id:str}/lots")
    async def get_picks(request: Incoming, fulfilment_id: str) -> Outgoing:
        return await _done(request, lambda _: lots.get_fulfilment_lots(served(), fulfilment_id))

    @post("/v1/fulfilments/{fulfilment_id:str}/lots")
    async def put_picks(request: Incoming, fulfilment_id: str) -> Outgoing:
        return await _done(request, lambda r: lots.post_fulfilment_lots(served(), fulfilment_id, r))

    @get("/v1/areas")
    async def list_areas(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: lots.get_areas(served(), r))

    @post("/v1/areas")
    async def put_areas(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: lots.post_areas(served(), r))

    return [list_lots, lot_history, get_picks, put_picks, list_areas, put_areas]


def _of_lot_lists(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @post("/v1/lots/track")
    async def track(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: lots.post_track(served(), r))

    @post("/v1/lots/counts")
    async def count_lots(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: lots.post_counts(served(), r))

    @post("/v1/lots/changes")
    async def change_lots(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: lots.post_changes(served(), r))

    @post("/v1/lots/moves")
    async def move_lots(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: lots.post_moves(served(), r))

    @post("/v1/lots/suggestions")
    async def suggest_lots(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: lots.post_suggestions(served(), r))

    return [track, count_lots, change_lots, move_lots, suggest_lots]


def _of_stock_jobs(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @post("/v1/stock-jobs")
    async def open_job(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: stock_jobs.post_job(served(), r))

    @get("/v1/stock-jobs")
    async def list_jobs(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: stock_jobs.list_jobs(served(), r))

    @get("/v1/stock-jobs/{job_id:str}")
    async def get_job(request: Incoming, job_id: str) -> Outgoing:
        return await _done(request, lambda r: stock_jobs.get_job(served(), job_id, r))

    @put("/v1/stock-jobs/{job_id:str}/batches/{ref:str}")
    async def put_batch(request: Incoming, job_id: str, ref: str) -> Outgoing:
        return await _done(request, lambda r: stock_jobs.put_batch(served(), job_id, ref, r))

    @get("/v1/stock-jobs/{job_id:str}/batches/{ref:str}")
    async def get_batch(request: Incoming, job_id: str, ref: str) -> Outgoing:
        return await _done(request, lambda r: stock_jobs.get_batch(served(), job_id, ref, r))

    @post("/v1/stock-jobs/{job_id:str}/finish")
    async def finish(request: Incoming, job_id: str) -> Outgoing:
        return await _done(request, lambda r: stock_jobs.post_finish(served(), job_id, r))

    @post("/v1/stock-jobs/{job_id:str}/abandon")
    async def abandon(request: Incoming, job_id: str) -> Outgoing:
        return await _done(request, lambda r: stock_jobs.post_abandon(served(), job_id, r))

    return [open_job, list_jobs, get_job, put_batch, get_batch, finish, abandon]


def _of_stock_sources(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @get("/v1/stock-sources")
    async def list_sources(request: Incoming) -> Outgoing:
        return await _done(request, lambda _: stock_sources.get_sources(served()))

    @post("/v1/stock-sources")
    async def put_sources(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: stock_sources.post_sources(served(), r))

    @post("/v1/stock-sources/{ref:str}/acknowledge")
    async def acknowledge(request: Incoming, ref: str) -> Outgoing:
        return await _done(request, lambda r: stock_sources.post_acknowledge(served(), ref, r))

    return [list_sources, put_sources, acknowledge]


def _of_entities(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @post("/v1/entities")
    async def make_entity(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: entities.post_entity(served(), r))

    @get("/v1/entities/{kind:str}/{entity_id:str}")
    async def get_entity(request: Incoming, kind: str, entity_id: str) -> Outgoing:
        named = Named(kind, entity_id)
        return await _done(request, lambda _: entities.get_entity(served(), named))

    @post("/v1/events")
    async def send_event(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: entities.post_event(served(), r))

    @get("/v1/entities/{kind:str}/{entity_id:str}/actions")
    async def get_actions(request: Incoming, kind: str, entity_id: str) -> Outgoing:
        named, role = Named(kind, entity_id), request.query_params.get("role")
        return await _done(request, lambda _: entities.get_actions(served(), named, role))

    @post("/v1/entities/{kind:str}/{entity_id:str}/actions/{name:str}")
    async def do_action(request: Incoming, kind: str, entity_id: str, name: str) -> Outgoing:
        named = Named(kind, entity_id)
        return await _done(request, lambda r: entities.do_action(served(), named, name, r))

    return [make_entity, get_entity, send_event, get_actions, do_action]


def _of_desk(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @get("/v1/orders/{order_id:str}/trace")
    async def trace_order(request: Incoming, order_id: str) -> Outgoing:
        named = Named("order", order_id)
        return await _done(request, lambda _: desk.get_trace(served(), named))

    @get("/v1/entities/{kind:str}/{entity_id:str}/trace")
    async def trace_entity(request: Incoming, kind: str, entity_id: str) -> Outgoing:
        named = Named(kind, entity_id)
        return await _done(request, lambda _: desk.get_trace(served(), named))

    @get("/v1/stuck")
    async def stuck(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: desk.get_stuck(served(), r))

    @post("/v1/stuck/retry")
    async def retry(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: desk.post_remedy(served(), "retry", r))

    @post("/v1/stuck/skip")
    async def skip(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: desk.post_remedy(served(), "skip", r))

    @post("/v1/stuck/move")
    async def move(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: desk.post_move(served(), r))

    @post("/v1/runs")
    async def run(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: desk.post_run(served(), r))

    return [trace_order, trace_entity, stuck, retry, skip, move, run]


def _of_health(served: Callable[[], Served]) -> list[HTTPRouteHandler]:
    @get("/healthz")
    async def healthz() -> Outgoing:
        return _response(health.healthz())

    @get("/readyz")
    async def readyz() -> Outgoing:
        return _response(await health.readyz(served()))

    @get("/metrics")
    async def metrics(request: Incoming) -> Outgoing:
        return await _done(request, lambda _: audit.get_metrics(served()))

    @get("/v1/audit")
    async def get_audit(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: audit.get_audit(served(), r))

    @get("/")
    async def index(request: Incoming) -> Outgoing:
        return await _done(request, lambda r: page.front_page(served(), r))

    return [healthz, readyz, metrics, get_audit, index]
