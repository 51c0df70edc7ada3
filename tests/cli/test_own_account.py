"""The guide to an account of one's own does what it says, command by command."""

import re
import shlex
from pathlib import Path

import msgspec
from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/own-account.md"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands(block: int) -> list[list[str]]:
    """Return the arguments of the commands of a block of the guide, `serve` left out."""
    text = BLOCK.findall(GUIDE.read_text("utf-8"))[block]
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("penstock")]
    found = [
        [str(ROOT / part) if part.startswith("examples/") else part for part in line[1:]]
        for line in lines
    ]
    return [line for line in found if line != ["serve"]]


def test_ten_commands_lead_from_nothing_to_an_allocated_order_that_is_explained(
    penstock: Command,
) -> None:
    assert len(commands(0)) == 10
    said: list[str] = []
    for arguments in commands(0):
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (arguments, done.stderr)
        said.append(done.stdout)
        if arguments[0] == "import":
            assert " 0 refused" in done.stdout
    assert "Order W-1001 of web: allocated" in said[-2]
    (block,) = re.findall(r"```\n(Why: .*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert " ".join(block.split()) in " ".join(said[-2].split())
    assert "Clean." in said[-1]


def test_every_other_file_of_the_example_is_taken_in_whole_and_then_left_alone(
    penstock: Command,
) -> None:
    for arguments in commands(0)[:6] + commands(1):
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (arguments, done.stderr)
    for arguments in commands(0)[1:6] + commands(1):
        done = penstock(*arguments, "--again", "--json", PENSTOCK_ACCOUNT="acme")
        summary = msgspec.json.decode(done.stdout)
        assert summary["rows_unchanged"] == summary["rows"] > 0, arguments


def test_an_account_without_a_channel_or_a_profile_says_which_command_is_lacking(
    penstock: Command,
) -> None:
    steps = {arguments[1]: arguments for arguments in commands(0) if arguments[0] == "import"}
    penstock("account", "create", "acme")

    def tell(kind: str) -> str:
        return penstock(*steps[kind], PENSTOCK_ACCOUNT="acme").stderr

    tell("products")
    assert "penstock import channels FILE" in tell("stock")
    for kind in ("locations", "networks", "channels", "stock"):
        tell(kind)
    assert "penstock import profiles FILE" in tell("orders")
