"""The edge of the command line: an error becomes one sentence and an exit status.

Owns the table from kinds of error to what a person reads. A refusal is exit status 2, as is a
wrong option; everything else that goes wrong is 1 and says how to see the traceback
(`PENSTOCK_LOG_LEVEL=debug` shows it); Ctrl-C is 130, as shells have it.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Any

import typer

from penstock.errors import Refusal, Transient

REFUSED, FAILED, INTERRUPTED = 2, 1, 130


class Door(typer.Typer):
    """The command line as a whole; nothing leaves it with a traceback unless asked for."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that the arguments name, and exit with its status."""
        try:
            return super().__call__(*args, **kwargs)
        except KeyboardInterrupt:
            _leave("Interrupted.", INTERRUPTED)
        except BrokenPipeError:  # `penstock … | head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)
        except Refusal as refusal:
            _leave(refusal.message, REFUSED)
        except Exception as error:  # noqa: BLE001 (the edge: whatever it is becomes a sentence)
            if os.environ.get("PENSTOCK_LOG_LEVEL", "").strip() == "debug":
                traceback.print_exception(error)
            _leave(_sentence(error), FAILED)


def _leave(sentence: str, status: int) -> None:
    typer.secho(sentence, err=True, fg=typer.colors.RED)
    sys.exit(status)


def _sentence(error: Exception) -> str:
    """Say what went wrong, and the way out where there is one."""
    if _is_disk_full(error):
        return (
            "The disk is full: free some space, or set PENSTOCK_DATA_DIR to a folder on another "
            "disk, then run the command again."
        )
    if _is_server_lost(error):
        return (
            "PostgreSQL went away while the command ran; what was committed is safe. Run the "
            "command again: it starts the server if need be and goes on."
        )
    return (
        f"Something broke: {type(error).__name__}: {' '.join(str(error).split())[:300]}\n"
        "PENSTOCK_LOG_LEVEL=debug shows where."
    )


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if getattr(error, "sqlstate", None) == "53100":
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_server_lost(error: BaseException) -> bool:
    import psycopg
    import psycopg_pool

    lost = (Transient, psycopg.OperationalError, psycopg_pool.PoolTimeout)
    return isinstance(error, lost)
