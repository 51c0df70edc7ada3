"""The audit on the command line: found, explained, repaired, undone; and the journal pruned."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from tests.cli.conftest import Command
from tests.cli.test_own_account import commands

from penstock.access.accounts import schema_of


def test_a_breach_is_found_repaired_and_the_repair_undone(penstock: Command, server: str) -> None:
    def run(*words: str, status: int = 0) -> str:
        done = penstock(*words, PENSTOCK_ACCOUNT="acme", COLUMNS="160")
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout

    def sql(query: str) -> Any:
        options = f"-c search_path={schema_of('acme')}"
        with psycopg.connect(server, options=options) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    for arguments in commands(0)[:9]:
        run(*arguments)
    assert "Clean." in run("audit")
    assert "Nothing is open." in run("audit", "findings")
    assert "There is nothing to repair." in run("audit", "repairs")
    sql("UPDATE position SET reserved = reserved + 1 WHERE id = 1")
    assert "2 breaches." in run("audit", status=1)
    told = run("audit", "findings")
    assert "but its live reservations keep" in told
    assert "its journal adds up to" in told
    assert "would be written" in run("audit", "repairs")
    found = msgspec.json.decode(run("audit", "findings", "--json"))["findings"]
    numbers = [str(one["id"]) for one in found]
    assert "penstock audit undo 1 takes it back." in run("audit", "repair", numbers[0])
    refused = penstock("audit", "repair", numbers[1], PENSTOCK_ACCOUNT="acme")
    assert refused.returncode == 2
    assert "is as it should be" in refused.stderr
    assert "Clean." in run("audit")
    assert "Clean." in run("audit", "--full")
    assert "but its live reservations keep" in run("audit", "findings", "--resolved")
    ((product, location),) = sql(
        "SELECT o.ref, l.ref FROM position p JOIN product o ON o.id = p.product_id "
        "JOIN location l ON l.id = p.location_id WHERE p.id = 1"
    )
    assert "repaired by the audit (repair 1)" in run("stock", "history", product, location)
    assert run("audit", "undo", "1") == "Repair 1 is undone.\n"
    assert "1 breaches." in run("audit", status=1)
    made = msgspec.json.decode(run("audit", "repairs", "--json"))
    assert made["made"][0]["undone_at"] is not None
    assert len(made["possible"]) == 1
    assert "journal rows" in run("prune", "--older-than", "1d", "--journal", "--dry-run")
    assert "0 journal rows" in run("prune", "--older-than", "400d", "--journal")
