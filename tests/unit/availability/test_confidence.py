"""Confidence is calibrated: on made histories whose truth is known, its chances come true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from penstock.availability.confidence import (
    AGES,
    MOST_LEFT,
    Confidence,
    Evidence,
    age_bucket,
    learn,
)
from penstock.availability.proposals import Shelfful, propose

KINDS = ("store", "warehouse", "dropship_vendor")
Floats = NDArray[np.float64]


class Truth:
    """A made world: each kind's hazard grows with age, fades with what is left; places differ."""

    def __init__(self, seed: int, locations: int, spread: float = 0.8) -> None:
        self.rng = np.random.default_rng(seed)
        ids = range(1, locations + 1)
        self.kinds = {n: KINDS[int(self.rng.integers(3))] for n in ids}
        self.frailty = {n: float(np.exp(self.rng.normal(-(spread**2) / 2, spread))) for n in ids}
        base = {"store": 0.12, "warehouse": 0.02, "dropship_vendor": 0.3}
        growth = np.array([1, 1.1, 1.3, 1.6, 2.2, 3, 4, 3])
        self.hazard = {kind: base[kind] * growth for kind in KINDS}
        self.fade = np.array([1, 0.6, 0.4, 0.25, 0.15, 0.1, 0.05])

    def chance(self, location: int, age: int, left: int) -> float:
        of_kind = self.hazard[self.kinds[location]][age]
        return float(np.exp(-of_kind * self.fade[left] * self.frailty[location]))

    def history(self, fewest: int, most: int) -> Evidence:
        """Return trials: `fewest` to `most` a location, spread over ages and what is left."""
        cells: list[tuple[float, ...]] = []
        for location in self.kinds:
            total = int(self.rng.integers(fewest, most + 1))
            for age, left in self.cells(total):
                missed = float(self.rng.random() > self.chance(location, age, left))
                cells.append((location, age, left, 1.0, missed))
        table = np.array(cells).T
        ids, ages, lefts = (column.astype(np.int64) for column in table[:3])
        return Evidence(ids, ages, lefts, table[3], table[4], table[3], table[4])

    def cells(self, total: int) -> list[tuple[int, int]]:
        ages = self.rng.integers(0, AGES, total)
        lefts = np.minimum(self.rng.geometric(0.3, total) - 1, MOST_LEFT)
        return list(zip(ages.tolist(), lefts.tolist(), strict=True))


def forecasts(truth: Truth, learnt: Confidence, each: int) -> tuple[Floats, Floats, Floats]:
    """Return chances as learnt and as they are, and what came, for fresh trials everywhere."""
    said: list[float] = []
    true: list[float] = []
    for location in truth.kinds:
        for age, left in truth.cells(each):
            chance = learnt.there(location, age, left)
            assert chance is not None
            said.append(chance)
            true.append(truth.chance(location, age, left))
    came = truth.rng.random(len(true)) < np.array(true)
    return np.array(said), np.array(true), came.astype(float)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_what_is_said_comes_true_as_often_as_it_is_said(seed: int) -> None:
    truth = Truth(seed, 120)
    learnt = learn(truth.history(20, 200), truth.kinds)
    said, true, came = forecasts(truth, learnt, 100)
    for low in np.arange(0.3, 1.0, 0.1):
        mine = (said >= low) & (said < low + 0.1)
        if mine.sum() >= 100:
            error = abs(said[mine].mean() - came[mine].mean())
            noise = 4 * np.sqrt(0.25 / mine.sum())
            assert error <= 0.03 + noise, (low, error)
    brier, best = ((said - came) ** 2).mean(), ((true - came) ** 2).mean()
    flat = ((came.mean() - came) ** 2).mean()
    assert brier <= best + 0.004, (brier, best)
    assert brier <= flat - 0.5 * (flat - best), (brier, best, flat)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_the_bounds_hold_the_truth_nine_times_in_ten(seed: int) -> None:
    truth = Truth(seed, 200, spread=0.5)
    learnt = learn(truth.history(30, 60), truth.kinds)
    inside = 0
    for location in truth.kinds:
        bounds = learnt.between(location, 4, 0)
        assert bounds is not None
        inside += bounds[0] <= truth.chance(location, 4, 0) <= bounds[1]
    assert 0.8 <= inside / len(truth.kinds) <= 0.99


