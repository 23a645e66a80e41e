"""The design's example: it loads, and every field of it is enforced. Each row fails if its field is ignored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentpay_policies.decisions import CounterKey, Reading, Request
from agentpay_policies.evaluate import readings
from agentpay_policies.loader import load_policy
from agentpay_policies.payees import Payee
from unit.policies.helpers import EXAMPLE, NOW, Book, charge, codes, decide, refund

POLICY = load_policy(EXAMPLE)
VENDOR = "stripe:acct_1A2b3C"
STRANGER = "stripe:acct_9Z9z9Z"


def ask(amount: str = "10.00", currency: str = "USD", **more: Any) -> Request:
    return charge(amount, currency, **{"agent": "shopper", **more})


def spent(*amounts: str, currency: str = "USD", at: datetime = NOW, agent: str = "shopper") -> Book:
    book = Book()
    for amount in amounts:
        book.hold(POLICY, ask(amount, currency, agent=agent), at)
    return book


def test_it_loads_without_a_warning() -> None:
    assert POLICY.warnings == ()
    assert POLICY.duplicate_window == timedelta(minutes=5)
    assert POLICY.path("shopper") == ("agent:shopper", "budget:research", "budget:company")


@pytest.mark.parametrize(
    ("request_", "outcome"),
    [
        (ask(), "allow"),
        (ask(provider="stripe"), "allow"),
        (ask("10", "USDT"), "allow"),
        (ask(payee=VENDOR), "allow"),
        (ask(customer="anybody at all 🦉"), "allow"),
        (ask("0.50"), "allow"),
        (ask("25.00"), "allow"),
        (ask("25.01"), "approve"),
        (ask("25.000001", "USDT"), "approve"),
        (ask("50.00"), "approve"),
        (ask(payee=STRANGER), "approve"),
        (refund("10.00", agent="shopper"), "allow"),
        (Request("check_access", "shopper"), "allow"),
        (Request("get_payment", "shopper"), "allow"),
    ],
)
def test_what_it_lets_through(request_: Request, outcome: str) -> None:
    assert decide(POLICY, request_).outcome == outcome


@pytest.mark.parametrize(
    ("request_", "code", "rule"),
    [
        (ask(agent="nobody"), "AGENT_UNKNOWN", "agents"),
        (Request("list_plans", "shopper"), "TOOL_NOT_ALLOWED", "agents.shopper.tools"),
        (ask(provider="paypal"), "PROVIDER_NOT_ALLOWED", "agents.shopper.providers.allow"),
        (ask("10", "EUR"), "CURRENCY_NOT_ALLOWED", "agents.shopper.currencies.allow"),
        (
            ask(payee="eip155:1:0x52908400098527886E0F7030069857D2E4169EE7"),
            "DIRECTION_NOT_ALLOWED",
            "agents.shopper.charge.directions",
        ),
        (ask("0.49"), "BELOW_MINIMUM", "agents.shopper.charge.per_transaction.min"),
        (ask("50.01"), "ABOVE_MAXIMUM", "agents.shopper.charge.per_transaction.max"),
        (ask("50.000001", "USDT"), "ABOVE_MAXIMUM", "agents.shopper.charge.per_transaction.max"),
        (refund(agent="shopper", own_charge=False), "NOT_OWN_PAYMENT", "agents.shopper.refund.allow"),
    ],
)
def test_what_it_denies(request_: Request, code: str, rule: str) -> None:
    decision = decide(POLICY, request_)
    assert decision.outcome == "deny"
    assert (code, rule) in [(violation.code, violation.rule) for violation in decision.violations]


@pytest.mark.parametrize(
    ("before", "currency", "last", "passes"),
    [
        (("50.00", "50.00", "40.00"), "USD", "10.00", True),
        (("50.00", "50.00", "40.00"), "USD", "10.01", False),
        (("50", "5"), "USDT", "5", True),
        (("50", "5"), "USDT", "5.000001", False),
    ],
)
def test_the_day_cap_counts_to_the_last_minor_unit(
    before: tuple[str, ...], currency: str, last: str, passes: bool
) -> None:
    decision = decide(POLICY, ask(last, currency), book=spent(*before, currency=currency))
    assert (decision.outcome == "allow") is passes
    if not passes:
        assert codes(decision) == ["LIMIT_EXCEEDED"]
        assert decision.violations[0].rule == "agents.shopper.charge.limits.day-cap"


def test_the_day_cap_looks_back_24_hours() -> None:
    book = spent("50.00", "50.00", "50.00", at=NOW - timedelta(hours=24))
    assert codes(decide(POLICY, ask(), book=book)) == ["LIMIT_EXCEEDED"]
    assert decide(POLICY, ask(), book=book, now=NOW + timedelta(minutes=1)).outcome == "allow"


def test_the_burst_counts_ten_in_an_hour() -> None:
    nine, ten = spent(*["1.00"] * 9), spent(*["1.00"] * 10)
    assert decide(POLICY, ask("1.00"), book=nine).outcome == "allow"
    assert codes(decide(POLICY, ask("1.00"), book=ten)) == ["COUNT_EXCEEDED"]
    assert decide(POLICY, ask("1.00"), book=ten, now=NOW + timedelta(minutes=61)).outcome == "allow"


def test_refunds_count_five_in_a_day_and_nothing_else() -> None:
    book = Book()
    for _ in range(5):
        assert decide(POLICY, refund("60.00", agent="shopper"), book=book).outcome == "approve"
        book.hold(POLICY, refund("60.00", agent="shopper"))
    assert codes(decide(POLICY, refund("1.00", agent="shopper"), book=book)) == ["COUNT_EXCEEDED"]
    assert decide(POLICY, ask("1.00"), book=book).outcome == "allow", "refunds use up no charge"


def test_the_budgets_count_everybody_up_the_tree() -> None:
    asked = readings(POLICY, ask(), NOW)
    operations = ("charge", "subscribe")
    day = Reading(
        tuple(CounterKey("budget:research", operation, "collect", "USD") for operation in operations),
        datetime(2026, 3, 9, 12, 30, tzinfo=UTC),
    )
    month = Reading(
        tuple(CounterKey("budget:company", operation, "collect", "USD") for operation in operations),
        datetime(2026, 2, 28, 23, 0, tzinfo=UTC),
    )
    assert day in asked
    assert month in asked, "March begins at midnight in Berlin"


@pytest.mark.parametrize(("subject", "cap"), [("budget:research", 60000), ("budget:company", 500000)])
def test_each_budget_has_its_cap(subject: str, cap: int) -> None:
    book = Book()
    key = CounterKey(subject, "subscribe", "collect", "USD")
    book.entries.append((key, NOW.replace(second=0), cap - 1000))
    assert decide(POLICY, ask("10.00"), book=book).outcome == "allow"
    assert codes(decide(POLICY, ask("10.01"), book=book)) == ["BUDGET_EXHAUSTED"]


def test_the_approvals_name_group_quorum_and_expiry() -> None:
    big, stranger = decide(POLICY, ask("30.00", payee=STRANGER)).needs
    assert (big.rule, big.group, big.members, big.quorum) == ("big", "finance", ("alice", "bob"), 1)
    assert (big.pointer, big.expires) == ("agents.shopper.approvals.big", timedelta(minutes=30))
    assert (stranger.rule, stranger.expires) == ("stranger", timedelta(hours=2))


def test_a_vendor_of_the_list_is_known_in_any_spelling() -> None:
    assert decide(POLICY, ask(payee=Payee.parse(VENDOR))).payee_is_new is False
    assert decide(POLICY, ask(payee=STRANGER)).payee_is_new is True
