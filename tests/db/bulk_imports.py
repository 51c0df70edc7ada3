"""What tests of imports share: files of stock, an import run to its end, and one that is killed."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from tests.shop import Shop, opened

from penstock.app import Account
from penstock.bulk.imports import import_file
from penstock.bulk.model import Options, Summary

# The shop gives its products and locations their ids.
FREE_IDS = """
ALTER TABLE product ALTER COLUMN id RESTART WITH 101;
ALTER TABLE location ALTER COLUMN id RESTART WITH 101;
ALTER TABLE product_catalogue ALTER COLUMN id RESTART WITH 2;
"""
_CHILD = """
import asyncio, json, sys
from pathlib import Path
from penstock.app import open_account
from penstock.bulk.imports import import_file
from penstock.bulk.model import Options

async def main(conninfo, name, kind, path, options):
    account = await open_account(conninfo, name)
    options = Options(**json.loads(options))
    await import_file(account, kind, Path(path), options=options, progress=tell)
    tell(None)

def tell(progress):
    print("done:", progress.rows_done if progress else "all", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows as CSV, JSON Lines or Parquet, as the path's name says."""
    frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path)
    return path


def counts(*rows: tuple[str, str, object]) -> list[dict[str, Any]]:
    """Return rows of (SKU, location, on hand)."""
    return [{"sku": sku, "location": ref, "on_hand": on_hand} for sku, ref, on_hand in rows]


async def run_import(lent: Shop, kind: str, path: Path, **options: Any) -> Summary:
    """Import a file as a process of its own would."""
    async with opened(lent) as account:
        return await run_import_in(account, kind, path, **options)


async def run_import_in(account: Account, kind: str, path: Path, **options: Any) -> Summary:
    """Import a file in a process that has the account open."""
    return await import_file(account, kind, path, options=Options(**options))


def errors_of(path: Path) -> list[tuple[Any, ...]]:
    """Return what the errors file says, without the sentences: row, field, code."""
    with path.with_name(f"{path.name}.errors.csv").open(encoding="utf-8", newline="") as stream:
        return [(int(row["row"]), row["field"], row["code"]) for row in csv.DictReader(stream)]


def kill_in_the_middle(lent: Shop, kind: str, path: Path, after: int, **options: Any) -> int:
    """Import in a process that is killed once it has told progress so often; returns its row."""
    asked = json.dumps(options)
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, lent.conninfo, lent.name, kind, str(path), asked],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    told = (line for line in child.stdout if line.startswith("done:"))
    *_, last = itertools.islice(told, after)
    child.kill()
    child.wait(timeout=30)
    child.stdout.close()
    return int(last.removeprefix("done:"))
