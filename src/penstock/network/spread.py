"""Spreads: how long something takes, as values with shares, learnt from small histograms.

Pure. Owns mixing what was seen with what is stated, and quantiles of it. Shrinkage: what is stated
counts like `STATED_COUNTS_AS` observations beside those that were seen: the posterior mean of
a multinomial under a Dirichlet prior (Gelman et al., Bayesian Data Analysis, 3rd ed., ch. 3.4).
So nothing seen gives the stated value, and many observations outweigh it; nothing is forgotten.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

V = TypeVar("V", bound=Hashable)
STATED_COUNTS_AS = 10
# Upper bounds of what handling takes, in minutes of open time; longer counts as the last.
MINUTES_UPTO = (
    *(5, 10, 15, 20, 30, 45, 60, 90, 120, 150, 180, 240, 300, 360, 420, 480, 600, 720, 960),
    *(1_200, 1_440, 1_920, 2_400, 2_880, 3_840, 4_800, 7_200, 10_080, 14_400, 43_200),
)
MAX_TRANSIT_DAYS = 60


class Spread(NamedTuple):
    """Values in ascending order, and the share of each; shares sum up to one."""

    values: NDArray[np.int64]
    shares: NDArray[np.float64]


def spread_of(stated: int, seen: Mapping[int, int]) -> Spread:
    """Mix a stated value with counts of what was seen, by value."""
    counts: dict[int, float] = {stated: float(STATED_COUNTS_AS)}
    for value, count in seen.items():
        counts[value] = counts.get(value, 0.0) + count
    values = sorted(counts)
    weights = np.array([counts[value] for value in values], dtype=np.float64)
    return Spread(np.array(values, dtype=np.int64), weights / weights.sum())


def quantile(spread: Spread, q: float) -> int:
    """Return the least value that is not exceeded with the share `q`."""
    return int(spread.values[place_of(np.cumsum(spread.shares), q)])


def place_of(cumulated: NDArray[np.float64], q: float) -> int:
    """Return the first place where cumulated shares reach `q`, as far as floats can tell."""
    place = int(np.searchsorted(cumulated, q - 1e-9, side="left"))
    return min(place, len(cumulated) - 1)


def minutes_upto(minutes: int) -> int:
    """Return the bucket that minutes fall into, by its upper bound."""
    return MINUTES_UPTO[min(bisect_left(MINUTES_UPTO, minutes), len(MINUTES_UPTO) - 1)]


def counted(values: Iterable[V]) -> dict[V, int]:
    """Count equal values."""
    counts: dict[V, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts
