"""Backends that fail on purpose: injected into a `Store`, in front of a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa

from agentpay.clock import Clock
from agentpay.storage import Store
from agentpay.storage.backends import Backend, backend_for
from support.wrapped import WrappedBackend


class DriverError(Exception):
    """What a driver raises, with the SQLSTATE that the server sent (None: no server answered)."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__(f"sqlstate {sqlstate}")
        self.sqlstate = sqlstate


def server_error(sqlstate: str | None, *, lost: bool = False) -> sa.exc.OperationalError:
    """The error that SQLAlchemy makes of a server's; with `lost` the connection went away."""
    return sa.exc.OperationalError("COMMIT", {}, DriverError(sqlstate), connection_invalidated=lost)


Fault = Callable[[sa.Connection], None]


class FaultyBackend(WrappedBackend):
    """A real backend that calls one fault a write, before COMMIT or after it, until there are no more."""

    def __init__(self, inner: Backend, *, before: list[Fault] | None = None, after: list[Fault] | None = None) -> None:
        super().__init__(inner)
        self.before = before or []
        self.after = after or []

    @contextmanager
    def writing(self, *, accept_clock: bool) -> Iterator[tuple[sa.Connection, Callable[[], datetime]]]:
        with self._inner.writing(accept_clock=accept_clock) as (conn, time):
            yield conn, time
            if self.before:
                self.before.pop(0)(conn)
        if self.after:
            self.after.pop(0)(conn)


def faulty_store(
    url: str, *, clock: Clock | None = None, before: list[Fault] | None = None, after: list[Fault] | None = None
) -> Store:
    """A store on a database whose writes meet the faults, one each."""
    inner = backend_for(url, clock=clock, lock_timeout=5.0)
    return Store(url, clock=clock, backend=FaultyBackend(inner, before=before, after=after))


def raising(error: Exception) -> Fault:
    """A fault that raises."""

    def fail(_: sa.Connection) -> None:
        raise error

    return fail
