"""Feeds: stock jobs of many batches, positions that a full feed retires, acknowledged orders."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from penstock.errors import invariant

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run `0013_feeds.sql`."""
    statements = Path(__file__).with_suffix(".sql").read_text("utf-8")
    driver = op.get_bind().connection.driver_connection
    invariant(driver is not None, "alembic has no connection")
    if driver is not None:
        driver.execute(statements.encode())
