"""`penstock db` and `penstock config`: Penstock's own PostgreSQL, and the settings in force."""

from __future__ import annotations

import os
import re

import typer

from penstock.cli.options import AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings
from penstock.config import SETTINGS, Config

commands = typer.Typer(no_args_is_help=True, help="Start, stop and look at Penstock's PostgreSQL.")


@commands.command()
def start() -> None:
    """Start the server, made first if need be. Commands do so by themselves."""
    from penstock.embedded import ensure_server

    config = read_settings()
    address = ensure_server(config)
    if config.database_url:
        say(f"PENSTOCK_DATABASE_URL names a server: {_masked(address)}. Nothing was started.")
    else:
        say(f"PostgreSQL runs: {address}")


@commands.command()
def stop() -> None:
    """Stop the server. Open transactions are rolled back; what was committed stays."""
    from penstock.embedded import stop_server

    was_running = stop_server(read_settings())
    say("PostgreSQL has stopped." if was_running else "PostgreSQL was not running.")


@commands.command()
def status(as_json: AsJson = False) -> None:
    """Say whether the server runs, where it is reached and where its data is."""
    config = read_settings()
    found = _status(config)
    if as_json:
        print_json(found)
    else:
        draw_table(("", ""), [(name.replace("_", " "), str(v)) for name, v in found.items()])


def _status(config: Config) -> dict[str, object]:
    from penstock.embedded import running_server

    if config.database_url:
        return {"server": "named by PENSTOCK_DATABASE_URL", "address": _masked(config.database_url)}
    address = running_server(config)
    found: dict[str, object] = {"server": "running" if address else "not running"}
    if address:
        import psycopg

        with psycopg.connect(address) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'), pg_database_size(current_database())"
            ).fetchone()
        found["version"] = f"PostgreSQL {row[0]}" if row else ""
        found["size_mb"] = round(row[1] / 2**20) if row else 0
        found["address"] = address
    return {**found, "data": str(config.data_dir / "postgres")}


def config(as_json: AsJson = False) -> None:
    """Print the settings in force, and what each means."""
    settings = read_settings()
    rows = [(s.variable, _shown(settings, s.field), s.meaning) for s in SETTINGS]
    if as_json:
        print_json({variable: value for variable, value, _ in rows})
        return
    marked = [
        (f"{variable}{' *' if os.environ.get(variable, '').strip() else ''}", value, meaning)
        for variable, value, meaning in rows
    ]
    draw_table(("setting", "value", "meaning"), marked)
    say("* set in the environment; the others have their default.")


def _shown(settings: Config, field: str) -> str:
    value = getattr(settings, field)
    if value is None:
        return "none"
    return _masked(str(value)) if field == "database_url" else str(value)


def _masked(address: str) -> str:
    """Hide the password of an address."""
    hidden = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", address)
    return re.sub(r"(password=)[^&\s]*", r"\1***", hidden)