def test_a_location_with_few_trials_stays_near_its_kind_and_one_with_many_does_not() -> None:
    truth = Truth(7, 60, spread=0.3)
    history = truth.history(80, 120)
    kinds = {**truth.kinds, 900: "store", 901: "store", 902: "store"}
    more = Evidence(
        np.append(history.location_ids, [901, 902]),
        np.append(history.ages, [0, 0]),
        np.append(history.lefts, [0, 0]),
        np.append(history.trials, [2.0, 400.0]),
        np.append(history.misses, [1.0, 200.0]),
        np.append(history.seen, [2.0, 400.0]),
        np.append(history.missed, [1.0, 200.0]),
    )
    learnt = learn(more, kinds)
    usual, little, much = (learnt.there(n, 0) or 0.0 for n in (900, 901, 902))
    assert usual > little > much
    assert usual - little < little - much
    assert much == pytest.approx(0.5, abs=0.04)


def test_nothing_is_said_of_what_nothing_is_known_of() -> None:
    nothing = np.zeros(0)
    ids = nothing.astype(np.int64)
    learnt = learn(Evidence(ids, ids, ids, *[nothing] * 4), {1: "store"})
    assert learnt.there(1, 0) is None
    assert learnt.between(1, 0) is None
    truth = Truth(3, 10)
    assert learn(truth.history(5, 10), truth.kinds).there(77, 0) is None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 5),
            st.integers(0, AGES - 1),
            st.integers(0, MOST_LEFT),
            st.integers(1, 50),
            st.floats(0, 1),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_whatever_was_seen_it_falls_with_age_and_rises_with_what_is_left(
    rows: list[tuple[int, int, int, int, float]],
) -> None:
    table = np.array(rows, dtype=float).T
    ids, ages, lefts = (column.astype(np.int64) for column in table[:3])
    misses = np.floor(table[3] * table[4])
    kinds = {n: KINDS[n % 3] for n in range(1, 7)}
    learnt = learn(Evidence(ids, ages, lefts, table[3], misses, table[3], misses), kinds)
    for location in kinds:
        by_age = [learnt.there(location, age) or 0.0 for age in range(AGES - 1)]
        by_left = [learnt.there(location, 0, left) or 0.0 for left in range(MOST_LEFT + 1)]
        assert all(0.0 <= one <= 1.0 for one in by_age + by_left)
        assert by_age == sorted(by_age, reverse=True)
        assert np.all(np.diff(by_left) >= -1e-12)
        low, high = learnt.between(location, 0) or (0.0, 1.0)
        assert 0.0 <= low <= high <= 1.0


def test_ages_are_told_apart() -> None:
    assert [age_bucket(hours) for hours in (0.0, 1.0, 30.0, 1_000.0)] == [0, 1, 4, 6]
    assert age_bucket(None) == AGES - 1


def test_the_smallest_buffer_that_reaches_the_chance_is_proposed_with_its_effect() -> None:
    truth = Truth(21, 40, spread=0.6)
    history = truth.history(300, 400)
    learnt = learn(history, truth.kinds)
    free = np.array([0, 1, 3, 10])
    places = [Shelfful(n, f"L{n}", 0, 0, free) for n in truth.kinds]
    proposals = propose(learnt, history, places, (0.95, 10.0))
    assert len(proposals) == 40
    assert {one.qty for one in proposals} >= {0, 2}
    for one in proposals:
        location = int(one.location[1:])
        mine = history.location_ids == location
        assert (one.seen, one.missed) == (mine.sum(), history.missed[mine].sum())
        if one.qty is None:
            assert "does not help" in one.reason
            continue
        assert one.confidence_then >= 0.95
        assert one.units_hidden == np.minimum(free, one.qty).sum()
        if one.qty:
            assert one.confidence < 0.95
            lost = history.missed[mine & (history.lefts < one.qty)].sum() / 10.0
            assert one.avoided_per_week == pytest.approx(lost, abs=0.5 + 0.35 * lost)
        else:
            assert one.avoided_per_week == 0.0
    kept = [Shelfful(n, f"L{n}", 2, 0, free) for n in truth.kinds]
    beyond = propose(learnt, history, kept, (0.95, 10.0))
    for one, more in zip(proposals, beyond, strict=True):
        if one.qty is not None:
            assert more.qty == max(one.qty - 2, 0)
