"""docs/policy.md: every example loads and answers as the page says."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import agentpay_policies
from agentpay_policies.decisions import Request
from agentpay_policies.loader import load_mapping
from agentpay_policies.money import Price
from agentpay_policies.policy import Policy
from unit.policies.helpers import Book, charge, codes, decide, refund, subscribe, usage

PAGE = (Path(agentpay_policies.__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- example: ([a-z]+) -->\n```[a-z ]+\n(.*?)```\n", PAGE, re.DOTALL)
TEXTS = dict(EXAMPLES)

TUESDAY = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR_AGO = TUESDAY - timedelta(hours=1)
VENDOR, BOOKS, TRAINS, ANA = (
    "stripe:acct_1A2b3C",
    "stripe:acct_1Books",
    "stripe:acct_1Trains",
    "paypal:ana@example.com",
)
ADDRESS = "eip155:1:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def merged(base: Any, more: Any) -> Any:
    """The base with the example's parts put in: mappings into one another, but the sections of an operation whole."""
    made = copy.deepcopy(base)
    for key, value in more.items():
        inner = isinstance(value, dict) and isinstance(made.get(key), dict) and key not in ("charge", "payees")
        made[key] = merged(made[key], value) if inner else copy.deepcopy(value)
    return made


def mapping(name: str) -> Any:
    """The example as a whole file: it is one, or a part of one, or a part of the entry of `bot`."""
    part = yaml.safe_load(TEXTS[name])
    if "version" in part:
        return part
    return merged(yaml.safe_load(TEXTS["base"]), part if "agents" in part else {"agents": {"bot": part}})


@cache
def policy(name: str) -> Policy:
    return load_mapping(mapping(name))


Row = tuple[str, list[Request], Request, str, dict[str, Any]]


def rows(name: str, *table: tuple[Any, ...]) -> list[Row]:
    """(requests an hour before, the request, its answer, and what else is so)."""
    return [(name, row[0], row[1], row[2], row[3] if len(row) > 3 else {}) for row in table]


def at(text: str) -> dict[str, Any]:
    return {"now": datetime.fromisoformat(text)}


