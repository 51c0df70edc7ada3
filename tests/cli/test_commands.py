"""Commands at their edge: a refusal is one sentence and status 2, an answer is standard output."""

import json
import socket
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from penstock.cli.door import _sentence
from penstock.engine.workflows import shipped_document
from penstock.errors import Transient


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one sentence of a refusal, having seen that it is one."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def test_an_account_is_made_once_and_listed(penstock: Command) -> None:
    assert penstock("account", "create", "acme").stdout == "Account acme was made.\n"
    again = penstock("account", "create", "acme")
    assert again.returncode == 0
    assert again.stdout == "Account acme was there; it is up to date.\n"
    assert json.loads(penstock("account", "list", "--json").stdout) == {"accounts": ["acme"]}
    assert penstock("migrate", "--all").stdout == "Account acme is up to date.\n"


def test_an_account_is_dropped_only_after_a_yes(penstock: Command) -> None:
    penstock("account", "create", "acme")
    assert penstock("account", "drop", "acme").returncode == 1
    assert penstock("account", "list").stdout == "acme\n"
    assert penstock("account", "drop", "acme", "--yes").stdout == "Account acme is gone.\n"
    assert "There is no account yet" in penstock("account", "list").stdout


def test_an_account_that_is_not_there_is_refused_with_the_way_out(penstock: Command) -> None:
    penstock("account", "create", "acme")
    for command in (
        ["audit"],
        ["migrate"],
        ["workflow", "list"],
        ["serve"],
        ["order", "show", "x"],
    ):
        sentence = refused(penstock(*command, "--account", "nobody"))
        assert "penstock account create nobody" in sentence
        assert "there are acme" in sentence


def test_a_name_that_is_none_is_refused(penstock: Command) -> None:
    assert "no account name" in refused(penstock("account", "create", "No Name"))


def test_a_misspelt_setting_is_refused_by_every_command(penstock: Command) -> None:
    sentence = refused(penstock("config", PENSTOCK_PROT="80"))
    assert sentence == "PENSTOCK_PROT is no setting of Penstock: did you mean PENSTOCK_PORT?"


def test_a_server_that_does_not_answer_is_one_sentence(penstock: Command) -> None:
    done = penstock("account", "list", PENSTOCK_DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "PostgreSQL" in done.stderr


def test_a_bug_is_told_with_the_way_to_its_traceback() -> None:
    assert "PENSTOCK_LOG_LEVEL=debug" in _sentence(ValueError("of no use"))
    assert "went away" in _sentence(Transient("gave up"))
    assert "disk is full" in _sentence(OSError(28, "No space left on device"))


def test_settings_are_shown_without_the_password(penstock: Command, server: str) -> None:
    shown = penstock("config", "--json", PENSTOCK_DATABASE_URL="postgresql://me:secret@host/db")
    settings = json.loads(shown.stdout)
    assert settings["PENSTOCK_DATABASE_URL"] == "postgresql://me:***@host/db"
    assert settings["PENSTOCK_PORT"] == "8000"
    assert (
        "secret" not in penstock("config", PENSTOCK_DATABASE_URL="postgresql://a:secret@h").stdout
    )


def test_a_server_of_one_s_own_is_reported_and_left_alone(penstock: Command) -> None:
    status = json.loads(penstock("db", "status", "--json").stdout)
    assert status["server"] == "named by PENSTOCK_DATABASE_URL"
    assert "Nothing was started" in penstock("db", "start").stdout


def test_a_benchmark_that_is_not_there_is_refused_by_name(penstock: Command) -> None:
    assert "no benchmark 'nothing'" in refused(penstock("bench", "nothing"))


def test_a_service_of_a_location_goes_off_and_on(penstock: Command) -> None:
    penstock("account", "create", "acme")
    where = ("--account", "acme")
    off = ("--service", "deliver", "--reason", "flood")
    assert "no location 'X'" in refused(penstock("location", "off", "X", *off, *where))
    assert "no network 'X'" in refused(penstock("network", "off", "X", *off, *where))
    assert "no instant" in refused(
        penstock("location", "off", "X", *off, "--until", "soon", *where)
    )


def test_a_workflow_is_pushed_once_and_listed(penstock: Command, tmp_path: Path) -> None:
    penstock("account", "create", "acme")
    file = tmp_path / "mine.yaml"
    text = shipped_document("home_delivery").replace("version: 2\n", "version: 7\n")
    file.write_text(text, "utf-8")
    pushed = penstock("workflow", "push", str(file), "--account", "acme")
    assert pushed.stdout == "Workflow home_delivery, version 7, is active.\n"
    again = penstock("workflow", "push", str(file), "--account", "acme")
    assert again.stdout == "Workflow home_delivery, version 7, was there already.\n"
    listed = json.loads(penstock("workflow", "list", "--account", "acme", "--json").stdout)
    assert [(w["version"], w["is_active"]) for w in listed["workflows"]] == [(7, True)]
    file.write_text("name: broken\n", "utf-8")
    refused(penstock("workflow", "push", str(file), "--account", "acme"))
    refused(penstock("workflow", "push", str(tmp_path / "none.yaml"), "--account", "acme"))


def test_rows_of_a_file_are_taken_in_and_refused_rows_are_told(
    penstock: Command, tmp_path: Path
) -> None:
    penstock("account", "create", "acme")
    file = tmp_path / "products.csv"
    file.write_text("ref,name,weight_g\nA,Bowl,250\nB,Cup,heavy\n", "utf-8")
    command = ("import", "products", str(file), "--catalogue", "shop", "--account", "acme")
    done = penstock(*command)
    assert done.returncode == 1
    assert done.stdout.startswith("2 rows of products: 1 taken in, 0 unchanged, 1 refused;")
    assert "weight_g" in (tmp_path / "products.csv.errors.csv").read_text("utf-8")
    assert "was imported before" in penstock(*command).stdout
    assert "cannot be read" in refused(penstock("import", "stock", "none.csv", "-a", "acme"))


def test_a_busy_port_is_refused_before_anything_is_loaded(penstock: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refused(penstock("demo", "--port", str(port)))
    assert f"Port {port} is taken" in sentence
    assert "--port" in sentence
    assert json.loads(penstock("account", "list", "--json").stdout) == {"accounts": []}


@pytest.mark.parametrize("limit", ["0", "many"])
def test_a_wrong_option_is_status_2(penstock: Command, limit: str) -> None:
    done = penstock("demo", "--orders", limit)
    assert done.returncode == 2
    assert "--orders" in done.stderr
