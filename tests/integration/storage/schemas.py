"""What a database says of its own schema, to be compared with another's."""

from __future__ import annotations

import re

from agentpay.storage import Store

_POSTGRES = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
    " WHERE table_schema = 'public'",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace",
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
)


def schema_of(store: Store) -> set[tuple[object, ...]]:
    """Everything that the database says of its schema, triggers included, but for the marks of who made it."""
    with store.engine.connect() as conn:
        if store.dialect == "postgresql":
            rows = {tuple(row) for query in _POSTGRES for row in conn.exec_driver_sql(query).all()}
            return {row for row in rows if row[0] != "agentpay_revision" and not str(row[0]).startswith("mock_")}
        found = conn.exec_driver_sql("SELECT tbl_name, name, sql FROM sqlite_master").all()
        return {(table, name, _clauses(sql)) for table, name, sql in found if table != "agentpay_revision"}


def _clauses(sql: str | None) -> tuple[str, ...]:
    """The clauses of a statement, whose order in a table does not matter."""
    return tuple(sorted(re.sub(r"[\s\"]+", " ", clause).strip(" ,)") for clause in (sql or "").split("\n")))
