"""`penstock control`: what lowers a channel's promises: list, put, remove, and explain a SKU."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import (
    read_instant,
    read_settings,
    run_in_transaction,
    run_with_account,
)

if TYPE_CHECKING:
    from penstock.app import Account
    from penstock.availability.control_input import ControlInput
    from penstock.availability.control_views import ControlView
    from penstock.availability.explain import Explained, Lowered, LoweredAt
    from penstock.availability.proposals import Proposal
    from penstock.db import Tx
    from penstock.records import Result

commands = typer.Typer(
    no_args_is_help=True,
    help="Buffers, exclusions, caps and ring-fences: list, put, explain, propose.",
)
ChannelOption = Annotated[
    str | None, typer.Option("--channel", "-c", metavar="REF", help="Only in this channel.")
]
Ref = Annotated[str, typer.Argument(metavar="REF", help="Its ref; put again, it is changed.")]
Said = Annotated[
    list[str],
    typer.Argument(metavar="FIELD=VALUE…", help="What it says: kind=cap channel=market qty=50."),
]


@commands.command("list")
def list_all(
    channel: ChannelOption = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """List controls, with what is used of caps and ring-fences."""
    from penstock.availability.control_views import list_controls

    found = run_in_transaction(
        read_settings(account=account), lambda tx: list_controls(tx, channel)
    )
    if as_json:
        print_json({"controls": found})
        return
    rows = [(one.ref, one.kind, _amount(one), _scope(one), _used(one)) for one in found]
    draw_table(("ref", "kind", "amount", "about", "used"), rows)


def _amount(one: ControlView) -> str:
    if one.kind == "exclusion":
        return "all"
    return f"{one.percent:g} %" if one.percent is not None else f"{one.qty:,}"


def _scope(one: ControlView) -> str:
    names = ("channel", "sku", "category", "location", "location_kind", "network")
    names += ("active_from", "active_until", "daily_from", "daily_until")
    named = [(name, getattr(one, name)) for name in names]
    return ", ".join(f"{name} {value}" for name, value in named if value is not None) or "all"


def _used(one: ControlView) -> str:
    return f"{one.reserved + one.shipped:,}" if one.kind in {"cap", "ring_fence"} else ""


@commands.command()
def put(ref: Ref, said: Said, account: AccountName = None, as_json: AsJson = False) -> None:
    """Make a control, or change the one that has the ref.

    Fields, as in files and over HTTP: kind (buffer, safety_stock, exclusion, cap, ring_fence), qty
    or percent; channel, sku or category, location, location_kind, network; group, combine (first,
    sum, max), priority; active_from, active_until, daily_from, daily_until; per_location;
    kept_channels, kept_tiers (with commas), basket_min_minor, basket_currency.
    """
    from penstock.engine.readable import load_vocabulary
    from penstock.engine.workflows import load_workflows
    from penstock.records import insist
    from penstock.rules.controls import put_controls

    control = _control(ref, said)

    async def work(tx: Tx) -> list[Result]:
        workflows = await load_workflows(tx, load_vocabulary())
        return await put_controls(tx, workflows, [control], datetime.now(UTC))

    results = run_in_transaction(read_settings(account=account), work)
    insist(results)
    if as_json:
        print_json({"ref": ref, "result": results[0]})
        return
    say(f"Control {ref} is {results[0]}.")


def _control(ref: str, said: list[str]) -> ControlInput:
    import msgspec

    from penstock.availability.control_input import ControlInput
    from penstock.errors import Refusal

    fields: dict[str, object] = {"ref": ref}
    for part in said:
        name, equals, value = part.partition("=")
        if not equals:
            raise Refusal("invalid_control", f"{part[:60]!r} is not FIELD=VALUE, as in qty=5.")
        fields[name] = value.split(",") if name in {"kept_channels", "kept_tiers"} else value
    for name in ("active_from", "active_until"):
        if name in fields:
            fields[name] = read_instant(str(fields[name]))
    try:
        return msgspec.convert(fields, ControlInput, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal("invalid_control", f"{error}.".replace("`", "'")) from None


@commands.command()
def remove(ref: Ref, account: AccountName = None, as_json: AsJson = False) -> None:
    """Remove a control; a cap or ring-fence put anew begins to count at 0."""
    from penstock.engine.readable import load_vocabulary
    from penstock.engine.workflows import load_workflows
    from penstock.records import insist
    from penstock.rules.controls import remove_controls

    async def work(tx: Tx) -> list[Result]:
        workflows = await load_workflows(tx, load_vocabulary())
        return await remove_controls(tx, workflows, [ref], datetime.now(UTC))

    results = run_in_transaction(read_settings(account=account), work)
    insist(results)
    if as_json:
        print_json({"ref": ref, "result": "removed"})
        return
    say(f"Control {ref} is removed.")


@commands.command()
def explain(
    sku: Annotated[str, typer.Argument(metavar="SKU", help="What may be promised of it.")],
    channel: Annotated[str, typer.Option("--channel", "-c", metavar="REF", help="In which.")],
    location: Annotated[
        str | None, typer.Option("--location", "-l", metavar="REF", help="Only there.")
    ] = None,
    service: Annotated[
        str, typer.Option("--service", "-s", help="deliver or collect.")
    ] = "deliver",
    tier: Annotated[str, typer.Option("--tier", help="The customer's.")] = "standard",
    basket: Annotated[int, typer.Option("--basket", help="The order's total, minor units.")] = 0,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Say which controls lower what a channel may promise of a SKU, and by how much."""
    import msgspec

    from penstock.availability.atp import Guest
    from penstock.availability.explain import explain as explained

    async def work(opened: Account) -> Explained:
        knowledge = opened.knowledge
        channel_id = knowledge.channel_id(channel)
        catalogue_id = knowledge.channels.catalogue_id(channel_id)

        async def learn(tx: Tx) -> None:
            await knowledge.products.resolve(tx, catalogue_id, [sku])

        await opened.database.run(opened.schema, learn)
        product_id = knowledge.product_id(channel_id, sku)
        if location is not None:
            knowledge.location_id(location)
        guest = Guest(channel_id, tier, basket, knowledge.channels.currency(channel_id) or "")
        catalogue = opened.availability.catalogue(channel_id, service)
        return explained(opened.availability, catalogue, product_id, guest)

    found = run_with_account(read_settings(account=account), work)
    places = [one for one in found.locations if location in {None, one.location}]
    if as_json:
        whole = msgspec.structs.replace(found, locations=places)
        print_json({"sku": sku, "channel": channel, "explained": whole})
        return
    _draw(f"{sku} in {channel}", found, places)


