"""Which control counts where: resolved floors equal what looking at every control finds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.availability import shop

from penstock.availability.atp import Availability
from penstock.availability.controls import Controls
from penstock.availability.rule import Rule
from penstock.clock import ManualClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOCATIONS = shop.locations(6)  # ids 10 to 60; 30 and 60 are warehouses
LOCATIONS.networks = {1: {10, 20, 30}, 2: {30, 60}}
LOCATIONS.time_zones = ["Europe/London", "Asia/Tokyo", "Europe/London"] * 2
MEMBERS = {"tools": np.array([1, 2]), "tools/drills": np.array([2]), "toys": np.array([7])}
DEPTHS = {"tools": 2, "tools/drills": 3, "toys": 1}  # tools hang below something
NOTHING = 1 << 40
GROUPS = {"default": "first", "adds": "sum", "most": "max"}


def _rule(group: str, amount: int, *, share: bool, **fields: Any) -> Rule:
    scope = {"percent_bp": amount * 77} if share else {"qty": amount}
    depth = DEPTHS.get(fields["category"] or "", 0)
    return Rule(group=group, combine=GROUPS[group], depth=depth, **scope, **fields)


RULES = st.builds(
    _rule,
    group=st.sampled_from(sorted(GROUPS)),
    share=st.booleans(),
    amount=st.integers(0, 9),
    channel_id=st.sampled_from([None, 1, 2, 3]),
    product_id=st.sampled_from([None, None, 1, 2, 7]),
    category=st.sampled_from([None, *MEMBERS]),
    location_id=st.sampled_from([None, None, 10, 30, 999]),
    location_kind=st.sampled_from([None, "store", "warehouse"]),
    network_id=st.sampled_from([None, 1, 2]),
    priority=st.sampled_from([0, 0, 0, 1, -1]),
    active_until=st.sampled_from([None, None, NOON, NOON + timedelta(hours=1)]),
    daily_from=st.sampled_from([None, None, time(9), time(18)]),
    daily_until=st.sampled_from([None, None, time(17), time(23)]),
)
EXCLUSIONS = st.builds(
    Rule,
    kind=st.just("exclusion"),
    channel_id=st.sampled_from([None, 2]),
    product_id=st.sampled_from([1, 7]),
    location_id=st.sampled_from([None, 10]),
)


def controls(*rules: Rule) -> Controls:
    return Controls(rules, [1], shop.Channels(), LOCATIONS, MEMBERS)


def fits(rule: Rule, channel_id: int, product_id: int, location_id: int) -> bool:
    """Tell whether a control is about a product at a location, at noon."""
    row = int(LOCATIONS.row_of[location_id])
    here = NOON.astimezone(ZoneInfo(LOCATIONS.time_zones[row])).time()
    first, last = rule.daily_from or time(0), rule.daily_until or time.max
    is_open = first <= here < last if first < last else here >= first or here < last
    members = MEMBERS.get(rule.category or "", np.array([product_id]))
    placed = rule.location_id is None and (
        rule.location_kind in {None, LOCATIONS.kinds[row]}
        and (rule.network_id is None or location_id in LOCATIONS.networks[rule.network_id])
    )
    return (
        rule.channel_id in {None, *shop.Channels().path(channel_id)}
        and rule.product_id in {None, product_id}
        and (rule.product_id is not None or product_id in members.tolist())
        and (rule.location_id == location_id or placed)
        and (rule.active_until is None or rule.active_until > NOON)
        and is_open
    )


def strength(rule: Rule, channel_id: int) -> tuple[int, ...]:
    """Rank a control of a group that takes the first, as the reference says."""
    narrow = 99 if rule.product_id else DEPTHS.get(rule.category or "", 0)
    if rule.location_id is not None:
        place = 9
    else:
        place = 2 * (rule.network_id is not None) + (rule.location_kind is not None)
    path = [*shop.Channels().path(channel_id), None]
    return rule.priority, narrow, place, -path.index(rule.channel_id)


def share(percent_bp: int, on_hand: int) -> int:
    return -(-max(on_hand, 0) * percent_bp // 10_000)


def by_hand(rules: list[Rule], channel_id: int, place: tuple[int, int], on_hand: int) -> int:
    """Resolve a floor by looking at every control: slow, plain, and from the reference's words."""
    mine = [rule for rule in rules if fits(rule, channel_id, *place)]
    if any(rule.kind == "exclusion" for rule in mine):
        return NOTHING
    total = 0
    for group, combine in GROUPS.items():
        members = [rule for rule in mine if rule.group == group]
        if combine == "first" and members:
            best = max(strength(rule, channel_id) for rule in members)
            members = [rule for rule in members if strength(rule, channel_id) == best]
        amounts = [max(rule.qty, share(rule.percent_bp, on_hand)) for rule in members]
        if combine == "sum":
            total += sum(rule.qty for rule in members)
            total += share(sum(rule.percent_bp for rule in members), on_hand)
        else:
            total += max(amounts, default=0)
    return total


