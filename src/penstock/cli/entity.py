"""`penstock entity`, `event` and `action`: entities of any kind, and what meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_instant, read_settings, run_with_account
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.app import Account
    from penstock.rules.finding import Found
    from penstock.rules.roots import Root
    from penstock.rules.take import Work

entity = typer.Typer(no_args_is_help=True, help="Make entities of any kind, and look at them.")
event = typer.Typer(no_args_is_help=True, help="Send events to orders, fulfilments, any entity.")
action = typer.Typer(no_args_is_help=True, help="What users may do now with an entity; do it.")

Ref = Annotated[str, typer.Argument(metavar="ID|REF", help="Which: its id, or its ref.")]
Kind = Annotated[str, typer.Option("--kind", help="What kind of entity it is.")]
Channel = Annotated[str | None, typer.Option("--channel", help="The channel of an order's ref.")]
Payload = Annotated[str, typer.Option("--payload", metavar="JSON", help="What the event carries.")]
Fields = Annotated[list[str] | None, typer.Option("--field", metavar="NAME=VALUE", help="A field.")]
Role = Annotated[str | None, typer.Option("--role", help="In which role; without, any.")]
By = Annotated[str, typer.Option("--by", help="Who does it.")]


@entity.command()
def add(
    kind: Annotated[str, typer.Argument(help="What kind, such as payment.")],
    ref: Annotated[str, typer.Argument(help="Its business key, unique in its kind.")],
    entity_type: Annotated[str, typer.Option("--type", help="Chooses its workflow.")] = "default",
    channel: Channel = None,
    parent: Annotated[
        str | None, typer.Option("--parent", metavar="KIND:ID", help="Another entity.")
    ] = None,
    attributes: Annotated[str, typer.Option("--attributes", metavar="JSON")] = "{}",
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Make an entity, which begins its workflow; one that is there is shown as it is."""
    from penstock.engine.entities import EntityInput
    from penstock.rules.take import NewEntity

    fields: dict[str, Any] = {"kind": kind, "ref": ref, "type": entity_type, "channel": channel}
    if parent is not None:
        fields["parent_kind"], _, fields["parent_id"] = parent.partition(":")
    fields["attributes"] = _json(attributes)
    try:
        asked = msgspec.convert(fields, EntityInput)
    except msgspec.ValidationError as error:
        raise Refusal("invalid_request", f"The entity: {error}.") from None
    _decide_and_show(NewEntity(asked), account, as_json=as_json)


