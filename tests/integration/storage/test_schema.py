"""Opening a database: empty, older, newer, of the other mode, and by several programs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import Conflict, ModeMismatch, SchemaNewer, SchemaOutdated, StorageError
from agentpay.storage import FileStorage, Store, storage_url
from agentpay.storage.importing import import_from
from agentpay.storage.migrate import config, known_revisions
from agentpay.storage.schema import REVISION, Target, install, prepare
from agentpay.storage.texts import keep, text_of
from conftest import OpenStore
from support.forks import in_child
from support.parallel import values

HISTORY = Path(__file__).parent / "revisions" / "0001.jsonl"

_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "test_0002", "{down}", None, None


def upgrade():
    recreate = "always" if op.get_bind().dialect.name == "sqlite" else "auto"
    with op.batch_alter_table("audit_log", recreate=recreate) as batch:
        batch.add_column(sa.Column("note", sa.String, nullable=True))
"""


@pytest.fixture
def later(tmp_path: Path) -> Target:
    """A program one revision later: its migration rebuilds an append-only table."""
    (tmp_path / "test_0002.py").write_text(_MIGRATION.format(down=REVISION))
    return Target("test_0002", (tmp_path,))


@pytest.fixture
def empty_store(empty_database: str) -> Iterator[Store]:
    store = Store(empty_database)
    yield store
    store.close()


def set_up(_index: int, url: str) -> str:
    """A job for worker processes: open the database as a program does at its start."""
    store = Store(url)
    prepare(store)
    made = install(store, mode="test")
    store.close()
    return made.id


def test_the_revision_of_the_program_is_the_newest_migration() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(config()).get_heads() == [REVISION]
    assert REVISION in known_revisions()


def test_an_empty_database_is_created_and_a_second_time_left_alone(empty_store: Store) -> None:
    prepare(empty_store)
    first = install(empty_store, mode="test")
    prepare(empty_store)
    assert install(empty_store, mode="test").id == first.id
    assert len(first.secret) == 64


def test_a_created_sqlite_database_is_in_wal_mode_and_synced(empty_store: Store) -> None:
    prepare(empty_store)
    if empty_store.dialect == "sqlite":
        with empty_store.engine.connect() as conn:
            assert conn.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_programs_that_create_the_database_at_once_make_one(
    databases: Any, dialect: Any, run_processes: Callable[..., list[Any]]
) -> None:
    for _ in range(5):
        url = databases.create(dialect, empty=True)
        found = values(run_processes(3, "integration.storage.test_schema:set_up", (url,)))
        assert len(set(found)) == 1
        databases.drop(url)


def test_a_database_keeps_its_mode(store: Store) -> None:
    with pytest.raises(ModeMismatch):
        install(store, mode="live")


def test_a_database_of_a_later_program_is_refused(store: Store, open_store: OpenStore) -> None:
    store.write(lambda tx: tx.execute(sa.text("UPDATE agentpay_revision SET version_num = '9999'")))
    with pytest.raises(SchemaNewer, match="9999"):
        prepare(open_store())
    with pytest.raises(SchemaNewer, match="9999"):
        prepare(open_store(), upgrade=True)
    store.write(
        lambda tx: tx.execute(sa.text("UPDATE agentpay_revision SET version_num = :now").bindparams(now=REVISION))
    )


def test_a_database_with_an_applications_own_tables_of_the_same_names_is_refused_by_name(empty_store: Store) -> None:
    with empty_store.engine.begin() as conn:
        conn.execute(sa.text("CREATE TABLE customers (id INTEGER)"))
    with pytest.raises(Conflict, match=r"of our names, .*: customers") as caught:
        prepare(empty_store)
    assert "a database of its own" in caught.value.next_step
    with pytest.raises(Conflict, match=r"of our names, .*: customers"):
        import_from(empty_store, HISTORY)
    assert sa.inspect(empty_store.engine).get_table_names() == ["customers"]


