"""The bare server: granian and a constant answer, what HTTP itself costs on this machine.

Availability is held against it. Settings are those of `penstock api`; body and port come from the
environment of this process.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.log import LogLevels
from granian.server import Server


def application() -> Callable[[Any, Any], Awaitable[None]]:
    """Make the application: whatever is asked, the same body, after the whole request was read."""
    body = os.environ["BENCH_BODY"].encode()
    headers = (("content-type", "application/json"),)

    async def answer(_: object, exchange: Any) -> None:
        await exchange()
        exchange.response_bytes(200, headers, body)

    return answer


if __name__ == "__main__":
    Server(
        "penstock.bench.bare:application",
        factory=True,
        address="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        interface=Interfaces.RSGI,
        workers=1,
        runtime_mode=RuntimeModes.st,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.warning,
    ).serve()