@commands.command()
def propose(
    channel: Annotated[str, typer.Option("--channel", "-c", metavar="REF", help="For which.")],
    target: Annotated[
        float, typer.Option("--target", min=0.5, max=0.999, help="Chance that a unit is there.")
    ] = 0.95,
    days: Annotated[int, typer.Option("--days", min=1, max=730, help="To learn from.")] = 90,
    apply: Annotated[bool, typer.Option("--apply", help="Put the controls.")] = False,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Propose buffers where the last units are often not there, from what became of orders.

    Learns how likely a promised unit is there from picks, rejections, shortages and the age of
    counts, keeps that for `explain`, and says per location what a buffer would hide and save.
    Nothing is changed without `--apply`; applied, the controls are in group `learnt`.
    """
    from penstock.records import insist
    from penstock.rules.confidence import Span, control_of, learn_confidence, propose_buffers
    from penstock.rules.controls import put_controls

    async def work(opened: Account) -> list[Proposal]:
        knowledge, directory = opened.knowledge, opened.knowledge.directory
        channel_id = knowledge.channel_id(channel)
        kinds = dict(zip(directory.location_ids.tolist(), directory.kinds, strict=True))
        span = Span(knowledge.clock.now(), days, days / 3)
        learnt = await opened.database.run(
            opened.schema, lambda tx: learn_confidence(tx, kinds, span)
        )
        named = (channel_id, channel)
        found = propose_buffers(opened.availability, named, learnt, (target, days / 7))
        changed = [control_of(channel, one) for one in found if one.qty not in {None, one.was}]
        if apply and changed:
            now, flows = knowledge.clock.now(), knowledge.workflows
            put = opened.database.run(
                opened.schema, lambda tx: put_controls(tx, flows, changed, now)
            )
            insist(await put)
        return found

    found = run_with_account(read_settings(account=account), work)
    if as_json:
        print_json({"channel": channel, "applied": apply, "proposals": found})
        return
    if not found:
        say("Nothing is known: no order has been picked or missed in these days.")
        return
    for one in found:
        buffer = "no buffer" if one.qty is None else f"a buffer of {one.qty:,} (now {one.was:,})"
        say(f"{one.location}: {buffer}. {one.reason}")
    say("Applied." if apply else "Nothing is changed: --apply puts these buffers.")


def _draw(what: str, found: Explained, places: list[LoweredAt]) -> None:
    say(f"{what}: {found.free:,} free, {found.available:,} may be promised.")
    for one in found.lowered:
        say(f"  {one.control} takes {one.by:,}")
    rows = [
        (
            one.location,
            "yes" if one.serves else "no",
            f"{one.free:,}",
            f"{one.available:,}",
            "" if one.confidence is None else f"{one.confidence:.0%}",
            _why(one.lowered),
        )
        for one in places
    ]
    draw_table(("location", "serves", "free", "available", "sure", "lowered by"), rows)


def _why(lowered: list[Lowered]) -> str:
    return ", ".join(f"{one.control} {one.by:,}" for one in lowered)
