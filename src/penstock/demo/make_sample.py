"""The script that made the packaged sample: `python -m penstock.demo.make_sample PARQUET OUT_DIR`.

Owns which slice is shipped and how it is written. The slice is ten whole weeks, so that weekdays
keep their proportions: 13 September to 21 November 2010, from ordinary trade into the Christmas
peak, over the end of summer time. All orders of those weeks, none chosen.

Each file's metadata says whether its rows are real or made, and from what.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import polars as pl

from penstock.demo.clean import clean_lines, read_raw
from penstock.demo.draw import SEED
from penstock.demo.sample import Sample, sample_of
from penstock.errors import Refusal

FIRST_DAY = date(2010, 9, 13)
LAST_DAY = date(2010, 11, 21)
SOURCE = "Online Retail II (D. Chen, UCI Machine Learning Repository), CC BY 4.0"
# What is made in a frame that is not wholly made.
_PARTLY_MADE = {
    "products": "weight_g",
    "orders": "channel_ref",
    "customers": "tier, town, address, latitude, longitude",
    "order_lines": "",
}


def slice_of(lines: pl.DataFrame) -> pl.DataFrame:
    """Return the lines of orders placed within the shipped weeks, by the shop's clock."""
    day = pl.col("placed_at").dt.convert_time_zone("Europe/London").dt.date()
    return lines.filter(day.is_between(FIRST_DAY, LAST_DAY))


def write_sample(sample: Sample, folder: Path) -> int:
    """Write every frame as Parquet into the folder, labelled; return the bytes written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for name in Sample.__struct_fields__:
        frame: pl.DataFrame = getattr(sample, name)
        path = folder / f"{name}.parquet"
        frame.write_parquet(path, compression="zstd", compression_level=19, metadata=label_of(name))
        written += path.stat().st_size
    return written


def label_of(name: str) -> dict[str, str]:
    """Return what a frame's file says of itself: made or real, which columns, seed or source."""
    if name not in _PARTLY_MADE:
        return {"made": "true", "seed": str(SEED)}
    made = _PARTLY_MADE[name]
    label = {"made": "partly" if made else "false", "source": SOURCE}
    return {**label, "made_columns": made, "seed": str(SEED)} if made else label


def main(arguments: list[str]) -> int:
    """Make the sample from the raw file; return the exit status."""
    try:
        raw, folder = (Path(argument) for argument in arguments)
    except ValueError:
        sys.stderr.write("usage: python -m penstock.demo.make_sample PARQUET OUT_DIR\n")
        return 2
    try:
        sample = sample_of(slice_of(clean_lines(read_raw(raw))))
    except Refusal as refusal:
        sys.stderr.write(f"{refusal.message}\n")
        return 1
    size = write_sample(sample, folder)
    counts = ", ".join(
        f"{getattr(sample, name).height} {name}" for name in Sample.__struct_fields__
    )
    sys.stdout.write(f"{folder}: {size} bytes; {counts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
