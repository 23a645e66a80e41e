"""The ready files, each with a table of requests and answers; and that each reads like what it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from agentpay_policies.decisions import Request
from agentpay_policies.explain import explain
from agentpay_policies.files import ready_file, ready_names
from agentpay_policies.loader import load_policy
from agentpay_policies.money import Price
from agentpay_policies.policy import Policy
from unit.policies.helpers import Book, charge, codes, decide, refund, subscribe, usage

TUESDAY = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SUNDAY = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)
NIGHT = datetime(2026, 3, 10, 22, 30, tzinfo=UTC)

SUPPLIER = "eip155:1:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
PAYROLL = "eip155:1:0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB"
STRANGER = "eip155:1:0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb"
ON_BASE = "eip155:8453:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
BOOKS, FLOWERS = "stripe:acct_1BookshopXmpl", "paypal:orders@flower-shop.example.com"
DATA, TRAINS = "stripe:acct_1DataToolsXmpl", "stripe:acct_1TrainsXmpl"


@cache
def policy(name: str) -> Policy:
    return load_policy(ready_file(name))


def pocket(amount: str, payee: str = BOOKS, **more: Any) -> Request:
    return charge(amount, payee=payee, **({"agent": "assistant", "customer": "me", "provider": "stripe"} | more))


def support(amount: str, **more: Any) -> Request:
    return refund(amount, **({"agent": "support", "own_charge": False} | more))


def seller(request: Request) -> Request:
    return replace(request, agent="api-gateway")


def buys(amount: str, payee: str = DATA, agent: str = "buyer") -> Request:
    return charge(amount, payee=payee, agent=agent, customer="research-team")


def pays(amount: str, payee: str = SUPPLIER, **more: Any) -> Request:
    return charge(
        amount, "USDC", payee=payee, **({"agent": "treasurer", "customer": "treasury", "provider": "crypto"} | more)
    )


Row = tuple[str, list[Request], Request, str, datetime]


def rows(name: str, *table: tuple[Any, ...]) -> list[Row]:
    """(requests an hour before, the request, its answer, and when, if not on a Tuesday at noon)."""
    return [(name, row[0], row[1], row[2], row[3] if len(row) > 3 else TUESDAY) for row in table]


TABLE: list[Row] = [
    *rows(
        "pocket-allowance",
        ([], pocket("10.00"), "allow"),
        ([], pocket("10.00", FLOWERS, provider="paypal"), "allow"),
        ([], pocket("10.01"), "dear"),
        ([], pocket("15.01"), "ABOVE_MAXIMUM"),
        ([], pocket("5.00", "stripe:acct_other"), "stranger"),
        ([], pocket("5.00", "paypal:prizes@LOTTERY.example.com."), "PAYEE_NOT_ALLOWED"),
        ([], pocket("5.00", customer="you"), "CUSTOMER_NOT_ALLOWED"),
        ([], pocket("5.00", currency="EUR"), "CURRENCY_NOT_ALLOWED"),
        ([pocket("10.00")] * 3, pocket("10.00", FLOWERS), "allow"),
        ([pocket("10.00")] * 3, pocket("10.01", FLOWERS), "LIMIT_EXCEEDED"),
        ([pocket("1.00")] * 5, pocket("1.00"), "COUNT_EXCEEDED"),
        ([], pocket("5.00"), "OUTSIDE_HOURS", NIGHT),
        ([], pocket("5.00"), "AGENT_EXPIRED", datetime(2037, 1, 1, 12, tzinfo=UTC)),
        ([], refund(agent="assistant", customer="me"), "TOOL_NOT_ALLOWED"),
    ),
    *rows(
        "support-refunds",
        ([], support("40.00"), "allow"),
        ([], support("40.01"), "dear"),
        ([], support("100.01"), "ABOVE_MAXIMUM"),
        ([], support("5.00", customer="test-7"), "CUSTOMER_NOT_ALLOWED"),
        ([support("5.00")] * 2, support("5.00"), "COUNT_EXCEEDED"),
        ([support("5.00")] * 2, support("5.00", customer_ref="c2"), "allow"),
        ([support("99.00", customer_ref=f"c{i}") for i in range(3, 8)], support("5.01"), "LIMIT_EXCEEDED"),
        ([], charge("1.00", agent="support"), "TOOL_NOT_ALLOWED"),
        ([], Request("list_payments", "support", customer="alice"), "allow"),
    ),
    *rows(
        "metered-api",
        ([], seller(usage(10000, cost=Price("2.5", "USD"))), "allow"),
        ([], seller(usage(10001)), "QUANTITY_TOO_LARGE"),
        ([], seller(usage(1, cost=Price("2.500000001", "USD"))), "COST_TOO_HIGH"),
        ([], seller(usage(customer="enterprise-7")), "CUSTOMER_NOT_ALLOWED"),
        ([], seller(charge("50.00")), "allow"),
        ([], seller(charge("0.99")), "BELOW_MINIMUM"),
        ([], seller(charge("50.01")), "ABOVE_MAXIMUM"),
        ([seller(charge("50.00"))], seller(charge("10.01")), "LIMIT_EXCEEDED"),
        ([seller(charge("50.00"))], seller(charge("50.00", customer_ref="c2")), "allow"),
        ([seller(charge("50.00"))], seller(subscribe("hobby", "10.01")), "LIMIT_EXCEEDED"),
        ([seller(subscribe("hobby", "20.00"))], seller(charge("40.01")), "LIMIT_EXCEEDED"),
        ([], seller(subscribe("hobby", "20.00")), "allow"),
        ([], seller(subscribe("pro", "49.00")), "dear-plan"),
        ([], seller(subscribe("pro", "49.01")), "ABOVE_MAXIMUM"),
        ([], seller(subscribe("team", "10.00")), "PLAN_NOT_ALLOWED"),
        ([], seller(charge("5.00", payee="stripe:acct_1")), "PAYEE_NOT_ALLOWED"),
        ([], seller(refund("5.00")), "TOOL_NOT_ALLOWED"),
    ),
    *rows(
        "team-budget",
        ([], buys("50.00"), "allow"),
        ([], buys("50.01"), "dear"),
        ([], buys("80.01"), "ABOVE_MAXIMUM"),
        ([], buys("5.00", TRAINS), "travel"),
        ([], buys("5.00", "stripe:acct_other"), "PAYEE_NOT_ALLOWED"),
        ([], buys("5.00", agent="reader-7"), "allow"),
        ([], buys("5.01", agent="reader-7"), "ABOVE_MAXIMUM"),
        ([], buys("5.00", TRAINS, agent="reader-7"), "CATEGORY_NOT_ALLOWED"),
        ([], buys("5.00", agent="writer-7"), "AGENT_UNKNOWN"),
        ([buys("50.00"), buys("45.00")], buys("5.01"), "BUDGET_EXHAUSTED"),
        ([buys("50.00"), buys("45.00")], buys("5.00", agent="reader-7"), "allow"),
        ([buys("5.00", agent=f"reader-{i}") for i in range(10)], buys("0.01", agent="reader-x"), "LIMIT_EXCEEDED"),
    ),
    *rows(
        "treasury",
        ([], pays("500"), "allow"),
        ([], pays("500.000001"), "middling"),
        ([], pays("2000.000001"), "large+middling"),
        ([], pays("5000.000001"), "ABOVE_MAXIMUM"),
        ([], pays("0.999999"), "BELOW_MINIMUM"),
        ([], pays("100", PAYROLL), "wages"),
        ([], pays("100", STRANGER), "PAYEE_NOT_ALLOWED"),
        ([], pays("100", ON_BASE), "PAYEE_NOT_ALLOWED"),
        ([], pays("100"), "OUTSIDE_HOURS", SUNDAY),
        ([], pays("100"), "OUTSIDE_HOURS", NIGHT),
        ([pays("4000")] * 2, pays("0.999999"), "BELOW_MINIMUM"),
        ([pays("4000")] * 2, pays("1"), "LIMIT_EXCEEDED"),
        ([pays("4000")] * 2, pays("500", PAYROLL), "wages"),
        ([], charge("100", "USD", agent="treasurer", customer="treasury", payee="self"), "CURRENCY_NOT_ALLOWED"),
        ([], pays("100", provider="stripe"), "PROVIDER_NOT_ALLOWED"),
    ),
]


@pytest.mark.parametrize(("name", "before", "request_", "answer", "now"), TABLE)
def test_a_ready_file_answers_as_it_says(
    name: str, before: list[Request], request_: Request, answer: str, now: datetime
) -> None:
    book = Book()
    for earlier in before:
        book.hold(policy(name), earlier, now - timedelta(hours=1))
    decision = decide(policy(name), request_, book=book, now=now)
    if decision.outcome == "deny":
        assert answer in codes(decision), codes(decision)
    elif decision.outcome == "approve":
        assert answer == "+".join(need.rule for need in decision.needs)
    else:
        assert answer == "allow"


def test_each_ready_file_has_a_table() -> None:
    assert {row[0] for row in TABLE} | {"starter"} == set(ready_names())
    for name in ready_names():
        if name != "starter":
            assert {"allow"} <= {row[3] for row in TABLE if row[0] == name}
            assert len([row for row in TABLE if row[0] == name]) >= 9


@pytest.mark.parametrize("name", ready_names())
def test_each_ready_file_is_written_for_people(name: str) -> None:
    text = ready_file(name)
    assert policy(name).id == name
    assert policy(name).warnings == ()
    comments = [line for line in text.splitlines() if line.strip().startswith("#")]
    assert len(comments) >= 10
    assert all(len(line) <= 120 for line in text.splitlines())
    for entry in policy(name).agents:
        said = explain(policy(name), entry.id.replace("*", "1"))
        assert len(said) >= 5 and all(sentence.endswith(".") for sentence in said)
