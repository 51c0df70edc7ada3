"""The machine and the server that a benchmark ran on, and whether commits are durable there.

Figures without them say nothing. A server that does not wait for the disk is refused: durability
is never lowered to look better.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec
import psutil
import psycopg

from penstock.errors import Refusal

_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
_SAFE_COMMITS = {"on", "remote_apply", "remote_write", "local"}  # each flushes the local disk
_GIB = 2**30


class Machine(msgspec.Struct, frozen=True):
    """Where figures come from: processor and memory, server version, and its durability."""

    hardware: str
    postgres: str
    fsync: str
    synchronous_commit: str
    shared_buffers: str
    is_busy: bool


def look_at_machine(conninfo: str) -> Machine:
    """Describe machine and server; refuses with `not_durable` where commits are not flushed."""
    with psycopg.connect(conninfo) as connection:
        values: dict[str, str] = {}
        for name in _SETTINGS:
            row = connection.execute(f"SHOW {name}".encode()).fetchone()
            values[name] = str(row[0]) if row else ""
    safe = values["synchronous_commit"] in _SAFE_COMMITS
    if values["fsync"] != "on" or values["full_page_writes"] != "on" or not safe:
        raise Refusal(
            "not_durable",
            "This server does not wait for the disk (fsync, full_page_writes or "
            "synchronous_commit is off): figures from it would mean nothing.",
            **values,
        )
    return Machine(
        hardware=_hardware(),
        postgres=values["server_version"].split()[0],
        fsync=values["fsync"],
        synchronous_commit=values["synchronous_commit"],
        shared_buffers=values["shared_buffers"],
        is_busy=os.getloadavg()[0] > (os.cpu_count() or 1) / 2,
    )


def _hardware() -> str:
    memory_gib = round(psutil.virtual_memory().total / _GIB)
    return f"{len(os.sched_getaffinity(0))} x {_processor()}, {memory_gib} GiB, {platform.system()}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1] for line in text.splitlines() if line.startswith("model name")]
    return " ".join(names[0].split()) if names else platform.machine()