@given(
    rules=st.lists(RULES, max_size=9),
    exclusions=st.lists(EXCLUSIONS, max_size=1),
    on_hand=st.integers(-3, 400),
)
def test_floors_are_those_found_by_looking_at_every_control(
    rules: list[Rule], exclusions: list[Rule], on_hand: int
) -> None:
    rules = rules + exclusions
    resolved = controls(*rules).at(NOON)
    products = np.repeat(np.array([1, 2, 3, 7, 8]), 6)
    rows = np.tile(np.arange(6), 5)
    on_hands = np.full(30, on_hand)
    ids = LOCATIONS.location_ids[rows].tolist()
    pairs = list(zip(products.tolist(), ids, strict=True))
    for channel_id in (1, 2, 3):
        expected = [by_hand(rules, channel_id, pair, on_hand) for pair in pairs]
        assert resolved.floor(channel_id, products, rows, on_hands).tolist() == expected
        scalar = [resolved.floor_of(channel_id, *pair, on_hand) for pair in pairs]
        assert scalar == expected


def test_a_channel_inherits_its_parent_s_buffer_and_may_lower_it() -> None:
    resolved = controls(Rule(qty=5), Rule(channel_id=1, qty=3), Rule(channel_id=2, qty=0))
    assert [resolved.at(NOON).floor_of(channel, 1, 10) for channel in (1, 2, 3)] == [3, 0, 3]


def test_a_location_newer_than_the_directory_has_no_floor() -> None:
    assert controls(Rule(qty=5)).at(NOON).floor_of(1, 1, 4_000) == 0


def test_only_pools_known_to_be_for_sale_are_sold() -> None:
    resolved = Controls([], [1, 4], shop.Channels(), LOCATIONS)
    pools = np.array([1, 2, 4, 5, 300], dtype=np.int16)
    assert resolved.sells(pools).tolist() == [True, False, True, False, False]
    assert [resolved.sells_one(pool) for pool in pools.tolist()] == [
        True,
        False,
        True,
        False,
        False,
    ]


def test_what_holds_is_one_object_until_a_control_with_hours_begins_or_ends() -> None:
    resolved = controls(Rule(qty=5), Rule(channel_id=2, qty=9, daily_from=time(18)))
    first = resolved.at(NOON)
    assert resolved.at(NOON + timedelta(hours=1)) is first
    evening = resolved.at(NOON + timedelta(hours=7))
    assert evening is not first
    assert [evening.floor_of(2, 1, 10), evening.floor_of(3, 1, 10)] == [9, 5]
    assert evening.floors(3) is first.floors(3)  # nothing changed for this channel
    assert resolved.at(NOON + timedelta(days=1)) is first


def test_hours_are_those_of_the_location_s_own_zone_on_the_night_the_clocks_change() -> None:
    until_two = controls(Rule(qty=5, daily_from=time(1), daily_until=time(2)))
    # London skips 01:00 to 02:00 on 29 March 2026, and has it twice on 25 October.
    spring = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    held = [until_two.at(spring + timedelta(hours=n)).floor_of(1, 1, 10) for n in range(3)]
    assert held == [0, 0, 0]
    autumn = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    held = [until_two.at(autumn + timedelta(hours=n)).floor_of(1, 1, 10) for n in range(4)]
    assert held == [0, 5, 5, 0]
    tokyo = until_two.at(datetime(2026, 3, 28, 16, 30, tzinfo=UTC))
    assert [tokyo.floor_of(1, 1, 20), tokyo.floor_of(1, 1, 10)] == [5, 0]


def test_availability_heeds_a_control_at_its_instants_and_keeps_other_totals() -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        rules = controls(Rule(channel_id=2, qty=4, active_from=NOON + timedelta(hours=1)))
        index = shop.index_of((1, 1, 10, 1, 9, 0, 1))
        shop_now = Availability(clock, index, LOCATIONS, rules)
        products = np.array([1])
        mine, other = shop_now.catalogue(2, "deliver"), shop_now.catalogue(3, "deliver")
        await shop_now.settle()
        assert mine.totals_of(products).tolist() == other.totals_of(products).tolist() == [9]
        clock.advance_to(NOON + timedelta(hours=2))
        shop_now.heed_switches()
        assert shop_now.catalogue(2, "deliver").totals_of(products).tolist() == [5]
        assert shop_now.catalogue(3, "deliver").is_built
        await shop_now.settle()
        index.apply(shop.rows((1, 1, 10, 1, 7, 0, 2)))
        assert shop_now.catalogue(2, "deliver").totals_of(products).tolist() == [3]
        assert shop_now.catalogue(3, "deliver").totals_of(products).tolist() == [7]

    asyncio.run(story())
