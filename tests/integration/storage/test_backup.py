"""A copy of a SQLite database that is in use: whole, of one moment, its owner's alone, and marked as a copy."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentpay.doctor.checks import examine
from agentpay.errors import ConfigurationError, SchemaOutdated, StorageCorrupt
from agentpay.storage import Store, Tx
from agentpay.storage.backup import back_up
from agentpay.storage.migrate import upgrade_to
from agentpay.storage.schema import install, known_revision
from agentpay.storage.texts import keep
from conftest import OpenStore
from support.forks import in_child

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def pair_of(number: int) -> Callable[[Tx], None]:
    """A write of two rows."""

    def write(tx: Tx) -> None:
        for side in "ab":
            keep(tx, f"{side}-{number}", "kind", "x" * 2000)

    return write


@SQLITE
def test_a_copy_is_whole_while_others_write(store: Store, open_store: OpenStore, tmp_path: Path) -> None:
    """Each write makes two rows: a copy has both or neither."""
    other, stop, begun = open_store(), threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            other.write(pair_of(number))
            begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(20)
    try:
        for number in range(5):
            back_up(store, tmp_path / f"{number}.db")
    finally:
        stop.set()
        thread.join(20)
    for number in range(5):
        copy = sqlite3.connect(tmp_path / f"{number}.db")
        left, right = copy.execute("SELECT sum(owner_id LIKE 'a-%'), sum(owner_id LIKE 'b-%') FROM texts").fetchone()
        assert left == right >= 1
        assert copy.execute("SELECT is_copy FROM installation").fetchone() == (1,)
        copy.close()
    taken = open_store(f"sqlite:///{tmp_path / '0.db'}")
    assert examine(taken).breaches == ()


@SQLITE
def test_only_its_owner_reads_it_and_the_source_stays_as_it_is(store: Store, tmp_path: Path) -> None:
    back_up(store, tmp_path / "copy.db")
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("copy")] == ["copy.db"]
    with store.engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT is_copy FROM installation").scalar() == 0


@SQLITE
def test_nothing_is_overwritten_and_nothing_half_made_is_left(store: Store, tmp_path: Path) -> None:
    (tmp_path / "there.db").write_text("mine")
    with pytest.raises(ConfigurationError, match="there already"):
        back_up(store, tmp_path / "there.db")
    assert (tmp_path / "there.db").read_text() == "mine"
    with pytest.raises(ConfigurationError, match="cannot be written"):
        back_up(store, tmp_path / "no" / "folder.db")


def test_an_older_database_is_copied_as_it_is(databases: Any, tmp_path: Path) -> None:
    """The backup before an upgrade: opened by the new program first, it would be one of after the upgrade."""
    url = databases.create("sqlite", empty=True)
    store = Store(url)
    with pytest.raises(ConfigurationError, match="empty"):
        back_up(store, tmp_path / "copy.db")
    with store.backend.creating() as conn:
        upgrade_to(conn, "0005")
    install(store, mode="test")
    back_up(store, tmp_path / "copy.db")
    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("SELECT version_num FROM agentpay_revision").fetchone() == ("0005",)
    assert copy.execute("SELECT is_copy FROM installation").fetchone() == (1,)
    copy.close()
    assert known_revision(store) == "0005"
    store.close()
    databases.drop(url)


def test_a_copy_that_cannot_be_marked_is_not_made(databases: Any, tmp_path: Path) -> None:
    url = databases.create("sqlite", empty=True)
    store = Store(url)
    with store.backend.creating() as conn:
        upgrade_to(conn, "0002")
    with pytest.raises(SchemaOutdated, match="0002 cannot be marked"):
        back_up(store, tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []
    store.close()
    databases.drop(url)


@SQLITE
def test_a_folder_that_may_not_be_written(store: Store) -> None:
    def code() -> str:
        with pytest.raises(ConfigurationError, match="Permission denied"):
            back_up(store, Path("/backup-of-nobody.db"))
        return "refused"

    assert in_child(code, unprivileged=True) == "refused"


def test_a_damaged_database_gives_no_copy(databases: Any, tmp_path: Path) -> None:
    url = databases.create("sqlite")
    path = Path(url.removeprefix("sqlite:///"))
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    store = Store(url)
    with pytest.raises(StorageCorrupt):
        back_up(store, tmp_path / "copy.db")
    store.close()
    assert not list(tmp_path.glob("copy*"))
    databases.drop(url)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_postgresql_has_its_own(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        back_up(store, tmp_path / "copy.db")
    assert "pg_dump" in caught.value.next_step
