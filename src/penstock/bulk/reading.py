"""Reading ahead: the next part of a file is read in a thread while the last one is written.

Owns the one thread; at most one part waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def read_ahead(parts: Iterator[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do the work for each part in order; the next part is made in a thread meanwhile."""
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(1, thread_name_prefix="penstock-import")
    coming = loop.run_in_executor(executor, next, parts, None)
    try:
        while (part := await coming) is not None:
            coming = loop.run_in_executor(executor, next, parts, None)
            await work(part)
    finally:
        coming.cancel()
        executor.shutdown(wait=False, cancel_futures=True)
