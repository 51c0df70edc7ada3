"""One server for most tests of the interface, and SKUs that no other test touches."""

import itertools
from collections.abc import Iterator

import httpx
import pytest
from tests.api.retailer import make_retailer, serving


@pytest.fixture(scope="session")
def web(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Lend a client of `penstock serve` with one API and one worker process."""
    make_retailer(database, "over_http")
    log = tmp_path_factory.mktemp("api") / "serve.log"
    with serving("serve", database, "over_http", log) as (client, _):
        yield client


_numbers = itertools.count(1)


@pytest.fixture
def sku() -> str:
    """Give a SKU without stock, for one test."""
    return f"P{next(_numbers)}"


@pytest.fixture
def other_sku() -> str:
    """Give another one."""
    return f"P{next(_numbers)}"
