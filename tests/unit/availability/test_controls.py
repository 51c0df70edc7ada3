"""Which buffer counts where: the narrowest place first, then the nearest channel."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.availability import shop

from penstock.availability.controls import Controls, Rule

LOCATIONS = shop.locations(6)  # ids 10 to 60; 30 and 60 are warehouses
RULES = st.builds(
    Rule,
    channel_id=st.sampled_from([None, 1, 2, 3]),
    product_id=st.sampled_from([None, 1, 2, 7]),
    location_id=st.sampled_from([None, 10, 30, 999]),
    location_kind=st.sampled_from([None, "store", "warehouse"]),
    qty=st.integers(0, 9),
)


def controls(*rules: Rule) -> Controls:
    return Controls(rules, [1], shop.Channels(), LOCATIONS)


def by_hand(rules: list[Rule], channel_id: int, product_id: int, location_id: int) -> int:
    """Resolve a floor by looking at every rule: slow, plain, and written from the docstring."""
    kind = LOCATIONS.kinds[LOCATIONS.row_of[location_id]]
    path = [*shop.Channels().path(channel_id), None]
    best: tuple[int, int, int] | None = None
    for rule in rules:
        fits = (
            rule.channel_id in path
            and rule.product_id in {None, product_id}
            and rule.location_id in {None, location_id}
            and (rule.location_id is not None or rule.location_kind in {None, kind})
        )
        if fits:
            narrow = 3 * (rule.product_id is not None)
            if rule.location_id is not None:
                narrow += 2
            elif rule.location_kind is not None:
                narrow += 1
            rank = (narrow, -path.index(rule.channel_id), rule.qty)
            best = rank if best is None else max(best, rank)
    return 0 if best is None else best[2]


@given(rules=st.lists(RULES, max_size=8))
def test_floors_are_those_found_by_looking_at_every_rule(rules: list[Rule]) -> None:
    resolved = controls(*rules)
    products = np.repeat(np.array([1, 2, 3, 7, 8]), 6)
    rows = np.tile(np.arange(6), 5)
    ids = LOCATIONS.location_ids[rows].tolist()
    for channel_id in (1, 2, 3):
        expected = [
            by_hand(rules, channel_id, p, i) for p, i in zip(products.tolist(), ids, strict=True)
        ]
        assert resolved.floor(channel_id, products, rows).tolist() == expected
        one_by_one = [
            resolved.floor_of(channel_id, p, i) for p, i in zip(products.tolist(), ids, strict=True)
        ]
        assert one_by_one == expected


def test_a_channel_inherits_its_parent_s_buffer_and_may_lower_it() -> None:
    resolved = controls(Rule(qty=5), Rule(channel_id=1, qty=3), Rule(channel_id=2, qty=0))
    assert [resolved.floor_of(channel, 1, 10) for channel in (1, 2, 3)] == [3, 0, 3]


def test_a_location_newer_than_the_directory_has_no_floor() -> None:
    assert controls(Rule(qty=5)).floor_of(1, 1, 4_000) == 0


def test_only_pools_known_to_be_for_sale_are_sold() -> None:
    resolved = Controls([], [1, 4], shop.Channels(), LOCATIONS)
    pools = np.array([1, 2, 4, 5, 300], dtype=np.int16)
    assert resolved.sells(pools).tolist() == [True, False, True, False, False]
