"""Settings: what the environment may say, its bounds, and its documentation.

One frozen struct, read once at the door (`from_env`) and passed on as an argument; nothing else in
Penstock reads `PENSTOCK_` variables. Every setting is `PENSTOCK_` and its field's name in capitals.

Invariant: a value that cannot be used, or a `PENSTOCK_` name that means nothing, is refused by a
sentence that names the variable; nothing is guessed and nothing misspelt is passed over in silence.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import platformdirs

from penstock.errors import Refusal

PREFIX = "PENSTOCK_"
SECRET_PREFIX = "PENSTOCK_SECRET_"  # noqa: S105 (what jobs call with: `engine/secret.py`)

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "console", "json"]


def default_data_dir() -> Path:
    """Return the user's data folder for Penstock; as root, the system's."""
    if os.geteuid() == 0:
        return Path("/var/lib/penstock")
    return platformdirs.user_data_path("penstock")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one process; `SETTINGS` says what each means."""

    database_url: str | None = None
    data_dir: Path = msgspec.field(default_factory=default_data_dir)
    host: str = "127.0.0.1"
    port: int = 8000
    account: str = "demo"
    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"
    api_processes: int = 1
    worker_processes: int = 1
    pool_size: int = 8
    group_max_orders: int = 1000
    audit_every_s: int = 60
    smtp_url: str | None = None
    mail_from: str | None = None


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: the field of `Config` it fills, how it is read, and what its page says."""

    field: str
    meaning: str
    accepts: str
    read: Callable[[str], object]
    default: str

    @property
    def variable(self) -> str:
        """The environment variable, such as `PENSTOCK_PORT`."""
        return PREFIX + self.field.upper()


def from_env(environ: Mapping[str, str]) -> Config:
    """Read the settings from an environment, such as `os.environ`; an empty value counts as unset.

    Raises `Refusal`: `setting_unusable` for a value out of bounds, `setting_unknown` for a name
    that is no setting. Secrets that documents refer to are no settings, and not looked at.
    """
    given = {
        name: value.strip()
        for name, value in environ.items()
        if name.startswith(PREFIX) and not name.startswith(SECRET_PREFIX)
    }
    known = {setting.variable: setting for setting in SETTINGS}
    for name in sorted(given.keys() - known.keys()):
        raise _unknown(name, known)
    values = {known[name].field: _read(known[name], raw) for name, raw in given.items() if raw}
    return msgspec.structs.replace(Config(), **values)


def settings_as_markdown() -> str:
    """Render every setting as the page `docs/reference/settings.md`."""
    head = (
        "# Settings\n\n"
        "Penstock reads its settings from the environment. An empty value counts as not set; a\n"
        "value out of bounds and a misspelt name are refused when a command starts.\n\n"
        "| variable | default | accepts | meaning |\n|---|---|---|---|\n"
    )
    rows = (f"| `{s.variable}` | {s.default} | {s.accepts} | {s.meaning} |\n" for s in SETTINGS)
    return head + "".join(rows)


def _unknown(name: str, known: Mapping[str, Setting]) -> Refusal:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"the settings are {', '.join(known)}."
    return Refusal(
        "setting_unknown",
        f"{name} is no setting of Penstock: {hint}",
        variable=name,
        known=[*known],
    )


def _read(setting: Setting, raw: str) -> object:
    try:
        return setting.read(raw)
    except ValueError:
        # The address may hold a password, so the refusal never repeats it.
        shown = "" if setting.field in {"database_url", "smtp_url"} else f" {raw!r}"
        sentence = f"{setting.variable} cannot be{shown}: it takes {setting.accepts}."
        raise Refusal("setting_unusable", sentence, variable=setting.variable) from None


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def read(raw: str) -> int:
        number = int(raw)
        if not low <= number <= high:
            raise ValueError(raw)
        return number

    return read


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(raw: str) -> str:
        return choices[choices.index(raw)]

    return read


def _matching(pattern: str) -> Callable[[str], str]:
    def read(raw: str) -> str:
        if not re.fullmatch(pattern, raw):
            raise ValueError(raw)
        return raw

    return read


def _absolute_path(raw: str) -> Path:
    path = Path(raw)
    if raw.startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError:  # no such user, no home folder
            raise ValueError(raw) from None
    if not path.is_absolute():
        raise ValueError(raw)
    return path


SETTINGS: tuple[Setting, ...] = (
    Setting(
        field="database_url",
        default="none",
        accepts="an address that begins with `postgresql://`",
        meaning="The PostgreSQL server to use, 15 or newer. Without it Penstock starts its own.",
        read=_matching(r"postgres(ql)?://\S*"),
    ),
    Setting(
        field="data_dir",
        default="`~/.local/share/penstock`; as root `/var/lib/penstock`",
        accepts="an absolute path, or one that begins with `~`",
        meaning="Where Penstock's own PostgreSQL keeps its data.",
        read=_absolute_path,
    ),
    Setting(
        field="host",
        default="`127.0.0.1`",
        accepts="a loopback address: `127.0.0.1`, `::1` or `localhost`",
        meaning="Where the HTTP server listens: on this machine only, until access control exists.",
        read=_one_of("127.0.0.1", "::1", "localhost"),
    ),
    Setting(
        field="port",
        default="`8000`",
        accepts="a whole number from 1 to 65535",
        meaning="The port the HTTP server listens on.",
        read=_whole_number(1, 65535),
    ),
    Setting(
        field="account",
        default="`demo`",
        accepts="a small letter, then up to 39 small letters, digits and underscores",
        meaning="The account a command works on when it is not told another.",
        read=_matching(r"[a-z][a-z0-9_]{0,39}"),
    ),
    Setting(
        field="log_level",
        default="`info`",
        accepts="`debug`, `info`, `warning` or `error`",
        meaning="The least severe message that is logged.",
        read=_one_of("debug", "info", "warning", "error"),
    ),
    Setting(
        field="log_format",
        default="`auto`",
        accepts="`auto`, `console` or `json`",
        meaning="Log lines for people or for machines; `auto` looks whether a terminal reads them.",
        read=_one_of("auto", "console", "json"),
    ),
    Setting(
        field="api_processes",
        default="`1`",
        accepts="a whole number from 0 to 64",
        meaning="How many processes `penstock serve` answers HTTP with.",
        read=_whole_number(0, 64),
    ),
    Setting(
        field="worker_processes",
        default="`1`",
        accepts="a whole number from 0 to 64",
        meaning="How many processes `penstock serve` works off due events with.",
        read=_whole_number(0, 64),
    ),
    Setting(
        field="pool_size",
        default="`8`",
        accepts="a whole number from 1 to 100",
        meaning="How many database connections one process may hold.",
        read=_whole_number(1, 100),
    ),
    Setting(
        field="group_max_orders",
        default="`1000`",
        accepts="a whole number from 1 to 1000",
        meaning="How many orders are taken in and decided in one transaction at most.",
        read=_whole_number(1, 1000),
    ),
    Setting(
        field="audit_every_s",
        default="`60`",
        accepts="a whole number from 0 to 86400",
        meaning="How often a worker audits what has happened since, in seconds; 0: never.",
        read=_whole_number(0, 86_400),
    ),
    Setting(
        field="smtp_url",
        default="none",
        accepts="an address that begins with `smtp://`, `smtps://` or `smtp+starttls://`",
        meaning="The mail server that e-mails of workflows are handed to; user and password in it.",
        read=_matching(r"(smtp|smtps|smtp\+starttls)://\S+"),
    ),
    Setting(
        field="mail_from",
        default="none",
        accepts="an address such as `shop@example.com` or `The Shop <shop@example.com>`",
        meaning="Whom e-mails come from.",
        read=_matching(r"[^@\r\n]{1,200}@[^@\s]{1,200}"),
    ),
)
