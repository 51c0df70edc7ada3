"""A shop of its own for every story."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.shop import Shop, shop


@pytest.fixture
def lent(database: str, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """Lend a fresh shop, named after the story's module."""
    name = request.path.stem.removeprefix("test_")
    with shop(database, name) as one:
        yield one
