"""Which of the workflows that come with Penstock an account has been given."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from penstock.errors import invariant

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run `0014_shipped.sql`."""
    statements = Path(__file__).with_suffix(".sql").read_text("utf-8")
    driver = op.get_bind().connection.driver_connection
    invariant(driver is not None, "alembic has no connection")
    if driver is not None:
        driver.execute(statements.encode())
