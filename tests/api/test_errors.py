"""Errors: every code that a client can cause comes over HTTP, and every code is documented."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from tests.api.retailer import count, order
from tests.api.test_actions import code_of, place
from tests.api.test_intake import stock

from penstock.api.errors import STATUSES, failed, status_of
from penstock.api.exchange import MAX_BODY_BYTES
from penstock.errors import Broken, Refusal, Transient

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \|(?: (\d{3}) \|)?", re.MULTILINE)
NOBODY = "00000000-0000-7000-8000-000000000000"


def changed(body: dict[str, Any], **line: Any) -> dict[str, Any]:
    """Return an order with fields of its first line changed."""
    body["lines"][0] |= line
    return body


REFUSED_ORDERS = {
    "unknown_channel": order("x", ("P400", 1), channel="nowhere"),
    "unknown_sku": order("x", ("NOWHERE", 1)),
    "sku_off": order("x", ("OFF", 1)),
    "unknown_customer": order("x", ("P400", 1), customer="C-99"),
    "unknown_location": changed(order("x", ("P400", 1)), location="L99"),
    "unknown_order_type": order("x", ("P400", 1), type="loan"),
    "unknown_parent_line": changed(order("x", ("P400", 1)), parent_ref="7"),
    "invalid_order": order("x"),
    "invalid_currency": order("x", ("P400", 1), currency="pounds"),
    "quantity_out_of_range": order("x", ("P400", 0)),
    "invalid_request": order("x", ("P400", 1), colour="red"),
}


@pytest.mark.parametrize("code", REFUSED_ORDERS)
def test_an_order_that_cannot_be_taken_is_refused_with_its_code(
    web: httpx.Client, code: str
) -> None:
    answer = web.post("/v1/orders", json=REFUSED_ORDERS[code])
    assert code_of(answer) == (422, code)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert problem["type"] == f"urn:penstock:problem:{code}"
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"channel": "web"}', "ref"),
        ('{"channel": "web", "ref": 7}', "ref"),
        ('{"channel": "web", "ref": ""}', "ref"),
        ('{"channel": "web", "ref": "x", "lines": [{"sku": "P1", "qty": 1.5}]}', "lines[0].qty"),
        ('{"channel": "web", "ref": "x", "destination": {"latitude": 91}}', "destination.latitude"),
        ('{"channel": "web", "ref": "x", "priority": 10}', "priority"),
        ('{"channel": "web", "ref": "a\\u0000b"}', None),
        ("7", ""),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    web: httpx.Client, text: str, field: str | None
) -> None:
    answer = web.post("/v1/orders", content=text)
    assert code_of(answer) == (422, "invalid_request")
    assert answer.json().get("field") == field


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a": 1} x', b"[1, 2", b"\xff", b'[{"\xff": 1}]', b'{"a": NaN}', b"[" * 9_000],
)
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/stock", "/v1/availability"])
def test_what_is_no_json_is_refused(web: httpx.Client, path: str, body: bytes) -> None:
    answer = web.post(path, content=body)
    if answer.status_code == 200:  # a list is read row by row, and each row is refused
        report = answer.json()
        refused = report.get("problems") or [one["problem"] for one in report["results"]]
        assert {one["code"] for one in refused} <= {"invalid_json", "invalid_request"}
    else:
        assert answer.json()["code"] in {"invalid_json", "invalid_request"}
        assert answer.status_code in {400, 422}


REFUSED_REQUESTS: list[tuple[str, str, int, str]] = [
    ("GET", "/v1/nowhere", 404, "not_found"),
    ("PUT", "/v1/orders", 405, "method_not_allowed"),
    ("PUT", "/v1/stock", 405, "method_not_allowed"),
    ("PUT", "/healthz", 405, "method_not_allowed"),
    ("GET", f"/v1/orders/{NOBODY}", 404, "unknown_order"),
    ("GET", "/v1/orders/17", 422, "invalid_id"),
    ("GET", "/v1/orders?channel=web&ref=nobody", 404, "unknown_order"),
    ("GET", "/v1/orders?channel=web&ref=%00", 404, "unknown_order"),
    ("GET", "/v1/orders?channel=nowhere&ref=x", 422, "unknown_channel"),
    ("GET", "/v1/orders?ref=x", 400, "invalid_query"),
    ("GET", f"/v1/orders/{NOBODY}?explain=song", 400, "invalid_query"),
    ("POST", "/v1/orders?wait=forever", 400, "invalid_query"),
    ("POST", f"/v1/orders/{NOBODY}/cancel", 404, "unknown_order"),
    ("POST", f"/v1/orders/{NOBODY}/retry-sourcing", 404, "unknown_order"),
    ("POST", f"/v1/fulfilments/{NOBODY}/ship", 404, "unknown_fulfilment"),
    ("POST", f"/v1/fulfilments/{NOBODY}/reject", 404, "unknown_fulfilment"),
    ("POST", "/v1/fulfilments/17/reject", 422, "invalid_id"),
    ("GET", "/v1/availability?channel=nowhere&sku=P1", 422, "unknown_channel"),
    ("GET", "/v1/availability?channel=web&colour=red", 400, "invalid_query"),
    ("GET", "/v1/availability?channel=web&sku=%ff", 400, "invalid_query"),
    ("GET", "/v1/availability?channel=web&latitude=91&longitude=0", 422, "invalid_request"),
    ("GET", "/v1/availability?channel=web" + "&sku=P1" * 501, 422, "too_many_skus"),
    ("GET", "/v1/availability?channel=web" + "&sku=P1" * 1_000, 400, "invalid_query"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), REFUSED_REQUESTS)
def test_a_request_that_cannot_be_answered_is_refused(
    web: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    assert code_of(web.request(method, path)) == (status, code)


def test_lists_have_a_most(web: httpx.Client) -> None:
    answer = web.post("/v1/orders", json=[{}] * 1_001)
    assert code_of(answer) == (422, "too_many_orders")
    for path in ("/v1/stock", "/v1/stock/adjustments"):
        assert code_of(web.post(path, json=[{}] * 20_001)) == (422, "too_many_rows")


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/stock", "/v1/stock/adjustments"])
def test_a_body_has_a_most(web: httpx.Client, path: str) -> None:
    parts = (b" " * 1_048_576 for _ in range(MAX_BODY_BYTES // 1_048_576 + 1))
    assert code_of(web.post(path, content=parts)) == (413, "body_too_large")
    assert code_of(web.post(path, content=b" " * (MAX_BODY_BYTES + 1))) == (413, "body_too_large")


def test_a_body_sent_in_pieces_is_read_whole(web: httpx.Client, sku: str) -> None:
    pieces = (b'{"channel":"web",', f'"skus":["{sku}","WRAP"]}}'.encode())
    whole = web.post("/v1/availability", content=b"".join(pieces))
    answer = web.post("/v1/availability", content=iter(pieces))
    assert answer.status_code == 200
    assert answer.json()["items"] == whole.json()["items"]
    asked = web.get("/v1/availability", params={"channel": "web", "sku": [sku, "WRAP"]})
    assert asked.json()["items"] == whole.json()["items"]


def test_an_unusable_key_is_refused(web: httpx.Client) -> None:
    for key in ("", "two words", "k" * 201):
        answer = web.post("/v1/orders", json=order("x"), headers={"Idempotency-Key": key})
        assert code_of(answer) == (400, "invalid_idempotency_key")


def test_pages_of_other_sites_are_refused(web: httpx.Client) -> None:
    for headers in ({"Origin": "https://example.org"}, {"Origin": "null"}, {"Host": "example.org"}):
        assert code_of(web.post("/v1/orders", headers=headers)) == (403, "other_site")
        assert code_of(web.get("/", headers=headers)) == (403, "other_site")
    assert web.get("/", headers={"Origin": str(web.base_url)}).is_success


def test_an_unknown_source_and_channel_refuse_the_whole_request(web: httpx.Client) -> None:
    rows = [count("P400", "L1", 1)]
    answer = web.post("/v1/stock", json={"source": "nowhere", "items": rows})
    assert code_of(answer) == (422, "unknown_source")
    answer = web.post("/v1/stock", json={"channel": "nowhere", "items": rows})
    assert code_of(answer) == (422, "unknown_channel")


def test_a_fulfilment_that_is_not_open_is_refused(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 5), count(sku, "L9", 5))
    placed = place(web, "not-open", (sku, 10))
    first, second = placed["fulfilments"]
    web.post(f"/v1/fulfilments/{first['id']}/ship")
    answer = web.post(f"/v1/fulfilments/{first['id']}/ship")
    assert code_of(answer) == (409, "not_allowed_in_status")
    assert answer.json()["current_status"] == "shipped"
    assert web.post(f"/v1/fulfilments/{second['id']}/ship").json()["status"] == "shipped"


def test_the_page_and_the_probes_answer(web: httpx.Client) -> None:
    assert web.get("/healthz").json() == {"status": "alive"}
    ready = web.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["index_age_ms"] < 5_000
    page = web.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "over_http" in page.text
    assert "curl http://127.0.0.1" in page.text


def test_what_is_no_refusal_goes_out_without_its_inside() -> None:
    reply = failed(Broken("the secret of position 7"))
    problem = msgspec.json.decode(reply.body)
    assert (reply.status, problem["code"]) == (500, "internal_error")
    assert b"secret" not in reply.body
    assert problem["id"] in problem["detail"]
    assert failed(psycopg.DataError("inside")).status == 500


def test_what_may_succeed_later_says_when_to_come_back() -> None:
    for error in (Transient("busy"), Refusal("overloaded", "Later."), Refusal("not_ready", "?")):
        reply = failed(error)
        assert reply.status == 503
        assert (b"retry-after", b"1") in reply.headers


def codes_in_source() -> set[str]:
    """Return the code of every refusal and problem that the package makes.

    A code that is put together counts as what it begins with, such as `unknown_`.
    """
    codes: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            place = {"Refusal": 0, "Problem": 1}.get(getattr(node.func, "id", ""))
            if place is not None and len(node.args) > place:
                codes |= {t for t in _texts(node.args[place]) if t.isidentifier()}
    return codes


def _texts(node: ast.expr) -> list[str]:
    """Return the texts that an expression may be, those of both branches of a choice."""
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    constants = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return [text for text in constants if isinstance(text, str)]


def documented() -> dict[str, str]:
    """Return the codes of the reference with their status, empty where there is none."""
    text = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    rows = ROW.findall(text)
    return {code: status for codes, status in rows for code in re.findall(r"`(\w+)`", codes)}


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    codes = codes_in_source()
    beginnings = tuple(code for code in codes if code.endswith("_"))
    assert codes - set(beginnings) - documented().keys() == set()
    stale = {code for code in documented().keys() - codes if not code.startswith(beginnings)}
    assert not stale


def test_the_reference_has_the_statuses_of_the_table() -> None:
    listed = {code: int(status) for code, status in documented().items() if status}
    assert listed == {code: status_of(code) for code in listed}
    assert STATUSES.keys() <= listed.keys()