def test_a_schema_that_is_missing_or_the_applications_own(databases: Any) -> None:
    """`search_path` in the URL: a schema of AgentPay's own beside the application's tables."""
    url = databases.create("postgresql", empty=True)
    store = Store(f"{url}&options=-csearch_path%3Dours" if "?" in url else f"{url}?options=-csearch_path%3Dours")
    with pytest.raises(StorageError, match="no schema by the name") as caught:
        prepare(store)
    assert "CREATE SCHEMA" in caught.value.next_step
    with store.engine.begin() as conn:
        conn.execute(sa.text("CREATE TABLE public.customers (id INTEGER)"))
        conn.execute(sa.text("CREATE SCHEMA ours"))
    prepare(store)
    assert install(store, mode="test").epoch == 1
    store.close()
    databases.drop(url)


def test_an_older_database_is_migrated_and_keeps_its_triggers(store: Store, later: Target) -> None:
    store.write(lambda tx: keep(tx, "a", "b", "c"))
    if store.dialect == "postgresql":
        with pytest.raises(SchemaOutdated):
            prepare(store, target=later)
        prepare(store, target=later, upgrade=True)
    else:
        prepare(store, target=later)
    prepare(store, target=later)
    assert store.read(lambda tx: text_of(tx, "a", "b")) == "c"
    assert "note" in {column["name"] for column in sa.inspect(store.engine).get_columns("audit_log")}
    assert _triggers(store) >= {"audit_log_no_update", "audit_log_no_delete"}


def test_an_older_database_opened_at_once_is_migrated_once(
    open_store: OpenStore, later: Target, run_processes: Callable[..., list[Any]], database: str
) -> None:
    folder = str(later.folders[0])
    assert values(run_processes(3, "integration.storage.test_schema:migrate", (database, folder))) == [None] * 3


def migrate(_index: int, url: str, folder: str) -> None:
    """A job for worker processes: the start of a program one revision later."""
    store = Store(url)
    prepare(store, target=Target("test_0002", (Path(folder),)), upgrade=True)
    store.close()


def test_a_migration_that_fails_changes_nothing(store: Store, tmp_path: Path) -> None:
    broken = _MIGRATION.format(down=REVISION) + "    op.execute('SELECT no_such_function()')\n"
    (tmp_path / "test_0002.py").write_text(broken)
    with pytest.raises(StorageError):
        prepare(store, target=Target("test_0002", (tmp_path,)), upgrade=True)
    assert "note" not in {column["name"] for column in sa.inspect(store.engine).get_columns("audit_log")}
    assert _triggers(store) >= {"audit_log_no_update", "audit_log_no_delete"}
    prepare(store)


def _triggers(store: Store) -> set[str]:
    where = "sqlite_master WHERE type = 'trigger'" if store.dialect == "sqlite" else "pg_trigger"
    column = "name" if store.dialect == "sqlite" else "tgname"
    return {row[0] for row in store.read(lambda tx: tx.all(sa.text(f"SELECT {column} FROM {where}")))}


def test_file_storage_makes_its_folder_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "what? 100% #1"
    store = Store(storage_url(FileStorage(folder)))
    prepare(store)
    store.close()
    assert (folder / "agentpay.db").exists()


def test_a_child_of_a_fork_and_its_parent_both_go_on(store: Store) -> None:
    store.write(lambda tx: keep(tx, "parent", "before", "x"))

    def child() -> str | None:
        store.write(lambda tx: keep(tx, "child", "kind", "x"))
        return store.read(lambda tx: text_of(tx, "parent", "before"))

    assert in_child(child) == "x"
    store.write(lambda tx: keep(tx, "parent", "after", "x"))
    assert store.read(lambda tx: text_of(tx, "child", "kind")) == "x"


def test_a_child_of_a_fork_does_not_remove_a_memory_database() -> None:
    store = Store("memory://")
    prepare(store)
    in_child(store.close)
    store.write(lambda tx: keep(tx, "a", "b", "c"))
    path = Path(str(store.engine.url.database))
    store.close()
    assert not path.parent.exists()
