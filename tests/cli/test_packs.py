"""Packs: installed with pip, then into an account; newer ones over them; and away again."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import environment_of
from tests.cli.processes import run_penstock
from tests.engine.test_custom_rule import install, run

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "gift_cards"
GUIDE = ROOT / "docs" / "guides" / "packs.md"
SH = re.compile(r"```sh\n(.*?)```", re.DOTALL)
Penstock = Callable[..., str]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that the example's package is installed in."""
    return install(EXAMPLE, tmp_path_factory.mktemp("packs"))


def commands_of(server: str, target: Path, account: str) -> Penstock:
    """Return what runs the command line with one more folder to import from."""

    def call(*arguments: str, status: int = 0) -> str:
        path = f"{target}{os.pathsep}{ROOT}"
        environment = {"PENSTOCK_ACCOUNT": account, "PYTHONPATH": path}
        done = run_penstock(arguments, {**environment_of(server), **environment})
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done.stdout + done.stderr

    return call


def newer(folder: Path) -> Path:
    """Return a folder with the example's next version: a new status's name, another setting."""
    copy = folder / "newer"
    shutil.copytree(EXAMPLE, copy)
    project = copy / "pyproject.toml"
    project.write_text(project.read_text("utf-8").replace('"0.1.0"', '"0.2.0"'), "utf-8")
    module = copy / "src" / "penstock_gift_cards"
    pack = module / "pack.yaml"
    more = "  gift_card_word:\n    value: present\n    meaning: What it is called.\n"
    pack.write_text(pack.read_text("utf-8").replace("value: 100", "value: 200") + more, "utf-8")
    document = module / "workflows" / "gift_card.yaml"
    text = document.read_text("utf-8").replace("version: 1", "version: 2")
    document.write_text(text.replace("after: 365d", "after: 730d"), "utf-8")
    return install(copy, folder / "installed")


def changes(printed: str) -> list[tuple[str, str]]:
    found: list[dict[str, Any]] = json.loads(printed)["changes"]
    return [(one["what"], one["sentence"]) for one in found]


def test_a_pack_is_installed_made_newer_and_removed(
    server: str, target: Path, tmp_path: Path
) -> None:
    penstock = commands_of(server, target, "packed")
    penstock("account", "create", "packed")
    assert "gift_cards" in penstock("pack", "list")
    assert "spend_balance" in penstock("pack", "show", "gift_cards")
    first = [
        ("workflow", "gift_card@1 serves new gift_card of type default"),
        ("setting", "gift_card_least_minor is 100"),
        ("pack", "gift_cards 0.1.0, for the first time"),
    ]
    dry = penstock("pack", "install", "gift_cards", "--dry-run", "--json")
    assert changes(dry) == first
    assert json.loads(penstock("setting", "list", "--json")) == {"settings": []}
    assert changes(penstock("pack", "install", "gift_cards", "--json")) == first
    assert changes(penstock("pack", "install", "gift_cards", "--json")) == []
    penstock("entity", "add", "gift_card", "G-1", "--attributes", '{"balance_minor": 300}')
    penstock("setting", "set", "gift_card_least_minor", "150")

    later = commands_of(server, newer(tmp_path), "packed")
    told = changes(later("pack", "install", "gift_cards", "--json"))
    assert told[0] == (
        "workflow",
        "gift_card@2 serves new gift_card of type default, in place of gift_card@1",
    )
    assert "730d" in told[1][1]
    assert told[2:] == [
        ("setting", "gift_card_least_minor stays 150, as somebody set it (not 200)"),
        ("setting", 'gift_card_word is "present"'),
        ("pack", "gift_cards 0.2.0, over 0.1.0"),
    ]
    refused = later("pack", "remove", "gift_cards", status=2)
    assert "1 gift_card of gift_card@1 are issued" in refused
    spent = ["--payload", '{"amount_minor": 300}']
    later("event", "send", "G-1", "gift_card.presented", "--kind", "gift_card", *spent)
    assert changes(later("pack", "remove", "gift_cards", "--json")) == [
        ("workflow", "gift_card@2 is not active any more; nothing serves it"),
        ("setting", "gift_card_least_minor stays 150, as somebody set it"),
        ("setting", "gift_card_word is gone"),
        ("pack", "gift_cards is removed"),
    ]
    assert "not installed" in later("pack", "remove", "gift_cards", status=2)
    assert "no workflow" in later("entity", "add", "gift_card", "G-2", status=2).lower()
    (left,) = json.loads(later("setting", "list", "--json"))["settings"]
    assert (left["value"], left["pack"]) == (150, None)


def test_the_tests_of_the_example_pass(target: Path) -> None:
    tests = str(EXAMPLE / "tests")
    assert "5 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", tests, path=target)


def test_every_step_of_the_guide_to_packs(server: str, target: Path) -> None:
    penstock = commands_of(server, target, "guided")
    penstock("account", "create", "guided")
    said: dict[str, str] = {}
    for block in SH.findall(GUIDE.read_text("utf-8")):
        for line in block.splitlines():
            words = shlex.split(line)
            if words[0] == "penstock":  # pip has done its line: the package is installed
                said[line] = penstock(*words[1:])
    assert (
        '"status": "spent"' in said["penstock entity show G-1 --kind gift_card"]
        or "spent" in said["penstock entity show G-1 --kind gift_card"]
    )
    assert "gift_cards is removed" in said["penstock pack remove gift_cards"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pack", "show", "gifts"), "there are: gift_cards"),
        (("pack", "install", "gifts"), "there are: gift_cards"),
        (("setting", "set", "Word", "1"), "a setting's name is"),
        (("setting", "set", "word", "{"), "is no JSON"),
        (("setting", "unset", "word"), "There is no setting 'word'."),
    ],
)
def test_what_cannot_be_is_refused(
    server: str, target: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    penstock = commands_of(server, target, "refusing")
    penstock("account", "create", "refusing")
    assert sentence in penstock(*arguments, status=2)


def test_two_packs_cannot_have_the_same_setting(server: str, target: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other"
    shutil.copytree(EXAMPLE, copy)
    for path in (copy / "pyproject.toml", copy / "src/penstock_gift_cards/__init__.py"):
        text = path.read_text("utf-8").replace("penstock-gift-cards", "penstock-vouchers")
        path.write_text(text.replace("penstock_gift_cards", "penstock_vouchers"), "utf-8")
    project = copy / "pyproject.toml"
    text = project.read_text("utf-8").replace("gift_cards =", "vouchers =")
    text = text.replace("spend_balance =", "spend_voucher =")
    project.write_text(text, "utf-8")
    module = copy / "src" / "penstock_vouchers"
    (copy / "src" / "penstock_gift_cards").rename(module)
    shutil.rmtree(module / "workflows")
    both = tmp_path / "both"
    shutil.copytree(target, both)
    penstock = commands_of(server, install(copy, both), "twice")
    penstock("account", "create", "twice")
    penstock("pack", "install", "gift_cards")
    refused = penstock("pack", "install", "vouchers", status=2)
    assert "gift_card_least_minor is of pack gift_cards" in refused
