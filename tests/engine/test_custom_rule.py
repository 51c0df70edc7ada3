"""Rules of other packages: installed with pip, found, explained and run; ours do not change."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.shop import Shop, assert_clean, count, opened, order, place, shop, stock_of, work

from penstock.engine.readable import load_vocabulary
from penstock.engine.workflows import put_workflow
from penstock.errors import Refusal
from penstock.rules.scaffold import begin_package

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "custom_rule"
LOYAL = "INSERT INTO customer (id, ref, tier) VALUES (gen_random_uuid(), 'loyal', 'gold');"
PATIENCE_S = 120
ORDERS = 200
BAD = 77


def run(*command: str, path: Path, folder: Path = ROOT) -> str:
    """Run Python with one more folder to import from; returns what it printed."""
    done = subprocess.run(
        [sys.executable, *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}", "COLUMNS": "200"},
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(package: Path, target: Path) -> Path:
    """Install a package into a folder, as pip does without a network; returns the folder."""
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(
        "-m",
        "pip",
        "install",
        "--quiet",
        *offline,
        "--target",
        str(target),
        str(package),
        path=target,
    )
    return target


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that the example's package is installed in."""
    return install(EXAMPLE, tmp_path_factory.mktemp("installed"))


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "custom", LOYAL) as one:
        yield one


def test_the_example_s_own_test_passes(installed: Path) -> None:
    printed = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests"), path=installed
    )
    assert "4 passed" in printed


def test_an_installed_rule_appears_with_its_parameters(installed: Path) -> None:
    shown = run(
        "-m", "penstock.cli.main", "rules", "show", "hold_over_amount", "--json", path=installed
    )
    described: dict[str, Any] = json.loads(shown)
    assert described["package"] == "penstock_loyalty"
    assert described["entities"] == ["order"]
    amount = described["parameters"][0]
    assert (amount["name"], amount["is_required"], amount["range"]) == (
        "amount_minor",
        True,
        "from 0",
    )
    assert amount["unit"] == "minor units of the order's currency"


def test_an_installed_rule_is_in_use_without_touching_the_core(lent: Shop, installed: Path) -> None:
    script = Path(__file__).with_name("custom_rule_process.py")
    workflow = str(EXAMPLE / "workflow.yaml")
    printed = run(str(script), lent.conninfo, lent.name, workflow, path=installed)
    assert json.loads(printed) == {
        "small": ["released", []],
        "large": ["held", ["fraud"]],
        "trusted": ["released", []],
        "cleared": ["released", []],
    }
    assert lent.value("SELECT count(*) FROM inbox WHERE timer = 'hold:fraud'") == 1


def test_a_new_rule_s_package_installs_and_its_test_passes(tmp_path: Path) -> None:
    folder = begin_package("gift_wrap", tmp_path)
    target = install(folder, tmp_path / "target")
    printed = run("-m", "pytest", "-q", str(folder), path=target, folder=folder)
    assert "2 passed" in printed
    shown = run("-m", "penstock.cli.main", "rules", "show", "gift_wrap", path=target)
    assert "minor units of the order's currency" in shown


@pytest.mark.parametrize("name", ["Gift", "gift-wrap", "2nd", "a" * 41, "../up", "_x", ""])
def test_a_rule_s_name_is_small_letters_digits_and_underscores(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        begin_package(name, tmp_path)
    assert caught.value.code == "invalid_rule_name"
    assert list(tmp_path.iterdir()) == []


def test_a_package_is_begun_once(tmp_path: Path) -> None:
    begin_package("gift_wrap", tmp_path)
    with pytest.raises(Refusal) as caught:
        begin_package("gift_wrap", tmp_path)
    assert caught.value.code == "folder_taken"


PICKY = '''
"""A rule for one entity that goes wrong as the order's attribute says."""
from penstock.engine.context import Context
from penstock.engine.rule import OneRule
from penstock.errors import Refusal
from penstock.passes import Pass


class Picky(OneRule, frozen=True):
    def act(self, tx: Pass, context: Context) -> None:
        how = context.root.attributes.get("picky")
        if how == "raise":
            raise ValueError("not this one")
        if how == "refuse":
            raise Refusal("not_this_one", "Not this one.")
        context.set_attribute("seen", True)
'''
WORKFLOW = """
name: picky
entity: order
type: picky
statuses:
  - {name: created, phase: a, category: open, meaning: "Begun."}
  - {name: done, phase: b, category: done, meaning: "Over."}
rulesets:
  - name: route
    event: order.created
    statuses: [created]
    rules: [source, allocate, create_fulfilments, picky, transition: {to: done}]
"""


def write_picky(folder: Path) -> None:
    """Put the rule's package into a folder of Python's path, as pip does."""
    sys.modules.pop("picky_rule", None)
    (folder / "picky_rule.py").write_text(PICKY)
    found = folder / "picky_rule-1.dist-info"
    found.mkdir()
    (found / "entry_points.txt").write_text("[penstock.rules]\npicky = picky_rule:Picky\n")
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: picky-rule\nVersion: 1\n")


def test_a_process_that_runs_finds_a_rule_that_is_installed_meanwhile(
    lent: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))

    async def story() -> None:
        async with opened(lent) as account:
            await place(account, order("before", ("P1", 1)))
            assert "picky" not in account.knowledge.vocabulary.rules
            write_picky(tmp_path)
            vocabulary = load_vocabulary()
            await account.database.run(
                account.schema, lambda tx: put_workflow(tx, WORKFLOW, vocabulary)
            )
            (placed,) = await place(account, order("after", ("P1", 1), type="picky"))
            assert placed["status"] == "done"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("how", "error"),
    [("refuse", "not_this_one: Not this one."), ("raise", "ValueError('not this one')")],
)
def test_a_rule_for_one_that_raises_fails_one_of_two_hundred(
    lent: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, error: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    write_picky(tmp_path)

    async def story() -> None:
        async with opened(lent) as account:
            vocabulary = account.knowledge.vocabulary
            await account.database.run(
                account.schema, lambda tx: put_workflow(tx, WORKFLOW, vocabulary)
            )
            await count(account, ("P1", "L1", 1_000))
            asked = [
                order(
                    f"o{n}", ("P1", 1), type="picky", attributes={"picky": how} if n == BAD else {}
                )
                for n in range(ORDERS)
            ]
            await place(account, *asked, wait=False)
            await work(account)
            statuses = "SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 1"
            assert lent.sql(statuses) == [("created", 1), ("done", ORDERS - 1)]
            assert lent.sql("SELECT error FROM dead_letter") == [(error,)]
            assert lent.value("SELECT count(*) FROM inbox") == 0
            assert stock_of(lent, "P1") == {"L1": (1_000, ORDERS - 1)}
            await assert_clean(lent, account)

    asyncio.run(story())
