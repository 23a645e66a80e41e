"""The books' own way to the engine's database: a store of their own, opened at first use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from agentpay.clock import Clock
from agentpay.storage.schema import prepare
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx

T = TypeVar("T")


class Books:
    """Reads and writes the `chain_*` tables, never inside a transaction of the engine. Safe between threads."""

    def __init__(self, database_url: str, *, clock: Clock | None = None) -> None:
        self._url = database_url
        self._clock = clock
        self._opening = threading.Lock()
        self._store: Store | None = None

    def read(self, fn: Callable[[Tx], T]) -> T:
        """As `Store.read`."""
        return self._opened().read(fn)

    def write(self, fn: Callable[[Tx], T]) -> T:
        """As `Store.write`."""
        return self._opened().write(fn)

    def _opened(self) -> Store:
        with self._opening:
            if self._store is None:
                store = Store(self._url, clock=self._clock)
                prepare(store)
                self._store = store
            return self._store

    def close(self) -> None:
        """Close every connection."""
        with self._opening:
            if self._store is not None:
                self._store.close()
                self._store = None
