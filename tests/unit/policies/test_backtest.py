"""Replaying the past under another policy: what moves, in money, and that counters in memory are the plain sums."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpay_policies.backtest import Recorded, compare_decisions
from agentpay_policies.decisions import Halt, Request, State
from agentpay_policies.replay import Tally
from unit.policies.helpers import NOW, Book, basic, charge, decide, subscribe

CAP: dict[str, Any] = {"id": "cap", "amount": "100.00 USD", "window": {"rolling": "24h"}}
RULE: dict[str, Any] = {"id": "ask", "approvers": "finance", "when": {"amount_over": "30.00 USD"}}


def past(*amounts: str, outcome: Any = "allow", every: timedelta = timedelta(hours=1), **more: Any) -> list[Recorded]:
    return [Recorded(charge(amount), NOW + i * every, outcome, **more) for i, amount in enumerate(amounts)]


def test_the_same_policy_moves_nothing() -> None:
    report = compare_decisions(past("40.00", "60.00"), basic(bot__charge__limits=[CAP]))
    assert (report.replayed, report.moved, report.lines) == (2, (), ())


def test_a_tighter_one_says_what_it_would_deny_and_park_in_money() -> None:
    policy = basic(bot__charge__limits=[CAP], bot__approvals=[RULE])
    report = compare_decisions(past("20.00", "40.00", "30.00", "30.00", "10.00", "0.01"), policy)
    assert [str(line) for line in report.lines] == ["allow → approve: 1, 40.00 USD", "allow → deny: 2, 30.01 USD"]
    parked, denied, _ = report.moved
    assert (parked.reasons, denied.reasons) == (("agents.bot.approvals.ask",), ("LIMIT_EXCEEDED",))


def test_what_is_denied_uses_up_nothing() -> None:
    report = compare_decisions(past("60.00", "60.00", "40.00"), basic(bot__charge__limits=[CAP]))
    assert [moved.recorded.request.money for moved in report.moved] == [charge("60.00").money]


def test_a_looser_one_says_what_it_would_let_through() -> None:
    report = compare_decisions(past("40.00", outcome="deny") + past("50.00", outcome="approve"), basic())
    assert [str(line) for line in report.lines] == ["approve → allow: 1, 50.00 USD", "deny → allow: 1, 40.00 USD"]


def test_what_people_refused_then_counts_in_no_limit() -> None:
    policy = basic(bot__charge__limits=[CAP], bot__approvals=[RULE])
    refused = past("90.00", outcome="approve")
    approved = past("90.00", outcome="approve", approved=True)
    later = [Recorded(charge("20.00"), NOW + timedelta(hours=1), "allow")]
    assert compare_decisions([*refused, *later], policy).moved == ()
    assert [str(line) for line in compare_decisions([*later, *approved], policy).lines] == [
        "allow → deny: 1, 20.00 USD"
    ]


def test_what_is_no_counter_is_replayed_as_it_was() -> None:
    halted = State(halts=(Halt("all", "fire"),))
    assert compare_decisions([Recorded(charge(), NOW, "deny", state=halted)], basic()).moved == ()
    free = Recorded(Request("check_access", "bot"), NOW, "deny")
    assert [str(line) for line in compare_decisions([free], basic()).lines] == ["deny → allow: 1"]


def test_splitting_is_seen_in_the_past() -> None:
    rule = RULE | {"when": {"unapproved_total_over": "50.00 USD", "window": {"rolling": "24h"}}}
    report = compare_decisions(past("20.00", "20.00", "20.00", "10.00"), basic(bot__approvals=[rule]))
    assert [str(line) for line in report.lines] == ["allow → approve: 1, 20.00 USD"]
    assert report.moved[0].recorded.at == NOW + timedelta(hours=2)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 6000), st.integers(0, 600), st.booleans()), max_size=20))
def test_counters_in_memory_are_the_plain_sums(steps: list[tuple[int, int, bool]]) -> None:
    pot = {"pot": {"limits": [CAP | {"window": {"calendar": "day"}}, {"id": "n", "count": 9, "window": "lifetime"}]}}
    policy = basic(budgets=pot, bot__budget="pot", bot__charge__limits=[CAP])
    book, tally, now = Book(), Tally(policy), NOW
    for minor, wait, is_charge in steps:
        now += timedelta(minutes=wait)
        amount = f"{minor // 100}.{minor % 100:02}"
        request = charge(amount) if is_charge else subscribe(amount=amount)
        found = tally.simulate(request, now)
        plain = decide(policy, request, book=book, now=now)
        assert (found.outcome, found.checks) == (plain.outcome, plain.checks)
        if found.outcome == "allow":
            tally.hold(request, now)
            book.hold(policy, request, now)


def test_time_does_not_run_back() -> None:
    tally = Tally(basic(bot__charge__limits=[CAP]))
    tally.hold(charge(), NOW)
    with pytest.raises(ValueError, match="order of time"):
        tally.hold(charge(), datetime.fromisoformat("2020-01-01T00:00:00+00:00"))


def test_a_sum_costs_the_same_however_much_was_counted() -> None:
    """10,000 payments of the past take no longer a decision than 10 do: what is read are two ends of a list."""
    import time

    policy = basic(bot__charge={"limits": [CAP | {"amount": "1000000.00 USD"}]})

    def seconds(payments: int) -> float:
        tally = Tally(policy)
        for i in range(payments):
            tally.hold(charge("1.00"), NOW + timedelta(seconds=i))
        now = NOW + timedelta(seconds=payments)
        return min(_timed(tally, now, time.perf_counter) for _ in range(20))

    assert seconds(10_000) < 5 * seconds(10) + 0.001


def _timed(tally: Tally, now: datetime, clock: Any) -> float:
    began = clock()
    tally.simulate(charge("1.00"), now)
    return float(clock() - began)
