"""`store.read` and `store.write`: one transaction, once, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from agentpay.errors import NestedWrite, StorageBusy, StorageError
from agentpay.storage import MemoryStorage, Store, Tx, storage_url
from agentpay.storage.schema import install, prepare
from agentpay.storage.tables import TextRow, WriteRow
from agentpay.storage.texts import keep, text_of
from conftest import OpenStore
from support.counting import count, counted, make_counter
from support.faulty import faulty_store, raising, server_error


def counting(calls: list[int]) -> Callable[[Tx], int]:
    """A write that counts up, and says how often it was called."""

    def write(tx: Tx) -> int:
        calls.append(1)
        tx.execute(sa.text("UPDATE test_counter SET n = n + 1"))
        return len(calls)

    return write


def test_what_is_written_is_read(store: Store) -> None:
    assert store.write(lambda tx: keep(tx, "pay_1", "description", "AI analysis")) is None
    assert store.read(lambda tx: text_of(tx, "pay_1", "description")) == "AI analysis"
    assert store.read(lambda tx: text_of(tx, "pay_1", "reason")) is None


def test_a_text_is_kept_once(store: Store) -> None:
    for body in ("first", "second", None):
        store.write(lambda tx, body=body: keep(tx, "pay_1", "description", body))  # type: ignore[misc]
    assert store.read(lambda tx: text_of(tx, "pay_1", "description")) == "first"


def test_an_exception_undoes_the_write(store: Store) -> None:
    def write(tx: Tx) -> None:
        keep(tx, "pay_1", "description", "x")
        raise KeyError("stop")

    with pytest.raises(KeyError):
        store.write(write)
    assert store.read(lambda tx: text_of(tx, "pay_1", "description")) is None


def test_a_refusal_is_a_value_and_what_it_wrote_is_kept(store: Store) -> None:
    def write(tx: Tx) -> Exception:
        keep(tx, "refusal_1", "reason", "no")
        return ValueError("refused")

    assert isinstance(store.write(write), ValueError)
    assert store.read(lambda tx: text_of(tx, "refusal_1", "reason")) == "no"


def test_a_nested_write_raises_and_leaves_nothing(store: Store) -> None:
    def write(tx: Tx) -> None:
        keep(tx, "outer", "kind", "x")
        store.write(lambda inner: keep(inner, "inner", "kind", "x"))

    with pytest.raises(NestedWrite):
        store.write(write)
    assert store.read(lambda tx: tx.all(sa.select(sa.column("owner_id")).select_from(sa.table("texts")))) == []
    store.write(lambda tx: keep(tx, "later", "kind", "x"))  # the thread may write again


def test_a_read_keeps_nothing(store: Store) -> None:
    def write(tx: Tx) -> None:
        tx.insert(TextRow, owner_id="a", kind="b", body="c")

    if store.dialect == "postgresql":
        with pytest.raises(StorageError):
            store.read(write)
    else:
        store.read(write)
    assert store.read(lambda tx: text_of(tx, "a", "b")) is None


def test_a_read_sees_one_snapshot(store: Store, open_store: OpenStore) -> None:
    other = open_store()

    def read(tx: Tx) -> tuple[str | None, str | None]:
        before = text_of(tx, "a", "b")
        other.write(lambda writing: keep(writing, "a", "b", "new"))
        return before, text_of(tx, "a", "b")

    assert store.read(read) == (None, None)
    assert store.read(lambda tx: text_of(tx, "a", "b")) == "new"


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_write_that_met_another_is_run_again(store: Store, database: str, sqlstate: str) -> None:
    make_counter(store)
    faulty = faulty_store(database, before=[raising(server_error(sqlstate))] * 2)
    calls: list[int] = []
    faulty.write(counting(calls))
    faulty.close()
    assert len(calls) == 3
    assert counted(store) == 1


def test_a_write_that_meets_others_for_ever_is_busy(store: Store, database: str) -> None:
    make_counter(store)
    faulty = faulty_store(database, before=[raising(server_error("40001"))] * 100)
    with pytest.raises(StorageBusy) as caught:
        count(faulty)
    faulty.close()
    assert caught.value.retryable
    assert counted(store) == 0


def test_a_lost_answer_to_commit_does_not_apply_the_write_twice(store: Store, database: str) -> None:
    make_counter(store)
    faulty = faulty_store(database, after=[raising(server_error(None, lost=True))])
    calls: list[int] = []
    assert faulty.write(counting(calls)) == 1
    faulty.close()
    assert counted(store) == 1
    assert len(calls) == 1


def test_a_connection_lost_before_commit_runs_the_write_again(store: Store, database: str) -> None:
    make_counter(store)
    faulty = faulty_store(database, before=[raising(server_error(None, lost=True))])
    calls: list[int] = []
    faulty.write(counting(calls))
    faulty.close()
    assert counted(store) == 1
    assert len(calls) == 2


def test_after_a_lost_answer_it_waits_for_a_server_that_restarts(store: Store, database: str) -> None:
    make_counter(store)
    away = raising(server_error(None))
    faulty = faulty_store(database, after=[raising(server_error(None, lost=True)), away, away])
    count(faulty)
    faulty.close()
    assert counted(store) == 1


def test_what_cannot_be_known_is_said(store: Store, database: str) -> None:
    make_counter(store)
    faulty = faulty_store(database, after=[raising(server_error(None, lost=True)), raising(server_error("53100"))])
    with pytest.raises(StorageError, match="not known"):
        count(faulty)
    faulty.close()
    assert counted(store) == 1


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_backend_killed_before_its_commit(store: Store, open_store: OpenStore, database: str) -> None:
    make_counter(store)

    def kill(conn: sa.Connection) -> None:
        pid = conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        open_store().write(lambda tx: tx.scalar(sa.select(sa.func.pg_terminate_backend(pid))))

    faulty = faulty_store(database, before=[kill])
    count(faulty)
    faulty.close()
    assert counted(store) == 1


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_connections_closed_by_a_restart_are_made_anew(store: Store, open_store: OpenStore) -> None:
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    killer = open_store()
    make_counter(store)
    killer.write(lambda tx: tx.all(sa.text(others + "AND pid <> pg_backend_pid()")))
    assert counted(store) == 0
    killer.write(lambda tx: tx.all(sa.text(others + "AND pid <> pg_backend_pid()")))
    count(store)
    assert counted(store) == 1


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_server_that_is_not_there_is_named(database: str) -> None:
    url = sa.make_url(database).set(query={"host": "/nonexistent"}).render_as_string(hide_password=False)
    store = Store(url)
    with pytest.raises(StorageBusy, match="cannot be reached") as caught:
        prepare(store)
    store.close()
    assert "nonexistent" not in str(caught.value)


def test_a_memory_database_is_removed_when_it_is_closed() -> None:
    store = Store(storage_url(MemoryStorage()))
    prepare(store)
    install(store, mode="test")
    path = Path(str(store.engine.url.database))
    assert path.exists()
    store.close()
    assert not path.parent.exists()


def test_two_memory_databases_are_apart() -> None:
    one, other = Store("memory://"), Store("memory://")
    for store in (one, other):
        prepare(store)
    one.write(lambda tx: keep(tx, "a", "b", "c"))
    assert other.read(lambda tx: text_of(tx, "a", "b")) is None
    one.close()
    other.close()


def test_a_trial_sees_what_it_does_and_keeps_nothing(store: Store) -> None:
    def insert(tx: Tx) -> int:
        tx.insert(WriteRow, id="tried", at=tx.now())
        return int(tx.scalar(sa.text("SELECT count(*) FROM writes WHERE id = 'tried'")))

    before = store.read(lambda tx: tx.scalar(sa.text("SELECT count(*) FROM writes")))
    assert [store.trial(insert), store.trial(insert)] == [1, 1]
    assert store.read(lambda tx: tx.scalar(sa.text("SELECT count(*) FROM writes"))) == before
    with pytest.raises(NestedWrite):
        store.write(lambda _: store.trial(insert))
    with pytest.raises(NestedWrite):
        store.trial(lambda _: store.write(insert))
    with pytest.raises(ZeroDivisionError):
        store.trial(lambda _: 1 // 0)
    with pytest.raises(StorageError):
        store.trial(lambda tx: tx.execute(sa.text("SELECT nothing FROM nowhere")))
    assert store.write(insert) == 1
