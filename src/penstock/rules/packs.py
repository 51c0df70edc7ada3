"""Packs: rules, workflows and settings that come, change and go as one Python package (F-111).

A pack is an installed Python package with an entry point in group `penstock.packs` that names a
module; beside that module lie `pack.yaml` and, in folder `workflows`, documents. Its rules come by
their own entry points. Installing a pack stores and activates its workflows and gives its settings
to an account, in one transaction; a newer package is installed over it the same way.

What somebody has changed stays: a setting of another value than the pack gave is kept, and told.
A workflow's versions stay stored for ever, since entities may be pinned to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import invalidate_caches, resources
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec
import yaml

from penstock.access.settings import (
    give_settings,
    leave_settings,
    list_settings,
    unset_settings,
)
from penstock.db import Queries, Tx
from penstock.engine.diff import diff
from penstock.engine.document import WorkflowDocument, read_document
from penstock.engine.readable import Vocabulary
from penstock.engine.workflows import activate, store_document
from penstock.errors import Refusal
from penstock.rules.migrate import usage

SQL = Queries("penstock.rules", "packs.sql")
ENTRY_POINTS = "penstock.packs"
MANIFEST = "pack.yaml"
_ENDED = ("done", "failed")


class SettingGiven(msgspec.Struct, forbid_unknown_fields=True):
    """A setting of a pack: its value, unless somebody sets another, and what it means."""

    value: Any
    meaning: str


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """`pack.yaml`: what the pack is for, and its settings."""

    description: str
    settings: dict[str, SettingGiven] = {}


class Pack(msgspec.Struct):
    """A pack as its package has it; `workflows` are documents' texts."""

    name: str
    version: str
    description: str
    settings: dict[str, SettingGiven]
    workflows: list[str]
    rules: list[str]


class Change(msgspec.Struct, frozen=True):
    """One thing that installing or removing does, or did not do, in a sentence."""

    what: str  # workflow | setting | pack
    name: str
    sentence: str


class Installed(msgspec.Struct):
    """A pack of an account: the version that was installed, and that of the package, if any."""

    name: str
    installed: str | None
    package: str | None
    description: str = ""


def find_packs() -> dict[str, Pack]:
    """Read the packs of every installed package, by name; refuses `invalid_pack_file`."""
    invalidate_caches()
    return {entry.name: _read(entry) for entry in entry_points(group=ENTRY_POINTS)}


def find_pack(name: str) -> Pack:
    """Read one pack; refuses `unknown_pack`, `invalid_pack_file`."""
    packs = find_packs()
    if name not in packs:
        there_are = ", ".join(sorted(packs)) or "none"
        sentence = f"No installed package has a pack {name!r}; there are: {there_are}."
        raise Refusal("unknown_pack", sentence, pack=name)
    return packs[name]


def _read(entry: EntryPoint) -> Pack:
    folder = resources.files(entry.module)
    try:
        text = folder.joinpath(MANIFEST).read_text("utf-8")
        manifest = msgspec.convert(yaml.safe_load(text), Manifest)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        sentence = f"Pack {entry.name}: {MANIFEST} of {entry.module} cannot be read: {error}"
        raise Refusal("invalid_pack_file", sentence, pack=entry.name) from None
    workflows = folder.joinpath("workflows")
    texts = []
    if workflows.is_dir():
        files = sorted(workflows.iterdir(), key=lambda one: one.name)
        texts = [one.read_text("utf-8") for one in files if one.name.endswith(".yaml")]
    package = entry.dist
    rules = package.entry_points.select(group="penstock.rules") if package else ()
    return Pack(
        entry.name,
        package.version if package else "0",
        manifest.description,
        manifest.settings,
        texts,
        sorted(one.name for one in rules),
    )


async def list_packs(tx: Tx) -> list[Installed]:
    """Return the packs of installed packages and of the account, by name."""
    versions = dict(await tx.fetch(SQL.packs))
    packs = find_packs()
    return [
        Installed(
            name,
            versions.get(name),
            packs[name].version if name in packs else None,
            packs[name].description if name in packs else "",
        )
        for name in sorted({*versions, *packs})
    ]


async def install_pack(tx: Tx, pack: Pack, vocabulary: Vocabulary) -> list[Change]:
    """Install a pack, or a newer one over it; returns what changed. Nothing if it was there so.

    Refuses what storing a workflow refuses, and `invalid_setting`.
    """
    await tx.execute(SQL.lock)
    rows = await tx.fetch(SQL.version_of_pack, (pack.name,))
    before = rows[0][0] if rows else None
    changes: list[Change] = []
    for text in pack.workflows:
        changes += await _install_workflow(tx, pack, text, vocabulary)
    changes += await _install_settings(tx, pack)
    if before != pack.version:
        await tx.execute(SQL.keep_pack, (pack.name, pack.version))
        over = f"over {before}" if before else "for the first time"
        changes.append(Change("pack", pack.name, f"{pack.name} {pack.version}, {over}"))
    return changes


