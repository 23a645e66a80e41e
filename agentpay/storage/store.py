"""`store.read(fn)` and `store.write(fn)`: the only two ways to the database.

A write is one transaction. `fn(tx)` may be run twice and has no effect outside `tx`; it returns a value, and a refusal
is a value too, so that its audit row is committed before anything is raised. A write begun inside a write raises.
The caller is answered only after COMMIT.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, TypeVar

import sqlalchemy as sa

from agentpay.clock import Clock
from agentpay.errors import NestedWrite, StorageError
from agentpay.ids import Ids, RandomIds
from agentpay.storage.backends import POSTGRES_NOW, Backend, Holding, backend_for
from agentpay.storage.faults import connection_lost, may_run_again, translated, unreachable
from agentpay.storage.tables import WriteRow
from agentpay.storage.transaction import Tx

T = TypeVar("T")

_PAUSES: Final = (0.0, 0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 0.0)
"""How long to wait after each failed attempt of a write that may be tried again, in seconds."""


@dataclass
class _Tried(Generic[T]):
    """What is known of the attempts of one write."""

    values: list[T] = field(default_factory=list)
    """What `fn` returned, newest last: the newest belongs to the attempt that was committed, if any was."""
    commit_sent: bool = False
    """The attempt under way has come to its COMMIT."""
    commit_lost: bool = False
    """The answer to a COMMIT was lost, and it is not known yet what became of it."""


class Store:
    """The database of one installation. Safe to share between threads; after a fork, connections are made anew."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        lock_timeout: float = 30.0,
        backend: Backend | None = None,
    ) -> None:
        self.url = url
        self.ids = ids or RandomIds()
        self._backend: Backend = backend or backend_for(url, clock=clock, lock_timeout=lock_timeout)
        self._writing = threading.local()
        _STORES.add(self)

    @property
    def database_url(self) -> str:
        """The URL of the database itself: of `memory://`, that of its temporary file. It may hold a password."""
        return self._backend.engine.url.render_as_string(hide_password=False)

    @property
    def shown_url(self) -> str:
        """The same URL for people: without its password."""
        return self._backend.engine.url.render_as_string(hide_password=True)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._backend.dialect

    @property
    def engine(self) -> sa.Engine:
        """The SQLAlchemy engine, for migrations and the doctor."""
        return self._backend.engine

    @property
    def backend(self) -> Backend:
        """What is special to the database in use."""
        return self._backend

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on one snapshot and return its value.

        Raises:
            StorageError: one of its kinds, where the database does not answer.
        """
        try:
            return self._read_once(fn)
        except sa.exc.SQLAlchemyError as exc:
            if not connection_lost(exc):
                raise translated(exc) from exc
        self._backend.forget_connections()  # they are of before the server was started anew
        try:
            return self._read_once(fn)
        except sa.exc.SQLAlchemyError as exc:
            raise translated(exc) from exc

    def _read_once(self, fn: Callable[[Tx], T]) -> T:
        with self._backend.reading() as conn:
            return fn(Tx(conn, dialect=self._backend.dialect, time=lambda: self._backend.read_time(conn)))

    def write(self, fn: Callable[[Tx], T], *, accept_clock: bool = False) -> T:
        """Run `fn` in one write transaction, commit it, and return its value.

        Raises:
            NestedWrite: a write is under way in this thread.
            ClockWentBack: SQLite only; the clock is more than 5 s behind the last write, unless it is accepted.
            StorageError: one of its kinds; nothing of the write was kept, unless the message says otherwise.
        """
        if getattr(self._writing, "now", False):
            raise NestedWrite("A write was begun inside a write.")
        self._writing.now = True
        try:
            return self._committed(fn, self.ids.new("wri"), accept_clock)
        finally:
            self._writing.now = False

    def _committed(self, fn: Callable[[Tx], T], write_id: str, accept_clock: bool) -> T:
        """Try until the write is committed once. After a lost COMMIT its id tells whether it already was."""
        tried = _Tried[T]()
        for pause in _PAUSES:
            try:
                return self._attempt(fn, write_id, accept_clock, tried)
            except sa.exc.SQLAlchemyError as exc:
                failure, lost = exc, connection_lost(exc)
                tried.commit_lost = tried.commit_lost or (tried.commit_sent and lost)
                if lost:
                    self._backend.forget_connections()
                elif not (may_run_again(exc) or (tried.commit_lost and unreachable(exc))):
                    break
            time.sleep(
                pause if tried.commit_lost else pause / 10
            )  # a server takes longer to restart than others to end
        if tried.commit_lost:
            raise StorageError("The connection was lost at the end of the write: whether it was kept is not known.")
        raise translated(failure) from failure

    def _attempt(self, fn: Callable[[Tx], T], write_id: str, accept_clock: bool, tried: _Tried[T]) -> T:
        tried.commit_sent = False
        with self._backend.writing(accept_clock=accept_clock) as (conn, now):
            if self._claimed(conn, write_id, now):
                tried.commit_lost = False
                tried.values.append(fn(Tx(conn, dialect=self._backend.dialect, time=now)))
                tried.commit_sent = True
        return tried.values[-1]

    def _claimed(self, conn: sa.Connection, write_id: str, now: Callable[[], datetime]) -> bool:
        """Enter the write's own id: it waits for an earlier try in flight, and is refused where that one was kept."""
        tx = Tx(conn, dialect=self._backend.dialect, time=now)
        return tx.insert_new(WriteRow, id=write_id, at=now() if self.dialect == "sqlite" else POSTGRES_NOW)

    def trial(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` as a write would run now, return its value, and undo whatever it did: nothing is kept.

        Raises:
            NestedWrite, ClockWentBack, StorageError: as `write`.
        """
        if getattr(self._writing, "now", False):
            raise NestedWrite("A trial was begun inside a write.")
        self._writing.now = True
        values: list[T] = []
        try:
            with self._backend.writing(accept_clock=False) as (conn, now):
                values.append(fn(Tx(conn, dialect=self._backend.dialect, time=now)))
                raise _Undone
        except _Undone:
            return values[-1]
        except sa.exc.SQLAlchemyError as exc:
            raise translated(exc) from exc
        finally:
            self._writing.now = False

    def holding(self, name: str) -> Holding:
        """Hold the work of a name, over all processes on this database, for as long as the block runs; see `Backend`.

        Raises:
            StorageError: the database does not answer.
        """
        return self._backend.holding(name)

    def close(self) -> None:
        """Close every connection; a private temporary database is removed."""
        self._backend.close()


class _Undone(Exception):
    """What a trial did is undone."""


_STORES: weakref.WeakSet[Store] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_STORES):
        store._writing = threading.local()
        store.backend.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
