"""`penstock demo`: the sample retailer loaded, its orders routed, summed up, and served."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.account import refuse_served
from penstock.cli.options import AsJson, Port, Yes
from penstock.cli.output import confirm, draw, note, print_json
from penstock.cli.session import reach_server, read_settings, run_loop, showing_progress

if TYPE_CHECKING:
    from penstock.audit.report import Report
    from penstock.config import Config
    from penstock.demo.run import Source
    from penstock.demo.summary import Summary

ACCOUNT = "demo"
NoServe = Annotated[bool, typer.Option("--no-serve", help="Exit after the summary.")]
Reset = Annotated[bool, typer.Option("--reset", help="Drop account `demo` and begin anew.")]
Full = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="The whole of Online Retail II as Parquet, not the sample."),
]
Limit = Annotated[
    int | None, typer.Option("--orders", min=1, metavar="N", help="Only the first N orders.")
]


def demo(
    no_serve: NoServe = False,
    reset: Reset = False,
    full: Full = None,
    orders: Limit = None,
    port: Port = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Load a sample retailer, route its orders, sum up, and serve the API.

    Real orders of a UK gift shop meet a made network of 4 warehouses and 60 stores, in account
    `demo`. A second run loads nothing twice; one that was stopped
    goes on.
    """
    from penstock.demo.run import source_of

    config = read_settings(account=ACCOUNT, port=port)
    if not no_serve:
        from penstock.cli.processes import refuse_busy_port

        refuse_busy_port(config)
    source = source_of(full)
    if reset:
        confirm(f"Drop account {ACCOUNT} with everything in it?", yes=yes)
    conninfo = reach_server(config)
    _make_account(conninfo, reset=reset)
    summary, report = run_loop(_run(conninfo, source, orders))
    if as_json:
        print_json(summary)
    else:
        _draw(summary, report)
    if summary.verdict and summary.verdict.breaches:
        raise typer.Exit(1)
    if not no_serve:
        from penstock.cli.processes import serve

        serve(_quiet(config))


def _quiet(config: Config) -> Config:
    """Return the settings for serving below a summary: its log starts at warnings."""
    import msgspec

    from penstock.telemetry import configure_logging

    if config.log_level == "info":
        config = msgspec.structs.replace(config, log_level="warning")
    configure_logging(config)
    return config


def _make_account(conninfo: str, *, reset: bool) -> None:
    from penstock.access.accounts import create_account, drop_account

    if reset:
        refuse_served(conninfo, ACCOUNT)
        drop_account(conninfo, ACCOUNT)
    create_account(conninfo, ACCOUNT)


async def _run(conninfo: str, source: Source, limit: int | None) -> tuple[Summary, Report | None]:
    """Load and route what lacks, audit if anything did, and sum up."""
    from penstock.access.accounts import schema_of
    from penstock.audit.run import audit
    from penstock.db import Database
    from penstock.demo.run import note_audit, run_demo
    from penstock.demo.summary import summarise

    schema, report = schema_of(ACCOUNT), None
    database = Database(conninfo, size=2)
    await database.open()
    try:
        with showing_progress() as tell:
            is_changed = await run_demo(conninfo, ACCOUNT, source, tell, limit)
        summary = await database.run(schema, summarise)
        if is_changed or summary.verdict is None:
            report = await audit(database, schema)
            counts = {"checks": len(report.checks), "breaches": report.breaches}
            await database.run(schema, partial(note_audit, **counts))
            summary = await database.run(schema, summarise)
        return summary, report
    finally:
        await database.close()


def _draw(summary: Summary, report: Report | None) -> None:
    from penstock.audit.report import render as render_report
    from penstock.demo.summary import render

    draw(render(summary))
    if report is not None and report.breaches:
        draw(render_report(report))
    left = summary.orders_of_sample - summary.orders
    if left > 0:
        note(f"{left:,} orders of the sample are left: `penstock demo` takes them in.")
