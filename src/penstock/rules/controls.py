"""Controls put and removed, and their workflows told of it, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from penstock.availability import commands
from penstock.availability.control_input import ControlInput, ref_of
from penstock.db import Tx
from penstock.engine.workflows import Workflows
from penstock.records import Result
from penstock.rules.subjects import tell_changes


async def put_controls(
    tx: Tx, workflows: Workflows, controls: Sequence[ControlInput], now: datetime
) -> list[Result]:
    """Put controls, as `availability.commands.put_controls`, and tell those that have changed."""
    results = await commands.put_controls(tx, controls)
    changes = [(ref_of(one), result) for one, result in zip(controls, results, strict=True)]
    await tell_changes(tx, workflows, "control", changes, now)
    return results


async def remove_controls(
    tx: Tx, workflows: Workflows, refs: Sequence[str], now: datetime
) -> list[Result]:
    """Remove controls, as `availability.commands.remove_controls`, and tell those that are gone."""
    results = await commands.remove_controls(tx, refs)
    await tell_changes(tx, workflows, "control", list(zip(refs, results, strict=True)), now)
    return results
