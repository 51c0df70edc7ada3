"""Orders say how firmly they keep their stock: `orders.priority`, 0 to 9, 5 for those there are."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; its default is a constant, so that no row is written."""
    op.execute("ALTER TABLE orders ADD COLUMN priority smallint NOT NULL DEFAULT 5")
