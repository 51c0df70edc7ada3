"""What became of orders teaches how sure stock is; buffers are proposed, and put when asked."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import numpy as np
import pytest
from tests.shop import Shop, assert_clean, count, opened, order, place, tell, work

from penstock.app import Account
from penstock.availability.confidence import Confidence, Evidence
from penstock.availability.explain import explain
from penstock.rules.confidence import (
    Span,
    control_of,
    learn_confidence,
    load_confidence,
    propose_buffers,
    read_evidence,
)
from penstock.rules.controls import put_controls


async def evidence_of(account: Account, days: int = 30) -> Evidence:
    span = Span(account.knowledge.clock.now() + timedelta(seconds=1), days)
    return await account.database.run(account.schema, lambda tx: read_evidence(tx, span))


async def learn_from(account: Account) -> tuple[Confidence, Evidence]:
    directory = account.knowledge.directory
    kinds = dict(zip(directory.location_ids.tolist(), directory.kinds, strict=True))
    span = Span(account.knowledge.clock.now() + timedelta(seconds=1))
    return await account.database.run(account.schema, lambda tx: learn_confidence(tx, kinds, span))


async def end(account: Account, document: dict[str, object], how: str) -> None:
    fulfilments: list[dict[str, str]] = document["fulfilments"]  # pyright: ignore[reportAssignmentType]
    fulfilment_id = fulfilments[0]["id"]
    await tell(account, str(document["id"]), f"fulfilment.{how}", fulfilment_id=fulfilment_id)


def cells(evidence: Evidence) -> list[tuple[float, ...]]:
    columns = (evidence.location_ids, evidence.ages, evidence.lefts, evidence.seen, evidence.missed)
    return [tuple(row) for row in np.array(columns, dtype=float).T.tolist()]


def test_picks_rejections_and_shortages_are_evidence_with_what_was_left_behind(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            assert cells(await evidence_of(account)) == []
            now = account.knowledge.clock.now()
            await count(account, ("P1", "L1", 3), ("P2", "L1", 9), at=now - timedelta(hours=30))
            await count(account, ("P3", "L2", 1), ("P1", "L2", 50), ("P2", "L2", 50))
            (first,) = await place(account, order("a", ("P1", 1)))
            (second,) = await place(account, order("b", ("P1", 1), ("P2", 1)))
            (third,) = await place(account, order("c", ("P3", 1)))
            (gone,) = await place(account, order("d", ("P2", 1)))
            await tell(account, gone["id"], "order.cancellation_requested")
            assert cells(await evidence_of(account)) == []
            await end(account, first, "shipped")
            await end(account, second, "rejected")
            await count(account, ("P3", "L2", 0))
            await work(account)
            assert third["fulfilments"][0]["location"] == "L2"
            assert cells(await evidence_of(account)) == [
                (1, 4, 1, 1, 0.5),
                (1, 4, 2, 1, 0),
                (1, 4, 6, 1, 0.5),
                (2, 0, 0, 1, 1),
            ]
            assert cells(await evidence_of(account, 0)) == []
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_location_that_often_lacks_its_last_units_gets_a_buffer_that_orders_obey(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await history_of(account)
            before = account.availability.catalogue(1, "deliver")
            explained = explain(account.availability, before, 1)
            assert [one.confidence for one in explained.locations] == [None, None]
            learnt = await learn_from(account)
            stored = await account.database.run(account.schema, load_confidence)
            assert stored.there(1, 0) == pytest.approx(learnt[0].there(1, 0))
            found = propose_buffers(account.availability, (1, "web"), learnt, (0.8, 12.0))
            by_location = {one.location: one for one in found}
            assert list(by_location) == ["L1", "L2"]
            bad, good = by_location["L1"], by_location["L2"]
            assert bad.confidence < 0.6
            assert good.confidence > 0.9
            assert (good.qty, bad.seen, bad.missed) == (0, 40, 12)
            assert bad.qty is not None
            assert bad.qty >= 1
            assert bad.confidence_then >= 0.8
            assert bad.avoided_per_week == pytest.approx(1.0, abs=0.35)
            assert f"With {bad.qty} held back" in bad.reason
            now, flows = account.knowledge.clock.now(), account.knowledge.workflows
            put = await account.database.run(
                account.schema,
                lambda tx: put_controls(tx, flows, [control_of("web", bad)], now),
            )
            assert put == ["created"]
            await count(account, ("P9", "L1", bad.qty + 1), ("P9", "L2", 9))
            one, two = await place(account, order("x", ("P9", 1)), order("y", ("P9", 1)))
            assert one["fulfilments"][0]["location"] == "L1"
            assert two["fulfilments"][0]["location"] == "L2"

    async def again() -> None:
        async with opened(lent) as account:
            catalogue = account.availability.catalogue(1, "deliver")
            explained = explain(account.availability, catalogue, 9)
            sure = {one.location: one.confidence or 0.0 for one in explained.locations}
            assert sure["L1"] < 0.6
            assert sure["L2"] > 0.9
            learnt = await learn_from(account)
            found = propose_buffers(account.availability, (1, "web"), learnt, (0.8, 12.0))
            assert [one.was > 0 and one.qty == one.was for one in found] == [True, False]

    asyncio.run(story())
    asyncio.run(again())


async def history_of(account: Account) -> None:
    """Ship and reject: L1 lacks 12 of 20 last units, and none of 20 with four left; L2 nothing."""
    skus = [f"P{n}" for n in range(1, 41)]
    last, ample = skus[:20], skus[20:]
    await count(account, *((sku, "L1", 1) for sku in last), *((sku, "L1", 5) for sku in ample))
    first = await place(account, *(order(sku, (sku, 1)) for sku in skus))
    for place_of, document in enumerate(first):
        await end(account, document, "rejected" if place_of < 12 else "shipped")
    await count(account, *((sku, "L1", 0) for sku in skus), *((sku, "L2", 1) for sku in skus))
    await work(account)
    second = await place(account, *(order(f"{sku}-2", (sku, 1)) for sku in skus[12:]))
    for document in second:
        await end(account, document, "shipped")
