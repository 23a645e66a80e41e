"""Which tables only ever grow, and the triggers that see to it.

Alembic's batch mode drops triggers silently, so every migration ends by making them again from this one list.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

APPEND_ONLY: Final = (
    "audit_log",
    "audit_seals",
    "ledger_transactions",
    "ledger_entries",
    "decisions",
    "approval_votes",
    "policies",
)


def make_append_only(conn: sa.Connection) -> None:
    """Make, or make again, the triggers that refuse UPDATE and DELETE on the append-only tables."""
    present = set(sa.inspect(conn).get_table_names())
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION agentpay_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN RAISE EXCEPTION USING MESSAGE = 'append-only: ' || TG_TABLE_NAME; END $$"
        )
    for name in APPEND_ONLY:
        if name in present:
            _protect(conn, name)


def _protect(conn: sa.Connection, name: str) -> None:
    for verb in ("UPDATE", "DELETE", "TRUNCATE") if conn.dialect.name == "postgresql" else ("UPDATE", "DELETE"):
        trigger = f"{name}_no_{verb.lower()}"
        before = f"CREATE TRIGGER {trigger} BEFORE {verb} ON {name}"
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql(f"DROP TRIGGER IF EXISTS {trigger} ON {name}")
            conn.exec_driver_sql(f"{before} FOR EACH STATEMENT EXECUTE FUNCTION agentpay_append_only()")
        else:
            conn.exec_driver_sql(f"DROP TRIGGER IF EXISTS {trigger}")
            conn.exec_driver_sql(f"{before} BEGIN SELECT RAISE(ABORT, 'append-only: {name}'); END")
