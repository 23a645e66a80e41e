"""Limits: the last minor unit, whose counters they read, directions, `per`, and when enough is free again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentpay_policies.decisions import CounterKey, State, Sum
from agentpay_policies.evaluate import counted, evaluate, readings
from agentpay_policies.policy import Policy
from unit.policies.helpers import MINUTE, NOW, Book, basic, charge, codes, decide, refund, subscribe

ROLLING = {"rolling": "24h"}
CAP: dict[str, Any] = {"id": "cap", "amount": "100.00 USD", "window": ROLLING}
ANA, ACCT = "paypal:ana@example.com", "stripe:acct_1"
PAYEES = {"payees": {"allow": ["self", ANA, ACCT]}}


def limited(*limits: dict[str, Any], **more: Any) -> Policy:
    """The agents `bot` and `other`, who charge in both directions, `bot` under these limits."""
    ways = {"directions": ["collect", "send"], "per_transaction": {"max": "1000.00 USD"}}
    values = {
        "bot__charge": {**ways, "limits": list(limits)},
        "bot__payees": PAYEES["payees"],
        "bot__providers": {"allow": ["mock", "stripe"]},
    }
    return basic(**(values | more))


def key(subject: str, unit: str = "USD", operation: str = "charge", direction: str = "collect") -> CounterKey:
    return CounterKey(subject, operation, direction, unit)


# ---- which counters


@pytest.mark.parametrize(
    ("per", "subject"),
    [
        (None, "agent:bot"),
        ("agent", "agent:bot"),
        ("customer", "agent:bot|customer:c1"),
        ("payee", "agent:bot|payee:stripe:acct_1"),
        ("provider", "agent:bot|provider:mock"),
    ],
)
def test_per_under_an_agent(per: str | None, subject: str) -> None:
    policy = limited(CAP | ({"per": per} if per else {}))
    request = charge(payee=ACCT)
    (reading,) = readings(policy, request, NOW)
    assert reading.keys == (key(subject),)
    assert counted(policy, request) == (key(subject),)


@pytest.mark.parametrize(
    ("per", "subject"),
    [
        (None, "budget:pot"),
        ("agent", "budget:pot|agent:bot"),
        ("customer", "budget:pot|customer:c1"),
        ("payee", "budget:pot|payee:self"),
        ("provider", "budget:pot|provider:mock"),
    ],
)
def test_per_under_a_budget(per: str | None, subject: str) -> None:
    limit = CAP | ({"per": per} if per else {})
    policy = basic(budgets={"pot": {"limits": [limit]}}, bot__budget="pot")
    for request, operation in ((charge(), "charge"), (subscribe(), "subscribe")):
        (reading,) = readings(policy, request, NOW)
        assert reading.keys == (key(subject), key(subject, operation="subscribe"))
        assert counted(policy, request) == (key(subject, operation=operation),)
    assert readings(policy, refund(), NOW) == ()


@pytest.mark.parametrize("per", ["customer", "payee", "provider"])
def test_each_is_counted_apart(per: str) -> None:
    policy = limited(CAP | {"per": per})
    book = Book().hold(policy, charge("100.00"))
    others = {"customer": {"customer_ref": "c2"}, "payee": {"payee": ACCT}, "provider": {"provider": "stripe"}}
    assert codes(decide(policy, charge("0.01"), book=book)) == ["LIMIT_EXCEEDED"]
    assert decide(policy, charge("100.00", **others[per]), book=book).outcome == "allow"


def test_the_counter_has_the_internal_id_and_the_allow_list_the_name() -> None:
    policy = limited(CAP | {"per": "customer"}, bot__customers={"allow": ["alice"]})
    (found,) = counted(policy, charge(customer="alice", customer_ref="01H"))
    assert found.subject == "agent:bot|customer:01H"
    assert codes(decide(policy, charge(customer="01H", customer_ref="01H"))) == ["CUSTOMER_NOT_ALLOWED"]


def test_per_agent_of_a_budget_is_each_agents_own_part() -> None:
    entry = {"budget": "pot"}
    policy = basic(
        budgets={"pot": {"limits": [CAP | {"per": "agent"}]}}, bot__budget="pot", agents__other=_like_bot(entry)
    )
    book = Book().hold(policy, charge("100.00"))
    assert codes(decide(policy, charge("0.01"), book=book)) == ["BUDGET_EXHAUSTED"]
    assert decide(policy, charge("100.00", agent="other"), book=book).outcome == "allow"


def _like_bot(more: dict[str, Any]) -> dict[str, Any]:
    from unit.policies.helpers import BASIC

    return {**BASIC["agents"]["bot"], **more}


def test_a_pattern_is_one_subject() -> None:
    policy = basic(**{"agents__s-*": _like_bot({"charge": {"limits": [CAP]}})})
    book = Book().hold(policy, charge("60.00", agent="s-1"))
    assert counted(policy, charge(agent="s-2")) == (key("agent:s-*"),)
    assert codes(decide(policy, charge("40.01", agent="s-2"), book=book)) == ["LIMIT_EXCEEDED"]
    assert decide(policy, charge("40.00", agent="s-2"), book=book).path == ("agent:s-*",)


# ---- directions


def test_without_directions_each_is_counted_apart() -> None:
    policy = limited(CAP)
    book = Book().hold(policy, charge("100.00"))
    assert decide(policy, charge("100.00", payee=ANA), book=book).outcome == "allow"
    assert codes(decide(policy, charge("0.01"), book=book)) == ["LIMIT_EXCEEDED"]


def test_with_both_directions_they_add_up() -> None:
    policy = limited(CAP | {"directions": ["send", "collect"]})
    book = Book().hold(policy, charge("60.00"))
    (reading,) = readings(policy, charge(payee=ANA), NOW)
    assert reading.keys == (key("agent:bot"), key("agent:bot", direction="send"))
    assert counted(policy, charge(payee=ANA)) == (key("agent:bot", direction="send"),)
    assert decide(policy, charge("40.00", payee=ANA), book=book).outcome == "allow"
    assert codes(decide(policy, charge("40.01", payee=ANA), book=book)) == ["LIMIT_EXCEEDED"]


def test_a_limit_of_one_direction_leaves_the_other_alone() -> None:
    policy = limited(CAP | {"directions": ["send"]})
    assert readings(policy, charge(), NOW) == () == counted(policy, charge())
    assert codes(decide(policy, charge("100.01", payee=ANA))) == ["LIMIT_EXCEEDED"]


def test_a_zero_cap_lets_nothing_through_and_a_zero_count_no_attempt() -> None:
    assert codes(decide(limited(CAP | {"amount": "0 USD"}), charge("0.01"))) == ["LIMIT_EXCEEDED"]
    count = {"id": "none", "count": 0, "window": "lifetime"}
    assert codes(decide(limited(count), charge("0.01"))) == ["COUNT_EXCEEDED"]


# ---- what is said


def test_the_violation_has_the_figures() -> None:
    policy = limited(CAP)
    (reading,) = readings(policy, charge(), NOW)
    (found,) = evaluate(charge("30.00"), policy, State({reading: Sum(8000, 1500)}), NOW).violations
    assert (found.limit, found.used, found.held) == ("100.00 USD", "65.00 USD", "15.00 USD")
    assert (found.attempted, found.remaining) == ("30.00 USD", "20.00 USD")
    assert found.rule == "agents.bot.charge.limits.cap"


def test_after_an_overrun_nothing_remains() -> None:
    policy = limited(CAP)
    (reading,) = readings(policy, charge(), NOW)
    (found,) = evaluate(charge("1.00"), policy, State({reading: Sum(12000)}), NOW).violations
    assert found.remaining == "0.00 USD"


def test_the_check_is_stored_as_it_was_made() -> None:
    policy = limited(CAP)
    book = Book().hold(policy, charge("60.00"))
    (check,) = decide(policy, charge("40.00"), book=book).checks
    assert (check.pointer, check.subject, check.unit) == ("agents.bot.charge.limits.cap", "agent:bot", "USD")
    assert (check.cap, check.total, check.attempted) == (10000, 6000, 4000)
    assert check.window_start == datetime(2026, 3, 9, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "attempted", "retry_at"),
    [
        ({"calendar": "day"}, "50.00", datetime(2026, 3, 11, tzinfo=UTC)),
        ({"calendar": "week"}, "50.00", datetime(2026, 3, 16, tzinfo=UTC)),
        ({"calendar": "month", "tz": "Europe/Berlin"}, "50.00", datetime(2026, 3, 31, 22, tzinfo=UTC)),
        ({"calendar": "year"}, "50.00", datetime(2027, 1, 1, tzinfo=UTC)),
        ("lifetime", "50.00", None),
        ({"calendar": "day"}, "100.01", None),
        ({"rolling": "24h"}, "100.01", None),
    ],
)
def test_when_to_try_again(window: Any, attempted: str, retry_at: datetime | None) -> None:
    policy = limited(CAP | {"window": window})
    book = Book().hold(policy, charge("80.00"), NOW - timedelta(hours=1))
    (found,) = decide(policy, charge(attempted), book=book).violations
    assert found.retry_at == retry_at


def test_a_rolling_limit_frees_when_enough_buckets_have_left() -> None:
    policy = limited(CAP)
    book = Book()
    for hours, amount in ((20, "10.00"), (10, "30.00"), (1, "60.00")):
        book.hold(policy, charge(amount), NOW - timedelta(hours=hours))
    (found,) = decide(policy, charge("40.00"), book=book).violations
    assert found.retry_at == datetime(2026, 3, 11, 2, 31, tzinfo=UTC), "the bucket of 02:30 leaves a minute later"
    early = found.retry_at - timedelta(microseconds=1)
    assert decide(policy, charge("40.00"), book=book, now=early).outcome == "deny"
    assert decide(policy, charge("40.00"), book=book, now=found.retry_at).outcome == "allow"


def test_without_buckets_nobody_guesses() -> None:
    policy = limited(CAP)
    (reading,) = readings(policy, charge(), NOW)
    (found,) = evaluate(charge("30.00"), policy, State({reading: Sum(8000)}), NOW).violations
    assert found.retry_at is None


# ---- properties

AMOUNTS = st.integers(1, 6000)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(AMOUNTS, st.integers(0, 60 * 20), st.sampled_from(["self", ANA])), max_size=25))
def test_no_window_ever_holds_more_than_the_cap(steps: list[tuple[int, int, str]]) -> None:
    """Whatever is let through, in any 24 hours of any history: at most the cap, both directions together."""
    policy = limited(CAP | {"directions": ["collect", "send"]})
    book, now, accepted = Book(), NOW, []
    for minor, wait, payee in steps:
        now += wait * MINUTE
        request = charge(f"{minor / 100:.2f}", payee=payee)
        if decide(policy, request, book=book, now=now).outcome == "allow":
            book.hold(policy, request, now)
            accepted.append((now, minor))
    for moment, _ in accepted:
        window = [minor for at, minor in accepted if moment - timedelta(hours=24) <= at <= moment]
        assert sum(window) <= 10000


@settings(max_examples=60, deadline=None)
@example(used=4000, more=6000)
@example(used=4000, more=6001)
@given(used=st.integers(0, 10000), more=st.integers(1, 12000))
def test_the_boundary_is_exact(used: int, more: int) -> None:
    policy = limited(CAP)
    (reading,) = readings(policy, charge(), NOW)
    request = charge(f"{more // 100}.{more % 100:02}")
    outcome = evaluate(request, policy, State({reading: Sum(used)}), NOW).outcome
    assert (outcome == "allow") is (used + more <= 10000)


@settings(max_examples=60, deadline=None)
@given(buckets=st.lists(st.tuples(st.integers(0, 1439), st.integers(1, 5000)), min_size=1, max_size=12), more=AMOUNTS)
def test_retry_at_is_never_early_and_enough(buckets: list[tuple[int, int]], more: int) -> None:
    policy = limited(CAP)
    book, request = Book(), charge(f"{more // 100}.{more % 100:02}")
    for minutes, minor in buckets:
        book.entries.append((key("agent:bot"), NOW.replace(second=0) - minutes * MINUTE, minor))
    decision = decide(policy, request, book=book)
    if decision.outcome == "deny":
        retry_at = decision.violations[0].retry_at
        assert retry_at is not None
        assert decide(policy, request, book=book, now=retry_at).outcome == "allow"
        assert decide(policy, request, book=book, now=retry_at - timedelta(seconds=1)).outcome == "deny"
