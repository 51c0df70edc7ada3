"""Switching services of locations and networks off and on.

What a switch does is `network/commands.py`'s. Every process decides by it from its next pass on,
and takes the stock out of availability as soon as it hears of it.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import msgspec

from penstock.api.exchange import Reply, Request
from penstock.api.reading import read_json, refuse_nul
from penstock.api.served import Served
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.commands import switch_locations, switch_networks
from penstock.network.model import SwitchInput
from penstock.rules.subjects import tell_switches

_encode = msgspec.json.Encoder().encode


class SwitchBody(msgspec.Struct, forbid_unknown_fields=True):
    """On or off; off from an instant (now) until another (until switched on), with a reason."""

    on: bool
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""
    since: datetime | None = None
    until: datetime | None = None


_body = msgspec.json.Decoder(SwitchBody)


async def switch_location(served: Served, ref: str, service: str, request: Request) -> Reply:
    """Switch a service of a location; refuses with `unknown_location`, `unknown_service`."""
    return await _switch(served, "location", _asked(ref, service, request))


async def switch_network(served: Served, ref: str, service: str, request: Request) -> Reply:
    """Switch a service of a network; refuses with `unknown_network`, `unknown_service`."""
    return await _switch(served, "network", _asked(ref, service, request))


def _asked(ref: str, service: str, request: Request) -> SwitchInput:
    refuse_nul(request.body)
    asked = read_json(_body, request.body)
    return SwitchInput(ref, service, asked.on, asked.since, asked.until, asked.reason)


async def _switch(served: Served, kind: str, switch: SwitchInput) -> Reply:
    verb = switch_locations if kind == "location" else switch_networks
    knowledge = served.knowledge

    async def work(tx: Tx) -> None:
        now = knowledge.clock.now()
        (result,) = await verb(tx, [switch], now)
        if isinstance(result, Refusal):
            raise result
        if result == "updated":
            await tell_switches(tx, knowledge.workflows, kind, [switch], now)

    await served.database.run(served.schema, work)
    document = {
        "ref": switch.ref,
        "service": switch.service,
        "on": switch.is_on,
        "since": switch.off_from,
        "until": switch.off_until,
        "reason": switch.reason,
    }
    return Reply(HTTPStatus.OK, _encode(document))
