"""Confidence: how likely a promised unit is really there, learnt from what became of promises.

Pure. Each allocation that was picked or missed is a trial: of a location, at an age of the last
count, with so many units left behind it (both in buckets). What is amiss grows like a rate,
`h = hazard[kind, age] * fade[left] * r[location]`, and the unit is there with `exp(-h)`. `r` is a
gamma frailty of mean 1 (Vaupel, Manton and Stallard, 1979) whose spread is learnt from how much
locations differ, so that one with few trials stays near its kind. Fitted by EM: a miss stands for
`h / (1 - exp(-h))` things amiss. Hazards do not fall with age, nor rise with what is left.
Nothing is known without trials: then there is no number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

AGE_HOURS = (1.0, 4.0, 12.0, 24.0, 72.0, 168.0)  # bounds of the buckets of a count's age
AGES = len(AGE_HOURS) + 2  # the last: never counted
MOST_LEFT = 6  # so many left, or more
ROUNDS = 80
_SPREADS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)  # shapes of the frailty that are weighed
_WEAK = 1.0  # events that a prior is worth
_LEAST = 1e-9
Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


class Evidence(msgspec.Struct):
    """Trials by location, age bucket and left bucket, as columns.

    `trials` and `misses` are weighted, the latest the most; `seen` and `missed` are counts.
    """

    location_ids: Ids
    ages: Ids
    lefts: Ids
    trials: Floats
    misses: Floats
    seen: Floats
    missed: Floats


class Confidence(msgspec.Struct, frozen=True):
    """What was learnt: by kind and age, by what is left, and by location (gamma shape and rate)."""

    kinds: Sequence[str] = ()
    hazards: Sequence[Sequence[float]] = ()
    fades: Sequence[float] = ()
    spread: float = 1.0
    kind_of: Mapping[int, int] = {}
    gammas: Mapping[int, tuple[float, float]] = {}

    def there(self, location_id: int, age: int, left: int = 0) -> float | None:
        """Return the chance that a unit promised there is there; None where nothing is known."""
        hazard = self._hazard(location_id, age, left)
        if hazard is None:
            return None
        shape, rate = self.gammas.get(location_id, (self.spread, self.spread))
        return float((rate / (rate + hazard)) ** shape)

    def between(self, location_id: int, age: int, left: int = 0) -> tuple[float, float] | None:
        """Return bounds that hold the true chance nine times in ten."""
        hazard = self._hazard(location_id, age, left)
        if hazard is None:
            return None
        shape, rate = self.gammas.get(location_id, (self.spread, self.spread))
        low, high = (_gamma_quantile(shape, rate, z) for z in (-1.645, 1.645))
        return math.exp(-hazard * high), math.exp(-hazard * low)

    def _hazard(self, location_id: int, age: int, left: int) -> float | None:
        kind = self.kind_of.get(location_id)
        if kind is None or not self.hazards:
            return None
        return self.hazards[kind][age] * self.fades[min(max(left, 0), MOST_LEFT)]


def _gamma_quantile(shape: float, rate: float, z: float) -> float:
    """Approximate a quantile of a gamma distribution (Wilson and Hilferty, 1931)."""
    cube = 1.0 - 1.0 / (9.0 * shape) + z * math.sqrt(1.0 / (9.0 * shape))
    return max(shape / rate * cube**3, 0.0)


def age_bucket(age_h: float | None) -> int:
    """Return the bucket of a count's age in hours; None: never counted."""
    if age_h is None:
        return AGES - 1
    return int(np.searchsorted(AGE_HOURS, age_h, side="right"))


def learn(evidence: Evidence, kinds_of: Mapping[int, str]) -> Confidence:
    """Fit the chances to trials; `kinds_of` are the kinds of locations by id."""
    if not evidence.trials.sum():
        return Confidence()
    kinds = sorted(set(kinds_of.values()))
    ids, at = np.unique(evidence.location_ids, return_inverse=True)
    kind = np.array([kinds.index(kinds_of.get(int(n), kinds[0])) for n in ids])[at]
    fit = _Fit(evidence, at, kind, (len(ids), len(kinds)))
    for number in range(ROUNDS):
        fit.step()
        if number % 10 == 0:
            fit.choose_spread()
    shape, rate = fit.gammas()
    return Confidence(
        kinds=kinds,
        hazards=fit.hazards.tolist(),
        fades=fit.fades.tolist(),
        spread=fit.spread,
        kind_of={one: kinds.index(name) for one, name in kinds_of.items()},
        gammas={int(n): (float(shape[i]), float(rate[i])) for i, n in enumerate(ids)},
    )


