"""Feeds of stock for benchmarks: a made Parquet file, taken in as `penstock import` does.

Owns the file's shape; what taking it in means is `bulk`'s.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from penstock.app import Account
from penstock.bulk.imports import import_file
from penstock.bulk.model import Options, Summary

_OPTIONS = Options(channel="web", again=True)


def write_feed(file: Path, products: range, locations: int, least: int) -> None:
    """Write a count of every position of the products, `least` units or up to twice that."""
    size = len(products) * locations
    draw = np.random.default_rng(5)
    product, location = np.divmod(np.arange(size), locations)
    frame = pl.DataFrame(
        {
            "product": product + products.start,
            "location": location + 1,
            "on_hand": draw.integers(least, 2 * least, size),
        }
    )
    sku, at = pl.format("S{}", "product"), pl.format("L{}", "location")
    frame.select(sku=sku, location=at, on_hand="on_hand").write_parquet(file)


async def feed(account: Account, file: Path) -> Summary:
    """Take a file of counts in, also if it was taken in before."""
    return await import_file(account, "stock", file, options=_OPTIONS)
