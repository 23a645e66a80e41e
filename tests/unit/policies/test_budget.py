"""What is left: the least over the whole path, the agent's own figures, and of shared budgets nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentpay_policies.budget import BudgetView, budget_readings, budget_view
from agentpay_policies.decisions import Halt, Request
from agentpay_policies.loader import load_policy
from agentpay_policies.money import Money, Price
from agentpay_policies.policy import Policy
from unit.policies.helpers import (
    BASIC,
    EXAMPLE,
    GONE,
    NOW,
    Book,
    basic,
    charge,
    decide,
    refund,
    subscribe,
    usage,
    usd,
)

POLICY = load_policy(EXAMPLE)


def view(policy: Policy | None, agent: str = "bot", book: Book | None = None, **more: Any) -> BudgetView:
    halts, currency = more.pop("halts", ()), more.pop("currency", None)
    wanted = budget_readings(policy, agent, NOW, **more)
    sums = (book or Book()).sums(wanted)
    return budget_view(policy, agent, sums, halts, NOW, currency=currency, **more)


def ask(amount: str, currency: str = "USD") -> Request:
    return charge(amount, currency, agent="shopper")


def amounts(found: BudgetView) -> list[str]:
    return [str(spendable.amount) for spendable in found.can_spend_now]


def test_of_the_example_nothing_spent() -> None:
    found = view(POLICY, "shopper")
    assert amounts(found) == ["50.00 USD", "50.000000 USDT"]
    assert found.can_spend_now[0].until == datetime(2026, 3, 31, 22, tzinfo=UTC), "the month of the company's budget"
    assert (found.agent_known, found.halted, found.shared_budget) == (True, False, "available")
    assert found.tools == ("charge", "check_access", "get_approval", "get_budget", "get_payment", "refund")
    assert (found.currencies, found.providers) == (("USD", "USDT"), ("mock", "stripe"))


def test_the_agents_own_limits_have_figures() -> None:
    book = Book().hold(POLICY, ask("30.00"), NOW - timedelta(hours=2)).hold(POLICY, refund("1.00", agent="shopper"))
    found = {(limit.id, limit.unit): limit for limit in view(POLICY, "shopper", book).limits}
    cap = found["day-cap", "USD"]
    assert (cap.limit, cap.used, cap.held, cap.remaining) == ("150.00 USD", "30.00 USD", "0.00 USD", "120.00 USD")
    assert (cap.operation, cap.window, cap.per, cap.directions) == ("charge", "rolling 1d", "agent", ("collect",))
    assert cap.resets_at == datetime(2026, 3, 11, 10, 31, tzinfo=UTC)
    assert found["burst", "count"].remaining == "10", "the charge was more than an hour ago"
    assert found["refunds", "count"].remaining == "4"
    assert set(found) == {("day-cap", "USD"), ("day-cap", "USDT"), ("burst", "count"), ("refunds", "count")}


def test_one_currency_on_request() -> None:
    found = view(POLICY, "shopper", currency="USDT")
    assert amounts(found) == ["50.000000 USDT"]
    assert {limit.unit for limit in found.limits} == {"USDT", "count"}
    assert view(POLICY, "shopper", currency="EUR").can_spend_now == ()


def test_a_shared_budget_bounds_without_a_figure() -> None:
    book = Book()
    other = basic(
        budgets={"pot": {"limits": [{"id": "day", "amount": "100.00 USD", "window": {"calendar": "day"}}]}},
        bot__budget="pot",
    )
    book.hold(other, subscribe(amount="70.00")).hold(other, charge("29.50"))
    found = view(other, book=book)
    assert amounts(found) == ["0.50 USD"]
    assert (found.limits, found.shared_budget) == ((), "available")
    found = view(other, book=book.hold(other, charge("0.50")))
    assert (amounts(found), found.shared_budget) == (["0.00 USD"], "exhausted")
    assert found.can_spend_now[0].until == datetime(2026, 3, 11, tzinfo=UTC)


def test_what_stops_a_charge_leaves_nothing() -> None:
    count = {"id": "few", "count": 1, "window": {"rolling": "1h"}}
    policy = basic(bot__charge__limits=[count])
    assert amounts(view(policy, book=Book().hold(policy, charge("1.00")))) == ["0.00 USD"]
    small = basic(
        bot__charge={
            "per_transaction": {"min": "5.00 USD"},
            "limits": [{"id": "cap", "amount": "10.00 USD", "window": "lifetime"}],
        }
    )
    assert amounts(view(small, book=Book().hold(small, charge("5.01")))) == ["0.00 USD"], (
        "less than the minimum is left"
    )
    exact = Book().hold(small, charge("5.00"))
    assert amounts(view(small, book=exact)) == ["5.00 USD"], "just the minimum is left"
    assert amounts(view(basic(), halts=(Halt("all", "x"),))) == ["0.00 USD"]
    assert view(basic(), halts=(Halt("agent:bot", "x"),)).halted
    assert not view(basic(), halts=(Halt("agent:other", "x"),)).halted
    assert view(basic(bot__tools=["refund"])).can_spend_now == ()
    assert view(basic(bot__charge=GONE)).can_spend_now == ()


def test_who_is_unknown_sees_nothing() -> None:
    assert view(POLICY, "nobody") == BudgetView(agent_known=False, halted=False) == view(None, "bot")


def test_each_customer_apart() -> None:
    policy = basic(bot__charge__limits=[{"id": "c", "amount": "20.00 USD", "window": "lifetime", "per": "customer"}])
    book = Book().hold(policy, charge("15.00"))
    named = view(policy, book=book, customer_ref="c1")
    assert (amounts(named), named.limits[0].remaining) == (["5.00 USD"], "5.00 USD")
    nobody = view(policy, book=book)
    assert (amounts(nobody), nobody.limits[0].remaining) == (["20.00 USD"], None), (
        "the cap still bounds what is possible"
    )


def test_each_direction_apart_or_together() -> None:
    both = {"directions": ["collect", "send"]}
    cap = {"id": "c", "amount": "20.00 USD", "window": "lifetime"}
    payees = {"allow": ["self", "paypal:a@b.co"]}
    apart = basic(bot__charge={**both, "limits": [cap]}, bot__payees=payees)
    found = view(apart, book=Book().hold(apart, charge("15.00")))
    assert [(s.direction, str(s.amount)) for s in found.can_spend_now] == [
        ("collect", "5.00 USD"),
        ("send", "20.00 USD"),
    ]
    together = basic(bot__charge={**both, "limits": [cap | both]}, bot__payees=payees)
    assert amounts(view(together, book=Book().hold(together, charge("15.00")))) == ["5.00 USD", "5.00 USD"]


def test_outside_its_time_nothing_is_left_until_it_opens() -> None:
    shut = view(basic(bot__time_windows=[{"from": "13:00", "to": "14:00"}]))
    assert (amounts(shut), shut.can_spend_now[0].until) == (["0.00 USD"], datetime(2026, 3, 10, 13, tzinfo=UTC))
    early = view(basic(bot__not_before="2026-04-01T00:00:00Z"))
    assert (amounts(early), early.can_spend_now[0].until) == (["0.00 USD"], datetime(2026, 4, 1, tzinfo=UTC))
    late = view(basic(bot__expires_at="2026-03-10T12:30:45Z"))
    assert (amounts(late), late.can_spend_now[0].until) == (["0.00 USD"], None)
    assert amounts(view(basic(bot__time_windows=[{"from": "12:00", "to": "14:00"}]))) == ["1000.00 USD"]


def test_subscriptions_use_up_what_is_added_up_with_them() -> None:
    cap = {"id": "c", "amount": "20.00 USD", "window": "lifetime", "of": ["charge", "subscribe"]}
    policy = basic(bot__charge__limits=[cap])
    assert amounts(view(policy, book=Book().hold(policy, subscribe(amount="15.00")))) == ["5.00 USD"]


def test_limits_on_recorded_cost_are_shown_and_bound_no_charge() -> None:
    cap = {"id": "u", "amount": "0.02 USD", "window": "lifetime"}
    policy = basic(bot__record_usage__limits=[cap])
    book = Book().hold(policy, usage(cost=Price("0.0150", "USD")))
    found = view(policy, book=book)
    assert amounts(found) == ["1000.00 USD"]
    (limit,) = found.limits
    assert (limit.operation, limit.unit, limit.used, limit.remaining) == (
        "record_usage", "USD", "0.015 USD", "0.005 USD",
    )  # fmt: skip


def test_each_enrolled_agent_sees_its_own_and_others_nothing() -> None:
    cap = {"id": "c", "amount": "20.00 USD", "window": "lifetime"}
    policy = basic(**{"agents__s-*": BASIC["agents"]["bot"] | {"each": True, "charge": {"limits": [cap]}}})
    book = Book().hold(policy, charge("15.00", agent="s-1"))
    sums = book.sums(budget_readings(policy, "s-1", NOW))
    assert not budget_view(policy, "s-1", sums, (), NOW).agent_known
    enrolled = frozenset({"s-1", "s-2"})
    assert amounts(budget_view(policy, "s-1", sums, (), NOW, enrolled=enrolled)) == ["5.00 USD"]
    other = book.sums(budget_readings(policy, "s-2", NOW))
    assert amounts(budget_view(policy, "s-2", other, (), NOW, enrolled=enrolled)) == ["20.00 USD"]


def test_a_sum_that_is_missing_leaves_nothing() -> None:
    assert amounts(budget_view(POLICY, "shopper", {}, (), NOW)) == ["0.00 USD", "0.000000 USDT"]


@settings(max_examples=60, deadline=None)
@given(spent=st.lists(st.integers(50, 5000), max_size=9))
def test_it_promises_exactly_what_is_then_allowed(spent: list[int]) -> None:
    """can_spend_now is let through, approval set aside, and a cent more is not."""
    book = Book()
    for minor in spent:
        book.hold(POLICY, ask(f"{minor // 100}.{minor % 100:02}"))
    (now,) = view(POLICY, "shopper", book, currency="USD", customer_ref="c1").can_spend_now
    if now.amount.minor:
        assert decide(POLICY, charge(money=now.amount, agent="shopper"), book=book).outcome != "deny"
    more = now.amount + (usd("0.01") if now.amount.minor else usd("0.50"))
    assert decide(POLICY, charge(money=Money(more.amount, "USD"), agent="shopper"), book=book).outcome == "deny"
