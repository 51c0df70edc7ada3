"""Brings one account's schema to the newest version, and tells which version it has.

Owns the bridge to alembic. The version table lives in the account's own schema, so that accounts
migrate one by one, each resumable. Lock and statement time-outs keep a busy account running.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

FOLDER = Path(__file__).parent
LOCK_TIMEOUT = "10s"
STATEMENT_TIMEOUT = "10min"


def migrate_schema(conninfo: str, schema: str) -> None:
    """Run every migration that the schema lacks, in one transaction each."""
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=NullPool
    )
    with engine.connect() as connection:
        connection.execute(
            text(
                f"SET search_path TO {schema}; SET lock_timeout TO '{LOCK_TIMEOUT}'; "
                f"SET statement_timeout TO '{STATEMENT_TIMEOUT}'"
            )
        )
        connection.commit()
        config = Config()
        config.set_main_option("script_location", str(FOLDER))
        config.attributes["connection"] = connection
        config.attributes["schema"] = schema
        command.upgrade(config, "head")
        connection.commit()
