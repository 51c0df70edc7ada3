"""Seeded draws by key: the same key gives the same number, in whatever order and company.

Owns the seed of everything that is made rather than real in the sample retailer. A draw hashes
seed, purpose and key, so that a customer lives in the same town in the shipped sample and in the
full file, and no generator's version matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

SEED = 20091201
_BYTES = 8


def draw(purpose: str, key: str) -> float:
    """Return a number in [0, 1) that belongs to this purpose and key."""
    text = f"{SEED}:{purpose}:{key}".encode()
    digest = blake2b(text, digest_size=_BYTES).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def draws(purpose: str, keys: Iterable[str]) -> NDArray[np.float64]:
    """Return one draw per key, in order."""
    return np.array([draw(purpose, key) for key in keys], dtype=np.float64)


def between(low: float, high: float, drawn: float) -> int:
    """Return the whole number that a draw picks from `low` to `high`."""
    return round(low + (high - low) * drawn)
