"""Scenario files: what is given, what happens step by step, and what has to come of it.

Owns their shape and reading them. Pure but for the files a scenario names beside itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from penstock.access.channels import ChannelInput
from penstock.availability.control_input import ControlInput
from penstock.availability.threshold_input import ThresholdInput
from penstock.catalogue.model import ProductInput
from penstock.customers.model import CustomerInput
from penstock.engine.durations import Duration
from penstock.engine.places import Path as Place
from penstock.engine.places import Places, path_of
from penstock.engine.workflows import shipped_document
from penstock.errors import Refusal
from penstock.network.model import LocationInput, NetworkInput
from penstock.network.profiles import ProfileInput

MAX_FILE_BYTES = 1_000_000
MONDAY_NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
Of = Annotated[dict[str, str | int], msgspec.Meta(min_length=1)]


class Written(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a scenario file: a name that it does not know is refused."""


class StockGiven(Written):
    """A count: so many of a SKU at a location."""

    sku: str
    location: str
    on_hand: int


class Given(Written):
    """Master data, as the records of `penstock import`; what is left out is made where it is named.

    Without channels there is `web`, without profiles a plain rate card; a location or SKU that only
    stock names is made.
    """

    channels: list[ChannelInput] = []
    products: list[ProductInput] = []
    locations: list[LocationInput] = []
    networks: list[NetworkInput] = []
    profiles: list[ProfileInput] = []
    customers: list[CustomerInput] = []
    controls: list[ControlInput] = []
    thresholds: list[ThresholdInput] = []
    stock: list[StockGiven] = []


class EventStep(Written):
    """An event for the entity that `of` names (left out: the one before)."""

    name: str
    of: Of | None = None
    payload: dict[str, Any] = {}


class ActionStep(Written):
    """A user action, with what is filled in; `role` as which it is done."""

    name: str
    of: Of | None = None
    fields: dict[str, Any] = {}
    role: str | None = None


class AnswerStep(Written):
    """What the peer of an outside call says; `call` is a part of the call that is meant."""

    call: dict[str, Any] = {}
    status: int = 200
    body: dict[str, Any] = {}


class FailureStep(Written):
    """A call that fails: for now, or for good."""

    call: dict[str, Any] = {}
    error: str = "no_answer"
    status: int | None = None
    final: bool = False


class EntityExpected(Written):
    """What an entity has become: its status, and a part of its document."""

    of: Of
    status: str | None = None
    document: dict[str, Any] = {}


class StockExpected(Written):
    """What a position holds; what is left out is not looked at."""

    sku: str
    location: str
    on_hand: int | None = None
    reserved: int | None = None
    available: int | None = None


class Expected(Written):
    """What has to be true after a step. Of documents and calls only what is named is compared.

    `events` are names that the stream has had since the step before, in this order, others between
    them; `calls` are the outside calls that the step has asked for, all of them.
    """

    refused: str | None = None
    status: str | None = None
    document: dict[str, Any] | None = None
    entities: list[EntityExpected] = []
    events: list[str] | None = None
    calls: list[dict[str, Any]] | None = None
    timers: list[str] | None = None
    stock: list[StockExpected] = []
    dead_letters: int = 0
    unhandled: list[str] = []


class Step(Written):
    """One thing that happens, or none, and what is expected then."""

    order: dict[str, Any] | None = None
    entity: dict[str, Any] | None = None
    event: EventStep | None = None
    action: ActionStep | None = None
    stock: list[StockGiven] | None = None
    wait: Duration | None = None
    at: Any = None  # an instant; YAML reads one with seconds by itself
    answer: AnswerStep | None = None
    failure: FailureStep | None = None
    expect: Expected = msgspec.field(default_factory=Expected)

    def happens(self) -> list[str]:
        """Return the names of what happens in it."""
        names = [name for name in self.__struct_fields__ if name != "expect"]
        return [name for name in names if getattr(self, name) is not None]


class Scenario(Written):
    """A story: its name says what the workflow has to do."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    steps: Annotated[list[Step], msgspec.Meta(min_length=1)]


class ScenarioFile(Written):
    """Scenarios that share workflows and what is given; each runs on an account of its own.

    `workflows` are files beside this one, or names of optional documents that come with Penstock.
    """

    scenarios: Annotated[list[Scenario], msgspec.Meta(min_length=1)]
    workflows: list[str] = []
    now: Any = MONDAY_NOON
    given: Given = msgspec.field(default_factory=Given)


class Read(msgspec.Struct):
    """A file that was read: its scenarios, its workflows' texts, and where its parts stand."""

    path: Path
    file: ScenarioFile
    workflows: list[str]
    places: Places

    def line(self, path: Place) -> int:
        """Return the line of a part."""
        return self.places.line(path)


def read_scenarios(path: Path) -> Read:
    """Read a file; refuses with `invalid_scenario` (naming file and line) or `file_unreadable`."""
    text = _text(path)
    places = Places(text)
    try:
        file = msgspec.convert(yaml.safe_load(text), ScenarioFile)
    except (yaml.YAMLError, RecursionError) as error:
        raise Refusal("invalid_scenario", f"{path}: {error}") from None
    except msgspec.ValidationError as error:
        sentence, _, pointer = str(error).partition(" - at `")
        line = places.line(path_of(pointer))
        raise Refusal("invalid_scenario", f"{path}:{line}: {sentence}.") from None
    for number, scenario in enumerate(file.scenarios):
        for place, step in enumerate(scenario.steps):
            if len(step.happens()) > 1:
                line = places.line(("scenarios", number, "steps", place))
                many = " and ".join(step.happens())
                sentence = f"{path}:{line}: A step is one thing; this one is {many}."
                raise Refusal("invalid_scenario", sentence)
    return Read(path, file, [_workflow(path, one) for one in file.workflows], places)


def instant_of(written: Any) -> datetime:
    """Return an instant as a file writes it, UTC unless it says otherwise; may leave seconds out.

    Refuses with `invalid_instant`.
    """
    try:
        at = written if isinstance(written, datetime) else datetime.fromisoformat(str(written))
    except ValueError:
        sentence = f"{str(written)[:40]!r} is no instant such as 2026-03-02T18:00."
        raise Refusal("invalid_instant", sentence) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _workflow(path: Path, named: str) -> str:
    if named.endswith((".yaml", ".yml", ".json")):
        return _text(path.parent / named)
    try:
        return shipped_document(f"optional/{named}")
    except OSError:
        sentence = f"{path}: {named!r} is neither a file (.yaml) nor an optional shipped workflow."
        raise Refusal("invalid_scenario", sentence) from None


def _text(path: Path) -> str:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise Refusal("file_unreadable", f"{path} cannot be read: {reason}.") from error
    if len(text) > MAX_FILE_BYTES:
        raise Refusal("invalid_scenario", f"{path} is over {MAX_FILE_BYTES:,} bytes.")
    return text
