"""The guide to lots does what it says, command by command."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from tests.cli.conftest import Command
from tests.cli.test_own_account import commands

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/lots.md"
SH = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def test_every_step_of_the_guide_to_lots(penstock: Command) -> None:
    for arguments in commands(0)[:8]:
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (arguments, done.stderr)
    shown = penstock(
        "order", "show", "W-1001", "--channel", "web", "--json", PENSTOCK_ACCOUNT="acme"
    )
    fulfilment = msgspec.json.decode(shown.stdout)["fulfilments"][0]["id"]
    said: dict[str, str] = {}
    for line in "".join(SH.findall(GUIDE.read_text("utf-8"))).splitlines():
        arguments = line.replace("FULFILMENT", fulfilment).split()[1:]
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        said[line] = done.stdout
    suggested = said["penstock lot suggest MUG-BLUE BATH 7"].split()
    assert suggested.index("A-3") < suggested.index("B-7")
    assert "A-3" not in said["penstock lot suggest MUG-BLUE BATH 2 --days 30000"]
    history = said["penstock lot history MUG-BLUE B-7"]
    assert "W-1001" in history
    assert "-2" in history
    assert "assumed" not in history
    left = said["penstock lot list MUG-BLUE --location BATH"]
    assert "hold" in left
    assert "yes" in left
    assert "Clean." in said["penstock audit"]
    refused = penstock("lot", "pick", fulfilment, "MUG-BLUE:A-3=1", PENSTOCK_ACCOUNT="acme")
    assert "keeps no stock" in refused.stderr
    refused = penstock("lot", "count", "TRAY", "BATH", "A=1", PENSTOCK_ACCOUNT="acme")
    assert "penstock lot track TRAY" in refused.stderr
