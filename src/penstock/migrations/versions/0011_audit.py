"""Why stock is what it is, and the audit that goes on where it was: causes, baselines, findings."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from penstock.errors import invariant

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run `0011_audit.sql`."""
    statements = Path(__file__).with_suffix(".sql").read_text("utf-8")
    driver = op.get_bind().connection.driver_connection
    invariant(driver is not None, "alembic has no connection")
    if driver is not None:
        driver.execute(statements.encode())
