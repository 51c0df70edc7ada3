"""`penstock location` and `penstock network`: services switched off and on, with a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from penstock.cli.options import AccountName
from penstock.cli.output import say
from penstock.cli.session import read_instant, read_settings, run_in_transaction

if TYPE_CHECKING:
    from penstock.network.model import SwitchInput

location = typer.Typer(
    no_args_is_help=True, help="Find locations, make and change them, switch services off or on."
)
network = typer.Typer(
    no_args_is_help=True, help="Switch a service of a network off or on; work in progress stays."
)
Kind = Literal["location", "network"]
Ref = Annotated[str, typer.Argument(metavar="REF", help="Its ref.")]
Service = Annotated[
    str, typer.Option("--service", "-s", help="deliver, collect, receive or return.")
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; people will ask.")]
Until = Annotated[
    str | None,
    typer.Option(metavar="INSTANT", help="On again by itself from then: ISO 8601, UTC if bare."),
]


@location.command("off")
def location_off(
    ref: Ref, service: Service, reason: Reason, until: Until = None, account: AccountName = None
) -> None:
    """Stop new allocations there at once, and take its stock out of what is promised."""
    _switch_off("location", ref, service, reason, until, account)


@location.command("on")
def location_on(ref: Ref, service: Service, account: AccountName = None) -> None:
    """Serve again from there, at once."""
    _switch_on("location", ref, service, account)


@network.command("off")
def network_off(
    ref: Ref, service: Service, reason: Reason, until: Until = None, account: AccountName = None
) -> None:
    """Stop new allocations at locations that no other network of the channel has."""
    _switch_off("network", ref, service, reason, until, account)


@network.command("on")
def network_on(ref: Ref, service: Service, account: AccountName = None) -> None:
    """Serve again through it, at once."""
    _switch_on("network", ref, service, account)


def _switch_off(
    kind: Kind, ref: str, service: str, reason: str, until: str | None, account: str | None
) -> None:
    from penstock.network.model import SwitchInput

    off_until = None if until is None else read_instant(until)
    _switch(
        kind, SwitchInput(ref, service, is_on=False, off_until=off_until, reason=reason), account
    )
    ends = f" until {off_until:%Y-%m-%d %H:%M %Z}" if off_until else ""
    say(f"{kind.capitalize()} {ref} is off for {service}{ends}: {reason}")


def _switch_on(kind: Kind, ref: str, service: str, account: str | None) -> None:
    from penstock.network.model import SwitchInput

    _switch(kind, SwitchInput(ref, service, is_on=True), account)
    say(f"{kind.capitalize()} {ref} is on for {service}.")


def _switch(kind: Kind, switch: SwitchInput, account: str | None) -> None:
    from penstock.db import Tx
    from penstock.engine.readable import load_vocabulary
    from penstock.engine.workflows import load_workflows
    from penstock.network.commands import switch_locations, switch_networks
    from penstock.records import insist
    from penstock.rules.subjects import tell_switches

    verb = switch_locations if kind == "location" else switch_networks

    async def work(tx: Tx) -> None:
        now = datetime.now(UTC)
        results = await verb(tx, [switch], now)
        insist(results)
        if results == ["updated"]:
            workflows = await load_workflows(tx, load_vocabulary())
            await tell_switches(tx, workflows, kind, [switch], now)

    run_in_transaction(read_settings(account=account), work)