TABLE: list[Row] = [
    *rows(
        "base",
        ([], charge("25.00"), "allow"),
        ([], charge("25.01"), "big"),
        ([], charge("0.49"), "BELOW_MINIMUM"),
        ([], charge("50.01"), "ABOVE_MAXIMUM"),
        ([charge("50.00")] * 3, charge("0.50"), "LIMIT_EXCEEDED"),
        ([], charge("5.00", agent="other"), "AGENT_UNKNOWN"),
        ([], charge("5.00", payee="stripe:acct_other"), "PAYEE_NOT_ALLOWED"),
    ),
    *rows(
        "lists",
        ([], charge("5.00", customer="alice"), "allow"),
        ([], charge("5.00", customer="team-a"), "allow"),
        ([], charge("5.00", customer="team-test"), "CUSTOMER_NOT_ALLOWED"),
        ([], charge("5.00", customer="bob"), "CUSTOMER_NOT_ALLOWED"),
        ([], charge("5.00", payee=VENDOR), "allow"),
        ([], charge("5.00", payee="stripe:acct_other"), "stranger"),
        ([], charge("5.00", payee=TRAINS), "PAYEE_NOT_ALLOWED"),
        ([], charge("5.00", payee=ADDRESS), "DIRECTION_NOT_ALLOWED"),
    ),
    *rows(
        "categories",
        ([], charge("5.00", payee=BOOKS), "allow"),
        ([], charge("5.00", payee=TRAINS), "CATEGORY_NOT_ALLOWED"),
        ([], charge("5.00"), "allow"),
    ),
    *rows(
        "times",
        ([], charge("5.00"), "allow", at("2026-03-10T08:30:00+01:00")),
        ([], charge("5.00"), "OUTSIDE_HOURS", at("2026-03-10T17:30:00+01:00")),
        ([], charge("5.00"), "allow", at("2026-03-14T01:59:00+01:00")),
        ([], charge("5.00"), "OUTSIDE_HOURS", at("2026-03-14T02:00:00+01:00")),
        ([], charge("5.00"), "allow", at("2026-07-10T08:30:00+02:00")),
        ([], Request("check_access", "bot"), "allow", at("2026-03-15T03:00:00+01:00")),
        ([], charge("5.00"), "AGENT_NOT_YET_ACTIVE", at("2025-12-31T12:00:00+01:00")),
        ([], charge("5.00"), "AGENT_EXPIRED", at("2026-12-31T23:59:00+01:00")),
    ),
    *rows(
        "limits",
        ([charge("25.00", customer_ref="c2")] * 2, charge("25.00"), "allow"),
        ([charge("1.00")] * 3, charge("1.00"), "COUNT_EXCEEDED"),
        ([charge("50.00"), charge("10.00")], charge("0.01"), "LIMIT_EXCEEDED"),
        ([charge("50.00"), charge("10.00")], charge("25.00", customer_ref="c2"), "allow"),
        ([charge("50.00", customer_ref="c2")] * 2, charge("0.01"), "LIMIT_EXCEEDED"),
        ([charge("50.00", customer_ref="c2")] * 2, charge("5.00"), "allow", at("2026-03-11T04:00:00+00:00")),
    ),
    *rows(
        "of",
        ([subscribe(amount="50.00")], charge("30.01"), "LIMIT_EXCEEDED"),
        ([subscribe(amount="50.00")], charge("25.00"), "allow"),
        ([charge("50.00")], subscribe(amount="30.01"), "LIMIT_EXCEEDED"),
    ),
    *rows(
        "budgets",
        ([charge("50.00")], charge("10.00"), "allow"),
        ([charge("50.00")], charge("10.01"), "BUDGET_EXHAUSTED"),
        ([charge("50.00")], subscribe(amount="10.01"), "BUDGET_EXHAUSTED"),
        ([charge("50.00")], refund("20.00"), "allow"),
    ),
    *rows(
        "operations",
        ([], usage(1001), "QUANTITY_TOO_LARGE"),
        ([], usage(cost=Price("0.500000001", "USD")), "COST_TOO_HIGH"),
        ([], subscribe("team"), "PLAN_NOT_ALLOWED"),
        ([], subscribe("pro", "20.01"), "ABOVE_MAXIMUM"),
        ([], refund("30.01"), "ABOVE_MAXIMUM"),
        ([refund("1.00")] * 2, refund("1.00"), "COUNT_EXCEEDED"),
        ([], refund("1.00", own_charge=False), "NOT_OWN_PAYMENT"),
    ),
    *rows(
        "approvals",
        ([], charge("25.01"), "big"),
        ([], charge("5.00", payee=ANA), "allow"),
        ([], charge("5.01", payee=ANA), "out"),
        ([], charge("25.01", payee=ANA), "big+out"),
        ([], refund("5.00", provider="stripe"), "backs"),
        ([], refund("5.00"), "allow"),
    ),
    *rows(
        "splitting",
        ([charge("20.00")], charge("20.00"), "allow"),
        ([charge("20.00")], charge("20.01"), "split"),
    ),
    *rows(
        "duplicates",
        ([], charge("5.00"), "twice", {"look_alike": "pay_1"}),
        ([], charge("5.00"), "allow"),
    ),
    *rows(
        "terms",
        ([], subscribe(amount="10.00", period="monthly", term=12), "allow"),
        ([], subscribe(amount="10.00", period="monthly", term=13), "TERM_TOO_LONG"),
        ([], subscribe(amount="10.00", period="yearly"), "PERIOD_NOT_ALLOWED"),
    ),
    *rows(
        "counters",
        ([usage(cost=Price("1.00", "USD"))], usage(cost=Price("0.0001", "USD")), "LIMIT_EXCEEDED"),
        ([charge("40.00", payee=BOOKS)], charge("0.01", payee=BOOKS), "LIMIT_EXCEEDED"),
        ([charge("40.00", payee=BOOKS)], charge("25.00"), "allow"),
    ),
    *rows(
        "each",
        ([charge("10.00", agent="worker-1")], charge("0.01", agent="worker-1"), "LIMIT_EXCEEDED",
         {"enrolled": frozenset({"worker-1"})}),
        ([charge("10.00", agent="worker-1")], charge("10.00", agent="worker-2"), "allow",
         {"enrolled": frozenset({"worker-2"})}),
        ([], charge("1.00", agent="worker-3"), "AGENT_UNKNOWN", {"enrolled": frozenset({"worker-2"})}),
    ),
    *rows(
        "shadow",
        ([charge("20.00")], charge("5.00"), "allow"),
        ([charge("50.00")] * 3, charge("1.00"), "LIMIT_EXCEEDED"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "before", "request_", "answer", "state"), TABLE)
def test_an_example_answers_as_the_page_says(
    name: str, before: list[Request], request_: Request, answer: str, state: dict[str, Any]
) -> None:
    book = Book()
    for earlier in before:
        book.hold(policy(name), earlier, HOUR_AGO)
    decision = decide(policy(name), request_, book=book, **({"now": TUESDAY} | state))
    if decision.outcome == "deny":
        assert answer in codes(decision), codes(decision)
    elif decision.outcome == "approve":
        assert answer == "+".join(need.rule for need in decision.needs)
    else:
        assert answer == "allow"


def test_every_example_of_the_page_has_a_table() -> None:
    assert len(TEXTS) == len(EXAMPLES) == PAGE.count("\n```yaml")
    assert {row[0] for row in TABLE} == set(TEXTS)


def test_a_shadow_limit_of_the_page_is_logged() -> None:
    book = Book().hold(policy("shadow"), charge("20.00"), HOUR_AGO)
    (found,) = decide(policy("shadow"), charge("5.00"), book=book, now=TUESDAY).shadow
    assert found.pointer.endswith("stricter")


def test_the_ready_files_that_the_page_names_are_there() -> None:
    from agentpay_policies.files import ready_names

    assert all(f"`{name}`" in PAGE for name in ready_names())


def test_a_request_of_an_unknown_agent_is_the_same_denial_in_every_example() -> None:
    for name in TEXTS:
        assert codes(decide(policy(name), replace(charge(), agent="nobody"))) == ["AGENT_UNKNOWN"]
