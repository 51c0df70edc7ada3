"""The errors file: what was wrong with which row, as CSV beside the file that is imported.

Owns writing it so that it agrees with what is committed: a chunk's faults are written before its
pass commits, at a place that the chunk's next attempt overwrites; a run that goes on after another
first takes out what that one wrote of rows that are still to be done.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from penstock.bulk.model import Fault
from penstock.errors import Refusal

COLUMNS = ("row", "field", "reason", "code")


def path_for(imported: Path) -> Path:
    """Return where the errors of a file are written."""
    return imported.with_name(f"{imported.name}.errors.csv")


class ErrorsFile:
    """The errors file of one import; there is none until there is a fault."""

    def __init__(self, imported: Path, rows_done: int) -> None:
        self.path = path_for(imported)
        self._size = 0
        try:
            self._keep(rows_done)
        except OSError as error:
            sentence = f"{self.path} cannot be written: {error.strerror}."
            raise Refusal("errors_file_unwritable", sentence, file=str(self.path)) from error

    def _keep(self, rows_done: int) -> None:
        """Keep what is about rows that are done; without any, remove the file."""
        kept: list[Fault] = []
        if rows_done and self.path.exists():
            with self.path.open(encoding="utf-8", newline="") as stream:
                kept = [
                    Fault(int(row["row"]), row["field"], row["reason"], row["code"])
                    for row in csv.DictReader(stream)
                    if int(row["row"]) <= rows_done
                ]
        self.path.unlink(missing_ok=True)
        self.write(self._size, kept)

    def write(self, mark: int, faults: Sequence[Fault]) -> int:
        """Write faults at a mark, over whatever came after it; returns the mark behind them."""
        if self._size > mark:
            with self.path.open("r+b") as stream:
                stream.truncate(mark)
            self._size = mark
        if faults:
            with self.path.open("ab") as stream:
                stream.write(_lines(faults, with_header=mark == 0))
                self._size = stream.tell()
        return self._size

    @property
    def mark(self) -> int:
        """The place behind what is written."""
        return self._size


def _lines(faults: Sequence[Fault], *, with_header: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if with_header:
        writer.writerow(COLUMNS)
    writer.writerows((f.row, f.field, f.reason, f.code) for f in faults)
    return text.getvalue().encode("utf-8")
