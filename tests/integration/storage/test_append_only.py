"""Append-only tables refuse UPDATE and DELETE, whoever asks: each table of the list, on both databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from agentpay.storage import Store, Tx
from agentpay.storage.triggers import APPEND_ONLY, make_append_only
from agentpay.storage.types import Base


def test_every_table_of_the_list_is_there(store: Store) -> None:
    assert set(APPEND_ONLY) <= set(sa.inspect(store.engine).get_table_names())


@pytest.mark.parametrize("name", APPEND_ONLY)
def test_nothing_is_changed_or_removed(store: Store, name: str) -> None:
    found = sa.Table(name, sa.MetaData(), autoload_with=store.engine)
    first = next(iter(found.columns))
    if store.dialect == "sqlite":
        _insert_one(store, found)
    statements = [sa.update(found).values({first.name: first}), sa.delete(found)]
    if store.dialect == "postgresql":
        statements.append(sa.text(f"TRUNCATE {name} CASCADE"))  # type: ignore[arg-type]
    else:
        statements.append(sa.text(f"INSERT OR REPLACE INTO {name} SELECT * FROM {name}"))  # type: ignore[arg-type]
    for statement in statements:
        with store.engine.connect() as conn, pytest.raises(sa.exc.DatabaseError, match="append-only"):
            conn.execute(statement)
    if store.dialect == "sqlite":
        _remove_again(store, name)


def _insert_one(store: Store, found: sa.Table) -> None:
    """A row of any values, on a connection that minds no foreign keys."""
    values = {column.name: 1 if isinstance(column.type, sa.Integer) else "x" for column in found.columns}
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    _raw(store, f"INSERT INTO {found.name} ({names}) VALUES ({marks})", tuple(values.values()))


def _remove_again(store: Store, name: str) -> None:
    """So that the invariants hold: the row was nonsense. Whoever owns the file can drop a trigger; the audit tells."""
    _raw(store, f"DROP TRIGGER {name}_no_delete")
    _raw(store, f"DELETE FROM {name}")
    with store.engine.connect() as conn:
        make_append_only(conn)
        conn.commit()


def _raw(store: Store, statement: str, values: tuple[object, ...] = ()) -> None:
    connection = sqlite3.connect(Path(str(store.engine.url.database)))
    with connection:
        connection.execute(statement, values)
    connection.close()


def test_the_list_names_tables_that_exist_in_the_models() -> None:
    import agentpay.audit.tables
    import agentpay.ledger.tables
    import agentpay.spending.tables  # noqa: F401

    assert set(APPEND_ONLY) <= set(Base.metadata.tables)


def test_other_tables_may_change(store: Store) -> None:
    def write(tx: Tx) -> None:
        tx.execute(sa.text("UPDATE installation SET mode = mode"))
        tx.execute(sa.text("DELETE FROM texts"))

    store.write(write)
