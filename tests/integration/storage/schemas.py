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
    """The clauses of a statement, whose order in a table does not matter: what stands between commas that are in no
    inner parentheses."""
    head, _, body = re.sub(r"[\s\"]+", " ", sql or "").partition("(")
    clauses, depth = [""], 0
    for letter in body:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            clauses.append("")
        else:
            clauses[-1] += letter
    return (head, *sorted(" ".join(clause.split()).removesuffix(" )") for clause in clauses))
