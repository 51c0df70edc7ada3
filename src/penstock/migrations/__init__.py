"""Migrations: alembic with plain SQL, one account's schema at a time.

Owns the `versions/` folder (each version is a `.sql` file and a `.py` that names it) and
`migrate_schema`. Forward only; each fits the release that is still running (docs/STYLE.md).
"""