class _Fit:
    """The state of the EM: hazards by kind and age, fades by what is left, rates by location."""

    def __init__(self, evidence: Evidence, at: Ids, kind: Ids, sizes: tuple[int, int]) -> None:
        self.evidence, self.at, self.kind = evidence, at, kind
        self.locations, self.kinds = sizes
        share = (evidence.misses.sum() + 0.5) / (evidence.trials.sum() + 1.0)
        self.hazards = np.full((self.kinds, AGES), -math.log1p(-min(share, 0.99)))
        self.fades = np.ones(MOST_LEFT + 1)
        self.rates = np.ones(self.locations)
        self.spread = 2.0
        self.events: Floats = evidence.misses.copy()

    def step(self) -> None:
        """Take one round: what is amiss by cell, then each factor given the others."""
        e, at = self.evidence, self.at
        base = self.hazards[self.kind, e.ages] * self.fades[e.lefts]
        amiss = np.maximum(base * self.rates[at], _LEAST)
        self.events = e.misses * amiss / -np.expm1(-amiss)
        shape, rate = self.gammas()
        self.rates = shape / rate
        self._fit_hazards()
        self._fit_fades()

    def gammas(self) -> tuple[Floats, Floats]:
        """Return the posterior of each location's rate."""
        e = self.evidence
        exposure = e.trials * self.hazards[self.kind, e.ages] * self.fades[e.lefts]
        events = _sums(self.at, self.events, self.locations)
        return self.spread + events, self.spread + _sums(self.at, exposure, self.locations)

    def _fit_hazards(self) -> None:
        e = self.evidence
        exposure = e.trials * self.rates[self.at] * self.fades[e.lefts]
        cell = self.kind * AGES + e.ages
        events = _sums(cell, self.events, self.kinds * AGES).reshape(self.kinds, AGES)
        exposed = _sums(cell, exposure, self.kinds * AGES).reshape(self.kinds, AGES)
        every = (events.sum() + _LEAST) / (exposed.sum() + _LEAST)
        pooled = (events.sum(0) + _WEAK) / (exposed.sum(0) + _WEAK / every)
        of_kind = (events.sum(1) + _WEAK) / (exposed @ pooled + _WEAK)
        expected = pooled * of_kind[:, None]
        fitted = (events + _WEAK) / (exposed + _WEAK / expected)
        weights = exposed + _WEAK / expected
        counted = [_rising(row[:-1], w[:-1]) for row, w in zip(fitted, weights, strict=True)]
        self.hazards = np.column_stack([np.array(counted), fitted[:, -1]])

    def _fit_fades(self) -> None:
        e = self.evidence
        exposure = e.trials * self.rates[self.at] * self.hazards[self.kind, e.ages]
        events = _sums(e.lefts, self.events, MOST_LEFT + 1) + _WEAK
        exposed = _sums(e.lefts, exposure, MOST_LEFT + 1) + _WEAK
        fades = -_rising(-events / exposed, exposed)
        self.hazards *= fades[0]
        self.fades = fades / fades[0]

    def choose_spread(self) -> None:
        """Take the spread under which what locations have shown is likeliest."""
        shape, rate = self.gammas()
        events, exposed = shape - self.spread, np.maximum(rate - self.spread, _LEAST)
        likely = [_log_likelihood(spread, events, exposed) for spread in _SPREADS]
        self.spread = _SPREADS[int(np.argmax(likely))]


def _sums(groups: Ids, values: Floats, size: int) -> Floats:
    return np.bincount(groups, values, size).astype(np.float64)


def _log_likelihood(spread: float, events: Floats, exposed: Floats) -> float:
    """Return how likely the events of all locations are (negative binomial)."""
    chance = np.log(exposed / (spread + exposed))
    fixed = spread * math.log(spread) - math.lgamma(spread)
    parts = [
        math.lgamma(n + spread) + fixed - spread * math.log(spread + x) + n * c
        for n, x, c in zip(events.tolist(), exposed.tolist(), chance.tolist(), strict=True)
    ]
    return sum(parts)


def _rising(values: Floats, weights: Floats) -> Floats:
    """Pool neighbours that fall until the values do not (PAVA; Ayer and others, 1955)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (v2, w2, n2), (v1, w1, n1) = pools.pop(), pools.pop()
            pools.append(((v1 * w1 + v2 * w2) / (w1 + w2), w1 + w2, n1 + n2))
    return np.repeat([pool[0] for pool in pools], [pool[2] for pool in pools])
