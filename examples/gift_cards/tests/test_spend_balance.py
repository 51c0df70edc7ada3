"""The rule by itself, without a database."""

from __future__ import annotations

import pytest
from penstock_gift_cards import SpendBalance

from penstock.rules.trial import Trial, entity_to_try, try_rule

CARD = {"balance_minor": 500}


@pytest.mark.parametrize(("amount", "left"), [(1, 499), (500, 0)])
def test_what_is_spent_is_taken_off(amount: int, left: int) -> None:
    event = Trial("gift_card.presented", {"amount_minor": amount})
    context = try_rule(SpendBalance(), entity_to_try("gift_card", attributes=CARD), event)
    assert context.root.attributes == {"balance_minor": left}


@pytest.mark.parametrize("amount", [0, -1, 501])
def test_what_is_not_there_is_refused(amount: int) -> None:
    event = Trial("gift_card.presented", {"amount_minor": amount})
    context = try_rule(SpendBalance(), entity_to_try("gift_card", attributes=CARD), event)
    assert context.refusal is not None
    assert context.refusal.code == "balance_too_small"
    assert context.root.attributes == CARD
