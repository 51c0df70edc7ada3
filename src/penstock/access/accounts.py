"""Accounts: tenants, each in a PostgreSQL schema of its own.

Owns the registry `penstock.account` and the names of schemas. Nothing crosses accounts: every
transaction starts inside one schema (`db.begin`).
"""

from __future__ import annotations

import re

import psycopg

from penstock.errors import Refusal

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_REGISTRY = b"""
CREATE SCHEMA IF NOT EXISTS penstock;
CREATE TABLE IF NOT EXISTS penstock.account (
    name text PRIMARY KEY,
    schema_name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""
_REGISTRY_LOCK = 8_307_411_905_118_001  # serialises those who create or drop accounts


def schema_of(name: str) -> str:
    """Return the schema of an account; refuses with `invalid_account_name`."""
    if not _NAME.fullmatch(name):
        raise Refusal(
            "invalid_account_name",
            f"{name[:50]!r} is no account name: use up to 40 of a-z, 0-9 and _, a letter first.",
        )
    return f"account_{name}"


def create_account(conninfo: str, name: str) -> bool:
    """Create the account's schema and migrate it; False when it was there (then only migrated)."""
    # Alembic takes 25 MB, and no serving process needs it.
    from penstock.migrations.run import migrate_schema  # noqa: PLC0415

    schema = schema_of(name)
    with psycopg.connect(conninfo) as connection:
        connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (_REGISTRY_LOCK,))
        connection.execute(_REGISTRY)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
        cursor = connection.execute(
            b"INSERT INTO penstock.account (name, schema_name) VALUES (%s, %s) "
            b"ON CONFLICT DO NOTHING",
            (name, schema),
        )
        is_new = cursor.rowcount == 1
    migrate_schema(conninfo, schema)
    return is_new


def list_accounts(conninfo: str) -> list[str]:
    """Return the names of all accounts, sorted."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(_REGISTRY)
        rows = connection.execute(b"SELECT name FROM penstock.account ORDER BY name").fetchall()
    return [name for (name,) in rows]


def drop_account(conninfo: str, name: str) -> None:
    """Drop the account with everything in it. There is no way back."""
    schema = schema_of(name)
    with psycopg.connect(conninfo) as connection:
        connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (_REGISTRY_LOCK,))
        connection.execute(_REGISTRY)
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
        connection.execute(b"DELETE FROM penstock.account WHERE name = %s", (name,))
