"""Stock sources over HTTP: what they count, and what they have acknowledged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.api.retailer import count, order


def test_sources_are_made_changed_and_listed(web: httpx.Client, sku: str) -> None:
    ref = f"wms-{sku}"
    asked = {"sources": [{"ref": ref, "basis": "net"}, {"ref": "x", "leaves_at": "never"}]}
    made = web.post("/v1/stock-sources", json=asked).json()["results"]
    assert made[0] == {"ref": ref, "result": "created"}
    assert (made[1]["problem"]["code"], made[1]["problem"]["field"]) == (
        "invalid_source",
        "leaves_at",
    )
    changed = web.post("/v1/stock-sources", json={"sources": [{"ref": ref, "leaves_at": "pick"}]})
    assert changed.json()["results"] == [{"ref": ref, "result": "updated"}]
    (found,) = [one for one in web.get("/v1/stock-sources").json()["sources"] if one["ref"] == ref]
    assert (found["basis"], found["leaves_at"], found["handed_until"]) == ("net", "pick", None)


def test_a_net_count_over_http_adds_what_was_acknowledged(web: httpx.Client, sku: str) -> None:
    ref = f"wms-{sku}"
    web.post("/v1/stock-sources", json={"sources": [{"ref": ref, "basis": "net"}]})
    web.post("/v1/stock", json={"source": ref, "items": [count(sku, "L1", 10)]})
    placed = web.post("/v1/orders", json=order(f"net-{sku}", (sku, 4))).json()
    assert placed["fulfilments"][0]["location"] == "L1"
    now = datetime.now(UTC).isoformat()
    said = web.post(
        f"/v1/stock-sources/{ref}/acknowledge", json={"handed_until": now, "locations": ["L1"]}
    )
    assert said.status_code == 200, said.text
    report = web.post("/v1/stock", json={"source": ref, "items": [count(sku, "L1", 6)]}).json()
    assert (report["changed"], report["unchanged"]) == (0, 1)
    report = web.post("/v1/stock", json={"source": ref, "items": [count(sku, "L1", 8)]}).json()
    assert report["changed"] == 1
    query = {"channel": "web", "sku": sku}
    assert web.get("/v1/availability", params=query).json()["items"][0]["available"] == 8


@pytest.mark.parametrize(
    ("ref", "body", "code"),
    [
        ("nobody", {"handed_until": "2026-01-01T00:00:00Z"}, "unknown_source"),
        ("default", {"handed_until": "2026-01-01T00:00:00"}, "instant_unusable"),
        ("default", {"handed_until": "2999-01-01T00:00:00Z"}, "instant_unusable"),
        (
            "default",
            {"handed_until": "2026-01-01T00:00:00Z", "locations": ["L99"]},
            "unknown_location",
        ),
    ],
)
def test_an_acknowledgement_that_cannot_be_kept_is_refused(
    ref: str, body: dict[str, object], code: str, web: httpx.Client
) -> None:
    answer = web.post(f"/v1/stock-sources/{ref}/acknowledge", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_an_acknowledgement_may_be_told_late(web: httpx.Client) -> None:
    now = datetime.now(UTC)
    body = {
        "handed_until": (now - timedelta(hours=2)).isoformat(),
        "acknowledged_at": (now - timedelta(hours=1)).isoformat(),
    }
    answer = web.post("/v1/stock-sources/default/acknowledge", json=body)
    assert answer.status_code == 200