async def _install_workflow(tx: Tx, pack: Pack, text: str, vocabulary: Vocabulary) -> list[Change]:
    document = read_document(text)
    before = await _active(tx, document)
    try:
        document, _ = await store_document(tx, text, vocabulary, pack.name)
        is_changed = await activate(tx, document.name, document.version, f"pack {pack.name}")
    except Refusal as refusal:
        sentence = f"Pack {pack.name}, workflow {document.name}: {refusal.message}"
        raise Refusal(refusal.code, sentence, **refusal.data) from None
    if not is_changed:
        return []
    name = f"{document.name}@{document.version}"
    serves = f"serves new {document.entity} of type {document.type}"
    if before is None:
        return [Change("workflow", document.name, f"{name} {serves}")]
    first = f"{name} {serves}, in place of {before.name}@{before.version}"
    sentences = [first] + [one.message for one in diff(before, document)]
    return [Change("workflow", document.name, sentence) for sentence in sentences]


async def _active(tx: Tx, document: WorkflowDocument) -> WorkflowDocument | None:
    key = (document.entity, document.type, document.channel)
    rows = await tx.fetch(SQL.active_document, key)
    return msgspec.convert(rows[0][0], WorkflowDocument) if rows and rows[0][0] else None


async def _install_settings(tx: Tx, pack: Pack) -> list[Change]:
    there = {one.name: one for one in await list_settings(tx)}
    changes: list[Change] = []
    given: dict[str, Any] = {}
    for name, setting in pack.settings.items():
        now = there.get(name)
        if now is not None and now.pack not in {None, pack.name}:
            sentence = f"Setting {name} is of pack {now.pack}: two packs cannot have the same."
            raise Refusal("setting_taken", sentence, setting=name)
        if now is None:
            given[name] = setting.value
            sentence = f"{name} is {_shown(setting.value)}"
            changes.append(Change("setting", name, sentence))
        elif now.pack is None or now.is_changed:
            if now.value != setting.value:
                kept = f"{name} stays {_shown(now.value)}, as somebody set it"
                changes.append(Change("setting", name, f"{kept} (not {_shown(setting.value)})"))
        elif now.value != setting.value:
            given[name] = setting.value
            sentence = f"{name} is {_shown(setting.value)}, and was {_shown(now.value)}"
            changes.append(Change("setting", name, sentence))
    mine = [one for one in there.values() if one.pack == pack.name]
    changes += await _drop_settings(tx, [one for one in mine if one.name not in pack.settings])
    if given:
        await give_settings(tx, pack.name, given)
    return changes


async def _drop_settings(tx: Tx, settings: Iterable[Any]) -> list[Change]:
    """Take out settings that a pack gave; those that somebody changed stay, as the account's."""
    changes: list[Change] = []
    gone: list[str] = []
    kept: list[str] = []
    for one in settings:
        (kept if one.is_changed else gone).append(one.name)
        said = f"stays {_shown(one.value)}, as somebody set it" if one.is_changed else "is gone"
        changes.append(Change("setting", one.name, f"{one.name} {said}"))
    await unset_settings(tx, gone)
    await leave_settings(tx, kept)
    return changes


async def remove_pack(tx: Tx, name: str) -> list[Change]:
    """Take a pack out of the account; what was active before its workflows is active again.

    Refuses `pack_not_installed`, and `pack_in_use` while entities are in flight with its
    workflows.
    """
    await tx.execute(SQL.lock)
    if not await tx.fetch(SQL.version_of_pack, (name,)):
        sentence = f"Pack {name!r} is not installed: `penstock pack list` shows what is."
        raise Refusal("pack_not_installed", sentence, pack=name)
    await _refuse_if_in_use(tx, name)
    changes: list[Change] = []
    for entity, kind, old, new in await tx.fetch(SQL.deactivate, (f"pack {name} is removed", name)):
        instead = f"{new} serves new {entity} of type {kind} again" if new else "nothing serves it"
        changes.append(Change("workflow", old, f"{old} is not active any more; {instead}"))
    await tx.execute(SQL.bump_workflow)
    mine = [one for one in await list_settings(tx) if one.pack == name]
    changes += await _drop_settings(tx, mine)
    await tx.execute(SQL.forget_pack, (name,))
    return [*changes, Change("pack", name, f"{name} is removed")]


async def _refuse_if_in_use(tx: Tx, name: str) -> None:
    versions = {(row[0], row[1]): row[2] for row in await tx.fetch(SQL.workflows_of_pack, (name,))}
    for one in await usage(tx):
        document = versions.get((one.name, one.version))
        if document is None:
            continue
        categories = {status["name"]: status["category"] for status in document["statuses"]}
        if categories.get(one.status) not in _ENDED:
            sentence = (
                f"{one.count:,} {one.entity} of {one.name}@{one.version} are {one.status}: let "
                f"them end, or move them with `penstock workflow migrate {one.name}`."
            )
            raise Refusal("pack_in_use", sentence, pack=name)


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()
