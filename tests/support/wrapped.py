"""A real backend behind another one, which changes what happens around a write and nothing else."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime

import sqlalchemy as sa

from agentpay.storage.backends import Backend, Holding, Writing
from agentpay.storage.transaction import Dialect


class WrappedBackend:
    """Passes everything on. Who derives from it says what happens around a write."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.dialect: Dialect = inner.dialect
        self.engine = inner.engine

    def writing(self, *, accept_clock: bool) -> Writing:
        return self._inner.writing(accept_clock=accept_clock)

    def reading(self) -> AbstractContextManager[sa.Connection]:
        return self._inner.reading()

    def creating(self) -> AbstractContextManager[sa.Connection]:
        return self._inner.creating()

    def holding(self, name: str) -> Holding:
        return self._inner.holding(name)

    def read_time(self, conn: sa.Connection) -> datetime:
        return self._inner.read_time(conn)

    def forget_connections(self) -> None:
        self._inner.forget_connections()

    def after_fork(self) -> None:
        self._inner.after_fork()

    def close(self) -> None:
        self._inner.close()
