"""Log lines: how they look, where they go, and which are worth writing.

Owns the set-up of structlog and of the standard library's logging beneath it, so that a line of
Penstock and one of the HTTP server look alike. Modules log with `structlog.get_logger(__name__)`,
an event name in the past tense and values as fields; nothing is configured at import.

Invariant: log lines go to standard error; standard output belongs to a command's answer.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

from penstock.config import Config


def configure_logging(config: Config, stream: TextIO | None = None) -> None:
    """Set up this process's log by `log_level` and `log_format`; calling it again replaces it.

    Lines go to `stream`, by default standard error. As JSON each is one object with `event`,
    `level`, `logger`, `timestamp` (ISO 8601, UTC) and the fields.
    """
    target = stream or sys.stderr
    shared = _shared_processors()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_level(config)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(config, target),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_level(config))
    # One line per migrated table and per outgoing request is for debugging only.
    for chatty in ("alembic", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(max(_level(config), logging.WARNING))


def _level(config: Config) -> int:
    return logging.getLevelNamesMapping()[config.log_level.upper()]


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _renderers(config: Config, target: TextIO) -> list[Processor]:
    is_terminal = target.isatty()
    if config.log_format == "console" or (config.log_format == "auto" and is_terminal):
        # Not rich's, which takes seconds to draw every local variable, and shows whose they are.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
