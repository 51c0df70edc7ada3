"""Refusals of commands that need something to be in the way first."""

from __future__ import annotations

from pathlib import Path

import psycopg
from tests.cli.conftest import Command
from tests.cli.test_commands import refused

from penstock.access.accounts import schema_of
from penstock.engine.workflows import shipped_documents
from penstock.events.sequencer import lock_key


def test_an_account_that_is_served_is_not_dropped(penstock: Command, server: str) -> None:
    penstock("account", "create", "acme")
    with psycopg.connect(server, autocommit=True) as numbering:
        numbering.execute("SELECT pg_advisory_lock(%s)", (lock_key(schema_of("acme")),))
        assert "is being served" in refused(penstock("account", "drop", "acme", "--yes"))
    assert penstock("account", "drop", "acme", "--yes").returncode == 0


def test_a_demo_leaves_an_account_with_something_else_alone(penstock: Command, server: str) -> None:
    penstock("account", "create", "demo")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("INSERT INTO account_demo.product_catalogue (ref) VALUES ('mine')")
        connection.execute(
            "INSERT INTO account_demo.product (catalogue_id, ref) VALUES (1, 'mine')"
        )
    assert "something else" in refused(penstock("demo", "--no-serve", "--orders", "1"))
    with psycopg.connect(server, autocommit=True) as connection:
        kept = connection.execute("SELECT ref FROM account_demo.product").fetchall()
    assert kept == [("mine",)]


def test_a_demo_goes_on_with_its_own_sample_only(penstock: Command, server: str) -> None:
    assert penstock("demo", "--no-serve", "--orders", "1").returncode == 0
    with psycopg.connect(server, autocommit=True) as connection:
        changed = "UPDATE account_demo.bulk_job SET file_hash = sha256('another')"
        assert connection.execute(changed.encode()).rowcount > 0
    assert "demo --reset" in refused(penstock("demo", "--no-serve", "--orders", "2"))


def test_a_version_of_a_workflow_cannot_be_changed(penstock: Command, tmp_path: Path) -> None:
    penstock("account", "create", "acme")
    file = tmp_path / "mine.yaml"
    text = shipped_documents()[0].replace("version: 1\n", "version: 7\n")
    file.write_text(text, "utf-8")
    penstock("workflow", "push", str(file), "--account", "acme")
    file.write_text(text.replace("Taken in, not routed yet.", "New."), "utf-8")
    sentence = refused(penstock("workflow", "push", str(file), "--account", "acme"))
    assert "with other contents" in sentence


def test_a_benchmark_that_would_lie_is_refused(penstock: Command, server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    done = penstock("bench", "sourcing")
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not wait for the disk" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_that_cannot_be_read_says_how_it_looks(penstock: Command) -> None:
    assert "such as 1,2,4" in refused(penstock("bench", "orders", "--processes", "many"))


def test_refused_rows_that_cannot_be_written_down_stop_an_import(
    penstock: Command, tmp_path: Path
) -> None:
    penstock("account", "create", "acme")
    file = tmp_path / "products.csv"
    file.write_text("ref,name,weight_g\nA,Bowl,heavy\n", "utf-8")
    (tmp_path / "products.csv.errors.csv").mkdir()
    command = ("import", "products", str(file), "--catalogue", "shop", "--account", "acme")
    assert "products.csv.errors.csv cannot be written" in refused(penstock(*command))
