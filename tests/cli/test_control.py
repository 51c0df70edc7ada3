"""`penstock control`: put, list, explain and remove, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/own_account"


def test_a_control_is_put_listed_explained_and_removed(penstock: Command) -> None:
    penstock("account", "create", "acme")
    for kind in ("locations", "networks", "channels", "products"):
        (path,) = EXAMPLE.glob(f"{kind}.*")
        done = penstock("import", kind, str(path), PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, done.stderr
    put = penstock(
        *("control", "put", "few teapots", "kind=cap", "channel=web", "sku=TEAPOT", "qty=3"),
        PENSTOCK_ACCOUNT="acme",
    )
    assert put.stdout == "Control few teapots is created.\n", put.stderr
    again = penstock("control", "put", "few teapots", "qty=x", PENSTOCK_ACCOUNT="acme")
    assert again.returncode == 2
    assert "qty" in again.stderr
    listed = json.loads(penstock("control", "list", "--json", PENSTOCK_ACCOUNT="acme").stdout)
    assert listed == {
        "controls": [
            {"ref": "few teapots", "kind": "cap", "channel": "web", "sku": "TEAPOT", "qty": 3}
        ]
    }
    assert "few teapots" in penstock("control", "list", PENSTOCK_ACCOUNT="acme").stdout
    explain = ("control", "explain", "TEAPOT", "--channel", "web")
    told = penstock(*explain, PENSTOCK_ACCOUNT="acme")
    assert told.returncode == 0, told.stderr
    assert "TEAPOT in web: 0 free, 0 may be promised." in told.stdout
    document = json.loads(penstock(*explain, "--json", PENSTOCK_ACCOUNT="acme").stdout)
    assert document["explained"]["lowered"] == []
    gone = penstock("control", "remove", "few teapots", PENSTOCK_ACCOUNT="acme")
    assert gone.stdout == "Control few teapots is removed.\n"
    assert penstock("control", "remove", "x", PENSTOCK_ACCOUNT="acme").returncode == 2
