"""Reading ahead: the next part of a file is read in a thread while the last one is written.

Owns the one thread; at most one part waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def read_ahead(parts: Iterator[T]) -> AsyncGenerator[T]:
    """Give the parts in order; the next is made in a thread while one is worked on."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="penstock-import") as executor:
        coming = loop.run_in_executor(executor, next, parts, None)
        while (part := await coming) is not None:
            coming = loop.run_in_executor(executor, next, parts, None)
            try:
                yield part
            except BaseException:
                coming.cancel()
                raise
