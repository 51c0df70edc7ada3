"""`penstock control propose`: says what is known, proposes, and changes nothing unless asked."""

from __future__ import annotations

import json

from tests.cli.conftest import Command
from tests.cli.test_own_account import commands

PROPOSE = ("control", "propose", "--channel", "web")


def test_buffers_are_proposed_with_reasons_and_put_when_asked(penstock: Command) -> None:
    def say(*arguments: str) -> str:
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    for arguments in commands(0)[:8]:
        say(*arguments)
    assert "Nothing is known" in say(*PROPOSE)
    ended: dict[str, str] = {}
    for ref, how in (("W-1001", "ship"), ("W-1002", "reject")):
        order = json.loads(say("order", "show", ref, "--channel", "web", "--json"))
        say("order", how, order["fulfilments"][0]["id"])
        ended[how] = order["fulfilments"][0]["location"]
    told = say(*PROPOSE)
    assert f"{ended['ship']}: a buffer of" in told or f"{ended['ship']}: no buffer" in told
    assert "0 of 2 promised lines were not there" in told
    assert "Nothing is changed" in told
    assert json.loads(say("control", "list", "--json"))["controls"] == []
    found = json.loads(say(*PROPOSE, "--target", "0.6", "--apply", "--json"))
    assert found["applied"] is True
    proposals = {one["location"]: one for one in found["proposals"]}
    sent, lacked = proposals[ended["ship"]], proposals[ended["reject"]]
    assert sent["confidence"] > lacked["confidence"]
    wanted = [one for one in found["proposals"] if one["qty"]]
    controls = json.loads(say("control", "list", "--json"))["controls"]
    assert [one["location"] for one in controls] == sorted(one["location"] for one in wanted)
    assert all(one["ref"].startswith("learnt web@") for one in controls)
    explained = json.loads(say("control", "explain", "MUG-RED", "--channel", "web", "--json"))
    sure = {one["location"]: one["confidence"] for one in explained["explained"]["locations"]}
    assert 0 < sure[ended["reject"]] < 1
    assert "sure" in say("control", "explain", "MUG-RED", "--channel", "web")
