"""`GET /v1/audit` and `GET /metrics`: what the audit has found, for people and for machines.

Reads only; repairs are `penstock audit`'s. Metrics are OpenMetrics text, small, and cost three
reads of small tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from penstock.api.exchange import Reply, Request
from penstock.api.served import Served
from penstock.audit.findings import (
    Totals,
    count_findings,
    last_runs,
    open_findings,
    read_totals,
    resolved_findings,
)
from penstock.audit.repair import is_repairable
from penstock.audit.report import INVARIANTS
from penstock.db import Tx
from penstock.errors import Refusal

MAX_FINDINGS = 200
RESOLVED = 20
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_encode = msgspec.json.Encoder().encode


async def get_audit(served: Served, request: Request) -> Reply:
    """Answer with the last runs, what is open and what was resolved last."""
    unknown = sorted(request.query())
    if unknown:
        raise Refusal("invalid_query", f"There is no field {unknown[0][:60]!r}.", field=unknown[0])

    async def work(tx: Tx) -> dict[str, Any]:
        counted = await count_findings(tx)
        findings = await open_findings(tx, MAX_FINDINGS)
        totals = await read_totals(tx)
        return {
            "is_clean": not counted,
            "age_s": None if totals.age_s < 0 else round(totals.age_s, 1),
            "passes_behind": totals.passes_behind,
            "breaches": counted,
            "findings": [
                {**msgspec.to_builtins(one), "is_repairable": is_repairable(one)}
                for one in findings
            ],
            "resolved": await resolved_findings(tx, RESOLVED),
            "runs": await last_runs(tx, 10),
        }

    return Reply(HTTPStatus.OK, _encode(await served.database.run(served.schema, work)))


async def get_metrics(served: Served) -> Reply:
    """Answer with metrics of the audit and of this process's index."""

    async def work(tx: Tx) -> tuple[Totals, dict[str, int]]:
        return await read_totals(tx), await count_findings(tx)

    totals, counted = await served.database.run(served.schema, work)
    text = "\n".join([*_metrics(totals, counted, served.follower.age_s), "# EOF", ""])
    return Reply(HTTPStatus.OK, text.encode(), OPENMETRICS)


def _metrics(totals: Totals, counted: Mapping[str, int], index_age_s: float) -> Iterable[str]:
    yield from _one("penstock_audit_age_seconds", "gauge", "Since the last run; -1: never.")
    yield f"penstock_audit_age_seconds {totals.age_s:.3f}"
    yield from _one("penstock_audit_breaches", "gauge", "Breaches that are open, by check.")
    for check in INVARIANTS:
        yield f'penstock_audit_breaches{{check="{check}"}} {counted.get(check, 0)}'
    yield from _one("penstock_audit_passes_behind", "gauge", "Passes not audited yet.")
    yield f"penstock_audit_passes_behind {totals.passes_behind}"
    yield from _one("penstock_audit_runs", "counter", "Runs that came to their end.")
    yield f"penstock_audit_runs_total {totals.runs}"
    yield from _one("penstock_audit_positions", "counter", "Positions looked at.")
    yield f"penstock_audit_positions_total {totals.positions_read}"
    yield from _one("penstock_audit_journal_entries", "counter", "Journal entries added up.")
    yield f"penstock_audit_journal_entries_total {totals.entries_read}"
    yield from _one("penstock_index_age_seconds", "gauge", "Since the index was known current.")
    yield f"penstock_index_age_seconds {index_age_s:.3f}"


def _one(name: str, kind: str, says: str) -> Iterable[str]:
    yield f"# TYPE {name} {kind}"
    yield f"# HELP {name} {says}"
