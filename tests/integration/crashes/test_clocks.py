"""Clocks that lie: a laptop that slept, a clock that jumps back, the 29th and the 31st, daylight saving."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentpay.manager import AgentHandle
from support.bench import Bench
from support.failing import Place, Places, closed, watched_engine

sqlite_only = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


class Sleeps(Places):
    """The machine sleeps at a place: its monotonic clock stands still, and the wall clock has gone on when it wakes."""

    def __init__(self, at: Place, while_asleep: Callable[[], None]) -> None:
        super().__init__(at, while_asleep)


@pytest.fixture
def handle(bench: Bench) -> Iterator[Callable[[Places], AgentHandle]]:
    """Makes the agent's handle on an engine that calls the places."""
    opened: list[Any] = []

    def make(places: Places) -> AgentHandle:
        opened.append(watched_engine(bench.url, bench.clock, bench.new_mock(), places, monotonic=lambda: 0.0))
        return AgentHandle(opened[-1], "bot")

    yield make
    for engine in opened:
        closed(engine)


def test_a_laptop_that_slept_before_it_sent_does_not_pay_what_was_proved_not_sent(
    bench: Bench, handle: Callable[[Places], AgentHandle]
) -> None:
    """It slept between its commit and the call. Meanwhile the lease ended, a look-up proved that nothing was sent, and
    the agent's next try paid: what wakes must not pay again."""

    def meanwhile() -> None:
        bench.later(seconds=10)
        bench.manager.reconcile()
        assert bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="k").status == "succeeded"

    sleeper = handle(Sleeps("after_first_commit", meanwhile))
    assert sleeper.charge("ana", "5.00", "USD", description="x", idempotency_key="k").status == "succeeded"
    (payment,) = bench.manager.list_payments("ana")
    assert bench.movements() == 1 and not payment.late
    assert [attempt.outcome for attempt in bench.attempts(payment.id)] == ["not_sent", "succeeded"]


def test_a_laptop_that_slept_and_was_not_missed_takes_its_lease_anew(
    bench: Bench, handle: Callable[[Places], AgentHandle]
) -> None:
    sleeper = handle(Sleeps("after_first_commit", lambda: bench.later(hours=8)))
    assert sleeper.charge("ana", "5.00", "USD", description="x", idempotency_key="k").status == "succeeded"
    assert bench.movements() == 1
