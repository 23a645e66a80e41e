"""A database that is locked, read-only, full, damaged or none: a typed error, and nothing half-written. SQLite."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import AgentPayError, StorageBusy, StorageCorrupt, StorageError, StorageFull, StorageReadOnly
from agentpay.storage import FileStorage, Store, Tx, storage_url
from agentpay.storage.schema import install, prepare
from agentpay.storage.texts import keep, text_of
from conftest import OpenStore
from support.forks import in_child

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def path_of(url: str) -> Path:
    return Path(str(sa.make_url(url).database))


def test_another_program_holds_the_file(store: Store, open_store: OpenStore, database: str) -> None:
    other = sqlite3.connect(path_of(database), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    waiting = open_store(lock_timeout=0.2)
    with pytest.raises(StorageBusy) as caught:
        waiting.write(lambda tx: keep(tx, "a", "b", "c"))
    assert caught.value.retryable
    assert waiting.read(lambda tx: text_of(tx, "a", "b")) is None  # readers never wait
    other.execute("ROLLBACK")
    other.close()
    waiting.write(lambda tx: keep(tx, "a", "b", "c"))


def test_the_time_is_read_after_the_wait_for_another_program(
    store: Store, open_store: OpenStore, database: str
) -> None:
    from agentpay.clock import SystemClock
    from support.parallel import run_threads, values

    other = sqlite3.connect(path_of(database), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    late = open_store(clock=SystemClock())

    def run(index: int) -> float:
        if index == 0:
            time.sleep(0.3)
            released = time.time()
            other.execute("ROLLBACK")
            return released
        return late.write(lambda tx: tx.now()).timestamp()

    released, seen = values(run_threads(2, run))
    other.close()
    assert seen >= released


def test_a_connection_that_may_not_write(store: Store, open_store: OpenStore) -> None:
    reading = open_store()
    sa.event.listen(reading.engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON"))
    with pytest.raises(StorageReadOnly):
        reading.write(lambda tx: keep(tx, "a", "b", "c"))
    assert store.read(lambda tx: text_of(tx, "a", "b")) is None


@pytest.fixture
def foreign_folder(dialect: str) -> Iterator[Path]:
    """A folder that everybody can read and only its owner write, with a database in it."""
    with tempfile.TemporaryDirectory(prefix="agentpay-test-") as name:
        folder = Path(name)
        store = Store(storage_url(FileStorage(folder)))
        prepare(store)
        install(store, mode="test")
        store.close()
        for found in folder.iterdir():
            found.chmod(0o444)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_a_file_of_somebody_else(foreign_folder: Path) -> None:
    url = storage_url(FileStorage(foreign_folder))

    def open_it() -> list[str]:
        store = Store(url, lock_timeout=1)
        return [_code(lambda: prepare(store)), _code(lambda: store.write(lambda tx: keep(tx, "a", "b", "c")))]

    assert set(in_child(open_it, unprivileged=True)) <= {"STORAGE_READ_ONLY", "fine"}
    assert in_child(open_it, unprivileged=True)[1] == "STORAGE_READ_ONLY"


def test_a_folder_of_somebody_else(foreign_folder: Path) -> None:
    url = f"sqlite:///{foreign_folder / 'other.db'}"
    assert in_child(lambda: _code(lambda: prepare(Store(url))), unprivileged=True) == "STORAGE_READ_ONLY"
    assert _code(lambda: prepare(Store(f"sqlite:///{foreign_folder / 'no' / 'folder.db'}"))) == "STORAGE_READ_ONLY"


def _code(call: Any) -> str:
    try:
        call()
    except AgentPayError as exc:
        return exc.code
    return "fine"


def test_a_full_disk_undoes_the_whole_write(store: Store, open_store: OpenStore) -> None:
    full = open_store()
    sa.event.listen(full.engine, "connect", _leave_ten_pages)

    def write(tx: Tx) -> None:
        keep(tx, "small", "kind", "fits")
        keep(tx, "large", "kind", "x" * 1_000_000)

    with pytest.raises(StorageFull):
        full.write(write)
    assert store.read(lambda tx: text_of(tx, "small", "kind")) is None
    full.write(lambda tx: keep(tx, "small", "kind", "fits"))
    assert store.read(lambda tx: text_of(tx, "small", "kind")) == "fits"


def test_a_transaction_that_the_database_undid_is_not_taken_for_committed(store: Store) -> None:
    """A disk that is full while SQLite spills its cache ends the transaction, also where the error is overlooked."""

    def write(tx: Tx) -> None:
        keep(tx, "before", "kind", "x")
        tx.conn.exec_driver_sql("ROLLBACK")  # stands for SQLite's own

    with pytest.raises(StorageError, match="undone by the database"):
        store.write(write)
    assert store.read(lambda tx: text_of(tx, "before", "kind")) is None


def _leave_ten_pages(connection: Any, _record: object) -> None:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 10}")


def test_a_damaged_file(tmp_path: Path, dialect: str) -> None:
    url = storage_url(FileStorage(tmp_path))
    store = Store(url)
    prepare(store)
    store.write(lambda tx: keep(tx, "a", "b", "c"))
    store.close()
    damaged = path_of(url)
    data = damaged.read_bytes()
    damaged.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    store = Store(url)
    with pytest.raises(StorageCorrupt):
        store.read(lambda tx: text_of(tx, "a", "b"))
    with pytest.raises(StorageCorrupt):
        store.write(lambda tx: keep(tx, "d", "e", "f"))
    store.close()


def test_a_file_that_is_no_database(tmp_path: Path, dialect: str) -> None:
    (tmp_path / "agentpay.db").write_text("Dear diary, " * 1000)
    store = Store(storage_url(FileStorage(tmp_path)))
    with pytest.raises(StorageCorrupt, match="not a database"):
        prepare(store)
    store.close()
    assert (tmp_path / "agentpay.db").read_text().startswith("Dear diary")
