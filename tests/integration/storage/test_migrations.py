"""The migrations make exactly what the models say, on both databases, and Alembic is loaded only for that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from agentpay.storage import Store
from agentpay.storage.metadata import models
from agentpay.storage.migrations import generate
from agentpay.storage.schema import REVISION, VERSION_TABLE, prepare
from agentpay.storage.triggers import APPEND_ONLY, make_append_only
from integration.storage.schemas import schema_of


@pytest.fixture
def migrated(empty_database: str) -> Iterator[Store]:
    """A database that the migrations made."""
    store = Store(empty_database)
    prepare(store)
    yield store
    store.close()


def test_what_is_migrated_is_what_the_models_say(migrated: Store) -> None:
    with migrated.engine.connect() as conn:
        context = MigrationContext.configure(
            conn, opts={"include_object": _ours, "compare_type": _differs, "version_table": VERSION_TABLE}
        )
        assert compare_metadata(context, models()) == []


def test_what_is_migrated_is_what_the_models_would_make(migrated: Store, databases: Any, dialect: Any) -> None:
    """Down to CHECK constraints, the conditions of partial indexes and triggers, which Alembic does not compare."""
    url = databases.create(dialect, empty=True)
    made = Store(url)
    with made.backend.creating() as conn:
        models().create_all(conn)
        make_append_only(conn)
    assert schema_of(migrated) == schema_of(made)
    made.close()
    databases.drop(url)


def test_every_append_only_table_has_its_triggers(migrated: Store) -> None:
    verbs = ("update", "delete") if migrated.dialect == "sqlite" else ("update", "delete", "truncate")
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if migrated.dialect == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    )
    found = {row[0] for row in migrated.read(lambda tx: tx.all(sa.text(query)))}
    assert found == {f"{name}_no_{verb}" for name in APPEND_ONLY for verb in verbs}


def test_a_database_that_is_up_to_date_is_opened_without_alembic(migrated: Store) -> None:
    program = (
        "import sys\n"
        "import agentpay\n"
        "assert 'alembic' not in sys.modules, 'by import agentpay'\n"
        "from agentpay.manager import PaymentManager\n"
        "PaymentManager(sys.argv[1], provider='mock').close()\n"
        "assert 'alembic' not in sys.modules, 'by opening'\n"
    )
    url = migrated.engine.url.set(drivername=migrated.dialect).render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-c", program, url], check=True, timeout=60)


def test_a_migration_is_generated_for_what_the_models_say_more(tmp_path: Path, monkeypatch: Any) -> None:
    more = sa.MetaData()
    for table in models().tables.values():
        table.to_metadata(more)
    more.tables["payments"].append_column(sa.Column("note", sa.String))
    monkeypatch.setattr(generate, "models", lambda: more)
    path = generate.write("0002", "Payments have a note.", tmp_path)
    text = path.read_text("utf-8")
    assert path.name == "0002_payments_have_a_note.py"
    assert "add_column(sa.Column('note', sa.String(), nullable=True))" in text
    assert f"down_revision = '{REVISION}'" in text
    compile(text, str(path), "exec")


def _ours(_object: object, name: str | None, kind: str, *_rest: object) -> bool:
    return not (kind == "table" and str(name).startswith("mock_"))


def _differs(context: MigrationContext, _column: object, _model: object, found: Any, meant: Any) -> bool:
    """Whether two types are different ones on this database."""
    assert context.dialect is not None
    return _named(found, context.dialect) != _named(meant, context.dialect)


def _named(kind: Any, dialect: Any) -> str:
    return str(kind.dialect_impl(dialect).compile(dialect=dialect))
