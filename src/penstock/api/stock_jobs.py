"""`/v1/stock-jobs`: feeds of many batches; opening, sending, looking, ending.

Owns translating and paging. A batch is answered for once it is kept (202), or as it is if its ref
was sent before; workers take it in. What jobs do is `bulk/stock_jobs.py`'s.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, get_args
from uuid import UUID

import msgspec

from penstock.api.exchange import Reply, Request, replayed
from penstock.api.reading import read_json, refuse_nul
from penstock.api.served import Served
from penstock.bulk import stock_jobs
from penstock.bulk.stock_jobs import Ending, Status, StockJob, StockJobInput
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.passes import Pass

MAX_PAGE = 10_000
RESULTS = ("changed", "unchanged", "failed")


class Abandoning(msgspec.Struct, forbid_unknown_fields=True):
    """Why a job is given up."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


_job = msgspec.json.Decoder(StockJobInput)
_ending = msgspec.json.Decoder(Ending)
_abandoning = msgspec.json.Decoder(Abandoning)
_encode = msgspec.json.Encoder().encode


async def post_job(served: Served, request: Request) -> Reply:
    """Open a job: 201; 200 if the same ref has opened it before."""
    refuse_nul(request.body)
    asked = read_json(_job, request.body)

    async def work(tx: Pass) -> tuple[StockJob, bool]:
        return await stock_jobs.open_stock_job(tx, asked)

    job, is_new = await served.knowledge.run_pass("stock", work)
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return Reply(status, _encode(job), headers=replayed(is_replay=not is_new))


async def list_jobs(served: Served, request: Request) -> Reply:
    """List jobs, the newest first."""
    query = _query(request, "status", "limit")
    status: Any = query.get("status")
    if status is not None and status not in get_args(Status):
        sentence = f"A job is one of {', '.join(get_args(Status))}."
        raise Refusal("invalid_query", sentence, field="status")
    limit = _number(query, "limit", 100, 1)

    async def work(tx: Tx) -> list[StockJob]:
        return await stock_jobs.list_stock_jobs(tx, status, limit)

    return _ok({"jobs": await served.database.run(served.schema, work)})


async def get_job(served: Served, job_id: str, request: Request) -> Reply:
    """Read a job with its batches; `next` is where the next page begins."""
    query = _query(request, "after", "limit")
    after, limit = _number(query, "after", 0, 0), _number(query, "limit", 100, 1)

    async def work(tx: Tx) -> Any:
        found = await stock_jobs.find_stock_job(tx, _id(job_id))
        batches = await stock_jobs.list_batches(tx, found.job.id, after, limit)
        following = batches[-1].id if len(batches) == limit else None
        return {"job": found.job, "batches": batches, "next": following}

    return _ok(await served.database.run(served.schema, work))


async def put_batch(served: Served, job_id: str, ref: str, request: Request) -> Reply:
    """Take a batch in: 202; 200 if it was sent before."""
    refuse_nul(request.body)
    if not 1 <= len(ref) <= stock_jobs.MAX_REF:
        sentence = f"The ref of a batch has 1 to {stock_jobs.MAX_REF} characters."
        raise Refusal("invalid_request", sentence, field="ref")
    now = served.knowledge.clock.now()

    async def work(tx: Tx) -> Any:
        return await stock_jobs.add_batch(tx, _id(job_id), ref, request.body, now)

    batch, is_new = await served.database.run(served.schema, work)
    status = HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK
    return Reply(status, _encode(batch), headers=replayed(is_replay=not is_new))


async def get_batch(served: Served, job_id: str, ref: str, request: Request) -> Reply:
    """Read what became of a batch's rows; `next` is where the next page begins."""
    query = _query(request, "after", "limit", "result")
    after, limit = _number(query, "after", -1, -1), _number(query, "limit", 1_000, 1)
    result = query.get("result")
    if result is not None and result not in RESULTS:
        raise Refusal("invalid_query", f"A result is one of {', '.join(RESULTS)}.", field="result")

    async def work(tx: Tx) -> Any:
        batch = await stock_jobs.find_batch(tx, _id(job_id), ref)
        rows = await stock_jobs.read_results(tx, batch, after, limit, result=result)
        following = rows[-1].row if len(rows) == limit else None
        return {"batch": batch, "results": rows, "next": following}

    return _ok(await served.database.run(served.schema, work))


async def post_finish(served: Served, job_id: str, request: Request) -> Reply:
    """End a job: 200 when it has ended, 202 while it retires; a dry run tells what it would."""
    asked = read_json(_ending, request.body or b"{}")
    answer = await stock_jobs.finish_stock_job(served.knowledge, _id(job_id), asked)
    is_running = isinstance(answer, StockJob) and answer.status == "running"
    return Reply(HTTPStatus.ACCEPTED if is_running else HTTPStatus.OK, _encode(answer))


async def post_abandon(served: Served, job_id: str, request: Request) -> Reply:
    """Give a job up: it has failed then."""
    refuse_nul(request.body)
    asked = read_json(_abandoning, request.body)
    now = served.knowledge.clock.now()

    async def work(tx: Tx) -> StockJob:
        return await stock_jobs.abandon_stock_job(tx, _id(job_id), asked.reason, now)

    return _ok(await served.database.run(served.schema, work))


def _ok(document: object) -> Reply:
    return Reply(HTTPStatus.OK, _encode(document))


def _id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Refusal("invalid_id", f"{text[:60]!r} is no id: it is a UUID.") from None


def _query(request: Request, *names: str) -> dict[str, str]:
    fields = request.query()
    for name in fields:
        if name not in names:
            sentence = f"The query takes {', '.join(names)}."
            raise Refusal("invalid_query", sentence, field=name[:100])
    return {name: values[-1] for name, values in fields.items()}


def _number(query: dict[str, str], name: str, default: int, least: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    most = MAX_PAGE if name == "limit" else 2**31
    if not text.lstrip("-").isdecimal() or len(text) > 12 or not least <= int(text) <= most:  # noqa: PLR2004
        raise Refusal("invalid_query", f"{name} is a number from {least} to {most}.", field=name)
    return int(text)
