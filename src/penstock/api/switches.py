"""Switching services of locations and networks off and on.

What a switch does is `network/commands.py`'s. Every process decides by it from its next pass on,
and takes the stock out of availability as soon as it hears of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
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

_encode = msgspec.json.Encoder().encode
Verb = Callable[[Tx, Sequence[SwitchInput], datetime], Awaitable[Sequence[str | Refusal]]]


class SwitchBody(msgspec.Struct, forbid_unknown_fields=True):
    """On or off; off from an instant (now) until another (until switched on), with a reason."""

    on: bool
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""
    since: datetime | None = None
    until: datetime | None = None


_body = msgspec.json.Decoder(SwitchBody)


async def switch_location(served: Served, ref: str, service: str, request: Request) -> Reply:
    """Switch a service of a location; refuses with `unknown_location`, `unknown_service`."""
    return await _switch(served, switch_locations, _asked(ref, service, request))


async def switch_network(served: Served, ref: str, service: str, request: Request) -> Reply:
    """Switch a service of a network; refuses with `unknown_network`, `unknown_service`."""
    return await _switch(served, switch_networks, _asked(ref, service, request))


def _asked(ref: str, service: str, request: Request) -> SwitchInput:
    refuse_nul(request.body)
    asked = read_json(_body, request.body)
    return SwitchInput(ref, service, asked.on, asked.since, asked.until, asked.reason)


async def _switch(served: Served, verb: Verb, switch: SwitchInput) -> Reply:
    async def work(tx: Tx) -> None:
        (result,) = await verb(tx, [switch], served.knowledge.clock.now())
        if isinstance(result, Refusal):
            raise result

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
