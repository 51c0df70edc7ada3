"""The guide to stock does what it says: its commands in order, its requests to a server beside."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tests.api.retailer import serving
from tests.cli.conftest import Command
from tests.cli.test_own_account import commands

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/inventory.md"
# A block of commands or a request, and what is shown below it, if something is.
STEP = re.compile(r"```(sh|http)\n(.*?)```(?:\n\n```(json)?\n(.*?)```)?", re.DOTALL)
LOOKS = 2_000


def test_every_step_of_the_guide_to_stock(penstock: Command, server: str, tmp_path: Path) -> None:
    for arguments in commands(0)[:6]:
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (arguments, done.stderr)
    steps = STEP.findall(GUIDE.read_text("utf-8"))
    assert len(steps) == 12
    with serving("api", server, "acme", tmp_path / "api.log") as (client, _):
        for kind, text, _, shown in steps:
            if kind == "sh":
                said = "\n".join(_run(penstock, line) for line in text.splitlines())
                for line in shown.splitlines():
                    assert line in said, (line, said)
            else:
                _send_until(client, text, msgspec.json.decode(shown))
    assert "Clean." in _run(penstock, "penstock audit")


def _run(penstock: Command, line: str) -> str:
    words = [
        str(ROOT / word) if word.startswith("examples/") else word for word in shlex.split(line)
    ]
    done = penstock(*words[1:], PENSTOCK_ACCOUNT="acme")
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


def _send_until(client: httpx.Client, text: str, wanted: Any) -> None:
    """Send a request; one that only asks is sent until the server has heard of what went before."""
    head, _, body = text.partition("\n\n")
    method, path = head.split()
    answer: Any = None
    for _ in range(LOOKS if method == "GET" or path == "/v1/baskets" else 1):
        reply = client.request(method, path, content=body or None)
        assert reply.status_code == 200, reply.text
        answer = reply.json()
        if _holds(answer, wanted):
            return
    raise AssertionError((path, answer, wanted))


def _holds(answer: Any, wanted: Any) -> bool:
    """Tell whether an answer says all that is shown; it may say more."""
    if isinstance(wanted, dict):
        return all(name in answer and _holds(answer[name], one) for name, one in wanted.items())
    if isinstance(wanted, list):
        pairs = zip(answer, wanted, strict=True) if len(answer) == len(wanted) else ()
        return len(answer) == len(wanted) and all(_holds(*pair) for pair in pairs)
    return bool(answer == wanted)
