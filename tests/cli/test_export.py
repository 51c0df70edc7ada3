"""Exports and thresholds at the command line: what is refused, and a schedule that starts anew."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.cli.conftest import Command
from tests.cli.test_commands import refused
from tests.cli.test_own_account import commands

ACCOUNT = {"PENSTOCK_ACCOUNT": "acme"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("export", "availability", "-o", "x.csv"), "say --channel"),
        (("export", "stock", "-o", "stock"), "use --format"),
        (("export", "stock", "-o", "x.csv", "--changed-since", "yesterday"), "is no cursor"),
        (("export", "stock", "-o", "x.csv", "--state", "s", "--only-available"), "With --state"),
        (("export", "stock", "-o", "https://x/y.csv", "--header", "secret"), "NAME:VALUE"),
        (("threshold", "put", "few", "at_risk"), "is not FIELD=VALUE"),
        (("threshold", "put", "few", "at_risk=2", "colour=red"), "colour"),
        (("threshold", "put", "few", "at_risk=1", "sku=NOWHERE"), "There is no sku"),
        (("threshold", "remove", "none"), "There is no threshold"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(
    penstock: Command, arguments: tuple[str, ...], sentence: str
) -> None:
    penstock("account", "create", "acme")
    assert sentence in refused(penstock(*arguments, **ACCOUNT))


def test_a_schedule_tells_changes_and_begins_anew_where_they_cannot_be_told(
    penstock: Command, tmp_path: Path
) -> None:
    for arguments in commands(0)[:7]:
        assert penstock(*arguments, **ACCOUNT).returncode == 0
    target, state = str(tmp_path / "web.csv"), str(tmp_path / "web.state")
    export = ("export", "availability", "--channel", "web", "--state", state, "-o", target)

    def run() -> tuple[bool, int]:
        done = penstock(*export, "--json", **ACCOUNT)
        assert done.returncode == 0, done.stderr
        found = msgspec.json.decode(done.stdout)
        assert (tmp_path / "web.state").read_text() == f"{found['cursor']}\n"
        return found["full"], found["rows"]

    assert run() == (True, 5)
    assert run() == (False, 0)
    file = tmp_path / "stock.csv"
    file.write_text("sku,location,on_hand\nTRAY,YORK,3\nMUG-RED,YORK,3\n", "utf-8")
    assert penstock("import", "stock", str(file), **ACCOUNT).returncode == 0
    assert run() == (False, 1)
    assert "TRAY,8," in (tmp_path / "web.csv").read_text()
    put = ("control", "put", "one", "qty=1", "channel=web")
    assert penstock(*put, **ACCOUNT).returncode == 0
    assert run() == (True, 5)
    listed = penstock("threshold", "put", "few", "at_risk=3", "--json", **ACCOUNT)
    assert msgspec.json.decode(listed.stdout) == {"ref": "few", "result": "created"}
    found = msgspec.json.decode(penstock("threshold", "list", "--json", **ACCOUNT).stdout)
    assert [one["ref"] for one in found["thresholds"]] == ["few"]
    removed = penstock("threshold", "remove", "few", "--json", **ACCOUNT)
    assert msgspec.json.decode(removed.stdout)["result"] == "removed"
