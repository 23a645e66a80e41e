"""Named places at which an operation dies, on the way from a caller to the money and back; nothing is patched.

    open → [before_first_commit] COMMIT [after_first_commit] → call → [before_provider] → the provider takes it, and
    moves money [after_move] → answer → settle → [before_second_commit] COMMIT [after_second_commit]

Our own commits are seen through a `Backend` in front of a store's real one; the provider's places are called by the
fake (`support.fakes`). The first commit is the one that adds an attempt, the second the one that leaves none under way:
told by the rows, so that a write more or less, such as of a lease taken anew, changes nothing.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, Literal, NoReturn, get_args

import sqlalchemy as sa

from agentpay.clock import Clock
from agentpay.manager.wiring import Engine, wire
from agentpay.payments.queries import ATTEMPTS
from agentpay.providers.base import PaymentProvider
from agentpay.providers.registry import Providers
from agentpay.spending.throttle import Throttle
from agentpay.storage import Store
from agentpay.storage.backends import Backend, backend_for
from support.wrapped import WrappedBackend

Place = Literal[
    "before_first_commit",
    "after_first_commit",
    "before_provider",
    "after_move",
    "before_second_commit",
    "after_second_commit",
]
PLACES: Final[tuple[Place, ...]] = get_args(Place)

_COUNTS: Final = sa.select(
    sa.func.count().label("all"), sa.func.count().filter(ATTEMPTS.c.outcome == "sent").label("open")
).select_from(ATTEMPTS)


class Died(BaseException):
    """The process is dead, for a test that goes on in it: no seam of ours catches it."""


def raise_died() -> NoReturn:
    """Die as far as the operation is concerned."""
    raise Died


def kill_myself() -> None:
    """Die as a process that is killed dies: at once, with nothing cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Places:
    """Dies at one place, the first time it is reached after so many passed. `reached` keeps every place that was."""

    def __init__(self, at: Place | None = None, die: Callable[[], object] = raise_died, *, skip: int = 0) -> None:
        self._at = at
        self._die = die
        self._skip = skip
        self.reached: list[Place] = []

    def __call__(self, place: Place) -> None:
        self.reached.append(place)
        if place != self._at:
            return
        if self._skip:
            self._skip -= 1
            return
        self._die()


class WatchedBackend(WrappedBackend):
    """A real backend whose commits call the places."""

    def __init__(self, inner: Backend, places: Places) -> None:
        super().__init__(inner)
        self._places = places

    @contextmanager
    def writing(self, *, accept_clock: bool) -> Iterator[tuple[sa.Connection, Callable[[], datetime]]]:
        with self._inner.writing(accept_clock=accept_clock) as (conn, time):
            before = _counts(conn)
            yield conn, time
            which = _which(before, _counts(conn))
            if which is not None:
                self._places("before_first_commit" if which == "first" else "before_second_commit")
        if which is not None:
            self._places("after_first_commit" if which == "first" else "after_second_commit")


def _counts(conn: sa.Connection) -> tuple[int, int]:
    row = conn.execute(_COUNTS).one()
    return int(row[0]), int(row[1])


def _which(before: tuple[int, int], after: tuple[int, int]) -> Literal["first", "second"] | None:
    """Which commit of an operation it is, by how many attempts there are, and how many of them are under way."""
    if after[0] > before[0] and after[1] > before[1]:
        return "first"
    return "second" if after[1] < before[1] else None


def watched_engine(
    url: str,
    clock: Clock | None,
    provider: PaymentProvider,
    places: Places,
    *,
    monotonic: Callable[[], float] = time.monotonic,
) -> Engine:
    """An engine on a database whose commits call the places. Close it as `closed` does."""
    backend = WatchedBackend(backend_for(url, clock=clock, lock_timeout=10.0), places)
    store = Store(url, clock=clock, backend=backend)
    return wire(store, Providers([provider]), throttle=Throttle.parse("off"), monotonic=monotonic)


def closed(engine: Engine) -> None:
    """Close what `watched_engine` opened."""
    engine.providers.close()
    engine.store.close()
