"""Two packs that serve the same type, taken out in any order: none that is gone comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.shop import Shop, opened, shop

from penstock.app import Account
from penstock.engine.readable import load_vocabulary
from penstock.rules.packs import Pack, install_pack, remove_pack

DOCUMENT = """
name: {name}
entity: token
type: default
version: 1
statuses:
  - {{name: new, phase: all, category: open, meaning: "It is there."}}
  - {{name: gone, phase: all, category: done, meaning: "It is used."}}
rulesets:
  - name: use it
    event: token.used
    statuses: [new]
    rules:
      - transition: {{to: gone}}
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "packs_removed") as one:
        yield one


async def change(account: Account, work: Any) -> list[str]:
    changes = await account.database.run(account.schema, work)
    return [one.sentence for one in changes if one.what == "workflow"]


async def install(account: Account, name: str) -> list[str]:
    pack = Pack(name, "1", "", {}, [DOCUMENT.format(name=f"{name}_token")], [])
    return await change(account, lambda tx: install_pack(tx, pack, load_vocabulary()))


async def remove(account: Account, name: str) -> list[str]:
    return await change(account, lambda tx: remove_pack(tx, name))


@pytest.mark.parametrize("is_lower_first", [True, False])
def test_a_workflow_of_a_pack_that_is_gone_does_not_come_back(
    lent: Shop, *, is_lower_first: bool
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await install(account, "lower")
            assert "in place of lower_token@1" in (await install(account, "upper"))[0]
            if is_lower_first:
                assert await remove(account, "lower") == []
                (told,) = await remove(account, "upper")
            else:
                (told,) = await remove(account, "upper")
                assert "lower_token@1 serves new token of type default again" in told
                (told,) = await remove(account, "lower")
            assert told.endswith("is not active any more; nothing serves it")

    asyncio.run(story())
