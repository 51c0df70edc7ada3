"""Help: every command has it, it is instant, and it loads no machinery."""

import subprocess
import sys

import pytest

from penstock.cli.main import app

HEAVY = {"numpy", "polars", "psycopg", "litestar", "granian", "alembic", "sqlalchemy", "structlog"}


def every_command() -> list[tuple[str, ...]]:
    """Return the words of every command, groups included."""
    words: list[tuple[str, ...]] = [()]
    words += [(name_of(command),) for command in app.registered_commands]
    for group in app.registered_groups:
        name = str(group.name)
        words.append((name,))
        if group.typer_instance is not None:
            inner = group.typer_instance.registered_commands
            words += [(name, name_of(command)) for command in inner]
    return words


def name_of(command: object) -> str:
    name = getattr(command, "name", None)
    return name or getattr(command, "callback").__name__  # noqa: B009


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_explains_itself(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app([*words, "--help"])
    assert ended.value.code == 0
    assert "Usage:" in capsys.readouterr().out


def test_help_loads_no_machinery() -> None:
    code = "import sys, penstock.cli.main; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert not HEAVY & set(loaded.stdout.split())


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app(["--version"])
    assert capsys.readouterr().out.startswith("penstock 0.")
