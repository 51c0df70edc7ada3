"""Rule `hold_over_amount`, tried without a database."""

from __future__ import annotations

import pytest
from penstock_loyalty import HoldOverAmount

from penstock.rules.trial import order_to_try, try_batch, try_rule

RULE = HoldOverAmount(amount_minor=50_000, unless_tier=["gold"], until="2h")


def test_a_large_order_is_held_until_its_time_is_over() -> None:
    context = try_rule(RULE, order_to_try(total_minor=50_001))
    (hold,) = context.root.open_holds()
    assert hold.kind == "fraud"
    assert [event.name for event in context.to_post] == ["order.hold_expired"]
    assert [change.name for change in context.changes] == ["order.hold_placed"]


@pytest.mark.parametrize(("total_minor", "tier"), [(50_000, "standard"), (90_000, "gold")])
def test_a_smaller_order_or_one_of_a_trusted_tier_goes_on(total_minor: int, tier: str) -> None:
    context = try_rule(RULE, order_to_try(total_minor=total_minor, tier=tier))
    assert context.root.holds == []
    assert not context.to_post


def test_each_order_of_a_batch_is_judged_by_itself() -> None:
    orders = [order_to_try(total_minor=total) for total in (10_000, 60_000, 20_000)]
    contexts = try_batch(RULE, orders)
    assert [len(context.root.holds) for context in contexts] == [0, 1, 0]
