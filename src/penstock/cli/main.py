"""`penstock`: the door. Names every command and says in one line what it does.

Owns the list of commands and nothing of what they do. Importing this module imports no command's
machinery (database, numbers, HTTP): each imports that when it runs, so that help is instant.
"""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import (
    account,
    audit,
    calendar,
    cart,
    control,
    database,
    entity,
    job,
    location,
    lot,
    order,
    pack,
    product,
    rules,
    setting,
    stock,
    stock_job,
    stock_source,
    stuck,
    switch,
    threshold,
    trace,
    workflow,
)
from penstock.cli.bench import bench
from penstock.cli.demo import demo
from penstock.cli.door import Door
from penstock.cli.export import export
from penstock.cli.imports import import_file
from penstock.cli.promise import show_promise
from penstock.cli.serve import api, serve, worker

START, RUN, DATA, CARE = "Start here", "Run", "Data", "Look after"

app = Door(
    name="penstock",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings come from PENSTOCK_… variables: `penstock config` shows them.",
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"penstock {version('penstock')}")
        raise typer.Exit


@app.callback()
def penstock(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Distributed order and inventory management: stock in, a gate, controlled flow out."""


app.command(rich_help_panel=START)(demo)
app.command(rich_help_panel=START)(serve)
app.command(rich_help_panel=RUN)(api)
app.command(rich_help_panel=RUN)(worker)
app.command("import", rich_help_panel=DATA)(import_file)
app.command("export", rich_help_panel=DATA)(export)
app.command("promise", rich_help_panel=DATA)(show_promise)
app.add_typer(order.commands, name="order", rich_help_panel=DATA)
app.add_typer(cart.commands, name="cart", rich_help_panel=DATA)
app.add_typer(cart.limits, name="limit", rich_help_panel=DATA)
app.add_typer(entity.action, name="action", rich_help_panel=DATA)
app.add_typer(entity.event, name="event", rich_help_panel=DATA)
app.add_typer(entity.entity, name="entity", rich_help_panel=DATA)
app.add_typer(stock_source.commands, name="stock-source", rich_help_panel=DATA)
app.command(rich_help_panel=CARE)(trace.trace)
app.command("prune", rich_help_panel=CARE)(trace.prune)
app.add_typer(stuck.commands, name="stuck", rich_help_panel=CARE)
app.add_typer(job.commands, name="job", rich_help_panel=CARE)
app.add_typer(stock_job.commands, name="stock-job", rich_help_panel=CARE)
app.add_typer(workflow.commands, name="workflow", rich_help_panel=DATA)
app.add_typer(rules.commands, name="rules", rich_help_panel=DATA)
app.add_typer(pack.commands, name="pack", rich_help_panel=DATA)
app.add_typer(setting.commands, name="setting", rich_help_panel=DATA)
app.add_typer(location.location, name="location", rich_help_panel=DATA)
app.add_typer(stock.commands, name="stock", rich_help_panel=DATA)
app.add_typer(control.commands, name="control", rich_help_panel=DATA)
app.add_typer(threshold.commands, name="threshold", rich_help_panel=DATA)
app.add_typer(product.commands, name="product", rich_help_panel=DATA)
app.add_typer(lot.commands, name="lot", rich_help_panel=DATA)
app.add_typer(lot.area, name="area", rich_help_panel=DATA)
app.add_typer(switch.network, name="network", rich_help_panel=DATA)
app.add_typer(calendar.commands, name="calendar", rich_help_panel=DATA)
app.add_typer(calendar.carrier, name="carrier", rich_help_panel=DATA)
app.add_typer(account.commands, name="account", rich_help_panel=CARE)
app.command(rich_help_panel=CARE)(account.migrate)
app.add_typer(database.commands, name="db", rich_help_panel=CARE)
app.command(rich_help_panel=CARE)(database.config)
app.add_typer(audit.commands, name="audit", rich_help_panel=CARE)
app.command(rich_help_panel=CARE)(bench)

if __name__ == "__main__":
    app()
