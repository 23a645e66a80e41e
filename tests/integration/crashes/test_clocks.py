"""Clocks that lie: a laptop that slept, a clock that jumps back, the 29th and the 31st, daylight saving."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from agentpay.clock import FixedClock
from agentpay.manager import AgentHandle
from agentpay.plans.models import PaymentPlan
from support.bench import Bench, capped, code_of, policy
from support.bench_fixtures import MakeBench
from support.failing import Places, closed, watched_engine

sqlite_only = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
def handle(bench: Bench) -> Iterator[Callable[[Places], AgentHandle]]:
    """Makes the agent's handle on an engine that calls the places. Its monotonic clock stands still, as that of a
    machine that sleeps does."""
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

    sleeper = handle(Places("after_first_commit", meanwhile))
    assert sleeper.charge("ana", "5.00", "USD", description="x", idempotency_key="k").status == "succeeded"
    (payment,) = bench.manager.list_payments("ana")
    assert bench.movements() == 1 and not payment.late
    assert [attempt.outcome for attempt in bench.attempts(payment.id)] == ["not_sent", "succeeded"]


def test_a_laptop_that_slept_and_was_not_missed_takes_its_lease_anew(
    bench: Bench, handle: Callable[[Places], AgentHandle]
) -> None:
    sleeper = handle(Places("after_first_commit", lambda: bench.later(hours=8)))
    assert sleeper.charge("ana", "5.00", "USD", description="x", idempotency_key="k").status == "succeeded"
    assert bench.movements() == 1


# -- a clock that jumps back


@sqlite_only
def test_a_clock_that_jumps_back_an_hour_stops_writing_until_a_person_accepts_it(bench: Bench) -> None:
    paid = bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="k1")
    lost = bench.bot.charge("ana", "13.22", "USD", description="x", idempotency_key="k2")
    bench.later(hours=-1)
    assert pay(bench, "k3") == "CLOCK_WENT_BACK"
    assert bench.manager.get_payment(paid.id).status == "succeeded"  # reading goes on
    assert bench.movements() == 2
    bench.manager.accept_clock()
    assert pay(bench, "k3") == "succeeded"
    bench.manager.reconcile()
    assert bench.manager.get_payment(lost.id).status == "succeeded"


@sqlite_only
def test_what_was_spent_in_an_hour_that_comes_again_still_counts(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": capped("10.00 USD", window={"rolling": "24h"})}))
    assert pay(bench, "k1", "6.00") == "succeeded"
    bench.later(hours=-1)
    bench.manager.accept_clock()
    assert pay(bench, "k2", "6.00") == "POLICY_DENIED"


def pay(bench: Bench, key: str, amount: str = "5.00") -> str:
    code = code_of(lambda: bench.bot.charge("ana", amount, "USD", description="x", idempotency_key=key))
    return "succeeded" if code == "fine" else code


# -- the calendar


@sqlite_only
@pytest.mark.parametrize(
    ("zone", "late", "next_day"),
    [
        ("Europe/Berlin", "2026-03-28T22:59", "2026-03-28T23:00"),  # a day of 23 hours begins
        ("Europe/Berlin", "2026-03-29T21:59", "2026-03-29T22:00"),  # and ends, by summer time
        ("Europe/Berlin", "2026-10-25T22:59", "2026-10-25T23:00"),  # a day of 25 hours ends
        ("America/New_York", "2026-03-09T03:59", "2026-03-09T04:00"),
        ("America/New_York", "2026-11-02T04:59", "2026-11-02T05:00"),
    ],
)
def test_a_budget_of_a_day_is_that_days_over_daylight_saving(
    make_bench: MakeBench, zone: str, late: str, next_day: str
) -> None:
    day = {"calendar": "day", "tz": zone}
    bench = make_bench(policy=policy({"bot": capped("10.00 USD", window=day)}), clock=FixedClock(utc(late)))
    assert [pay(bench, "k1", "6.00"), pay(bench, "k2", "6.00")] == ["succeeded", "POLICY_DENIED"]
    bench.clock.set(utc(next_day))  # type: ignore[union-attr]
    assert pay(bench, "k2", "6.00") == "succeeded"


@sqlite_only
@pytest.mark.parametrize(
    ("start", "length", "ends"),
    [
        ("2026-01-31T10:00", "monthly", ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]),
        ("2028-01-31T10:00", "monthly", ["2028-02-29", "2028-03-31", "2028-04-30"]),
        ("2028-02-29T10:00", "monthly", ["2028-03-29", "2028-04-29"]),
        ("2028-02-29T10:00", "yearly", ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]),
    ],
)
def test_renewals_keep_the_day_they_began_on(make_bench: MakeBench, start: str, length: str, ends: list[str]) -> None:
    bench = make_bench(clock=FixedClock(utc(start)))
    bench.manager.create_plan(
        PaymentPlan(id="pro", name="Pro", payment_type="subscription", price="10.00", billing_period=length)
    )
    found = [bench.manager.subscribe("ana", "pro", idempotency_key="s").period_end]
    for _ in ends[1:]:
        bench.clock.set(found[-1])  # type: ignore[union-attr]
        assert bench.manager.renew_due().renewed == 1
        found.append(bench.manager.get_subscription("ana").period_end)
    assert found == [utc(f"{end}T10:00") for end in ends]
    assert bench.movements() == len(ends)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