@entity.command("show")
def show_entity(
    ref: Ref,
    kind: Kind,
    channel: Channel = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Show an entity as it is now."""
    from penstock.rules.documents import root_document

    async def work(opened: Account) -> Any:
        _, root = await read_named(opened, kind, ref, channel)
        return msgspec.to_builtins(root_document(root, opened.knowledge))

    _show(run_with_account(read_settings(account=account), work), as_json=as_json)


@event.command()
def send(
    ref: Ref,
    name: Annotated[str, typer.Argument(help="The event, such as order.hold_cleared.")],
    kind: Kind = "order",
    channel: Channel = None,
    payload: Payload = "{}",
    at: Annotated[
        str | None, typer.Option("--at", metavar="INSTANT", help="Later, at this instant.")
    ] = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Send an event to an entity; its workflow decides at once, unless it is for later."""
    from penstock.engine import inbox
    from penstock.engine.inbox import Event
    from penstock.rules.take import RootEvent

    carried = _json(payload)
    due_at = None if at is None else read_instant(at)

    async def work(opened: Account) -> Any:
        found, _ = await read_named(opened, kind, ref, channel)
        place = (found.root_kind, found.root_id, found.entity, found.entity_id)
        if due_at is None:
            sent = RootEvent(found.root_id, name, carried, None, place[0], place[2], place[3])
            return await _decided(opened, sent)
        later = Event(*place, name, carried, due_at, is_timer=True)
        now = opened.knowledge.clock.now()
        await opened.database.run(opened.schema, lambda tx: inbox.post(tx, [later], now))
        return {"event": later.id, "due_at": due_at.isoformat()}

    _show(run_with_account(read_settings(account=account), work), as_json=as_json)


@action.command("list")
def list_actions(
    ref: Ref,
    kind: Kind = "order",
    channel: Channel = None,
    role: Role = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """List what may be done now with an entity, and with what is inside it."""
    from penstock.rules.actions import possible_actions

    async def work(opened: Account) -> Any:
        _, root = await read_named(opened, kind, ref, channel)
        return msgspec.to_builtins(possible_actions(root, opened.knowledge.workflows.by_id, role))

    found = run_with_account(read_settings(account=account), work)
    if as_json:
        print_json({"actions": found})
    elif found:
        rows = [
            (
                one["name"],
                one["label"],
                f"{one['entity']} {one['entity_id']}",
                ", ".join(_form_field(field) for field in one["fields"]),
                ", ".join(one.get("roles", ())) or "everybody",
            )
            for one in found
        ]
        draw_table(("action", "does", "with", "fields", "who"), rows)
    else:
        say("Nothing can be done with it now.")


def _form_field(field: dict[str, Any]) -> str:
    return field["name"] + ("*" if field.get("required") else "")


@action.command("do")
def do_action(
    name: Annotated[str, typer.Argument(help="The action, as `penstock action list` names it.")],
    ref: Ref,
    kind: Kind = "order",
    channel: Channel = None,
    fields: Fields = None,
    by: By = "cli",
    role: Role = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Do a user action, with what its form asks for; the entity is shown as it is then."""
    from penstock.rules.actions import Doing, action_event

    filled = dict(_pair(one) for one in fields or ())

    async def work(opened: Account) -> Any:
        found, root = await read_named(opened, kind, ref, channel)
        doing = Doing(name, filled, by, role)
        workflows = opened.knowledge.workflows.by_id
        return await _decided(opened, action_event(root, workflows, found.entity_id, doing))

    _show(run_with_account(read_settings(account=account), work), as_json=as_json)


def _pair(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE; a value that is JSON (a number, true, a list) is that, else text."""
    name, is_given, value = text.partition("=")
    if not is_given:
        raise Refusal("invalid_form", f"{text!r} is not NAME=VALUE.", field=name)
    try:
        read: Any = msgspec.json.decode(value)
    except msgspec.DecodeError:
        read = value
    return name, read


def _json(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Refusal("invalid_json", f"{text[:60]!r} is no JSON object: {error}.") from None


async def read_named(
    opened: Account, kind: str, ref: str, channel: str | None
) -> tuple[Found, Root]:
    """Find an entity by id, or by ref where the text is no id, and read its root."""
    from penstock.db import Tx
    from penstock.ids import parse_id
    from penstock.rules.finding import Named, find_entity, read_root

    try:
        named = Named(kind, id=parse_id(ref))
    except Refusal:
        named = Named(kind, ref=ref, channel=channel)

    async def work(tx: Tx) -> tuple[Found, Root]:
        found = await find_entity(tx, opened.knowledge, named)
        return found, await read_root(tx, opened.knowledge, found)

    return await opened.database.run(opened.schema, work)


async def _decided(opened: Account, item: Work) -> Any:
    result = (await opened.grouping.submit([item]))[0]
    if isinstance(result, Refusal):
        raise result
    return msgspec.json.decode(result)


def _decide_and_show(item: Work, account: str | None, *, as_json: bool) -> None:
    settings = read_settings(account=account)
    _show(run_with_account(settings, lambda opened: _decided(opened, item)), as_json=as_json)


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    elif "due_at" in document:
        say(f"Event {document['event']} is due at {document['due_at']}.")
    else:
        kind = document.get("kind", "order")
        say(f"{kind.capitalize()} {document['ref']}: {document['status'].replace('_', ' ')}")
        for fulfilment in document.get("fulfilments", ()):
            status = fulfilment["status"].replace("_", " ")
            say(f"  fulfilment {fulfilment['id']} at {fulfilment['location']}: {status}")
