"""Log lines: their form, their level, and that nothing else is written."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from penstock.config import Config
from penstock.telemetry import configure_logging


@pytest.fixture(autouse=True)
def logging_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines_at(config: Config) -> list[str]:
    stream = io.StringIO()
    configure_logging(config, stream)
    log = structlog.get_logger("penstock.orders")
    log.debug("order_read")
    log.info("order_booked", order_ref="A-1", qty=3)
    logging.getLogger("somebody.else").warning("disk is slow")
    return stream.getvalue().splitlines()


def test_a_json_line_is_one_object_with_its_fields() -> None:
    booked, foreign = map(json.loads, lines_at(Config(log_format="json")))
    assert booked.pop("timestamp").endswith("Z")
    assert booked == {
        "event": "order_booked",
        "level": "info",
        "logger": "penstock.orders",
        "order_ref": "A-1",
        "qty": 3,
    }
    assert foreign["event"] == "disk is slow"
    assert foreign["logger"] == "somebody.else"


def test_a_level_hides_what_is_below_it() -> None:
    assert len(lines_at(Config(log_format="json", log_level="debug"))) == 3
    assert len(lines_at(Config(log_format="json", log_level="warning"))) == 1


def test_a_console_line_reads_without_colours_where_no_terminal_is() -> None:
    booked = lines_at(Config(log_format="console"))[0]
    assert "order_booked" in booked
    assert "qty=3" in booked
    assert "\x1b" not in booked


def test_auto_means_json_where_no_terminal_is() -> None:
    assert json.loads(lines_at(Config(log_format="auto"))[0])["event"] == "order_booked"


def test_an_exception_travels_in_its_line() -> None:
    stream = io.StringIO()
    configure_logging(Config(log_format="json"), stream)
    try:
        int("no such shelf")
    except ValueError:
        structlog.get_logger("penstock").exception("job_failed")
    assert "no such shelf" in json.loads(stream.getvalue())["exception"]
