"""Every field of the language is enforced: with it the request ends otherwise than without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from agentpay_policies.decisions import CounterKey, Request, State, Sum
from agentpay_policies.evaluate import amounts_counted, counted, evaluate, readings
from agentpay_policies.memo import MemoRule, render_memo
from agentpay_policies.money import Price
from agentpay_policies.policy import Policy
from agentpay_policies.terms import Term, parse_term
from unit.policies.helpers import BASIC, NOW, Book, basic, charge, codes, decide, refund, subscribe, usage

ANA, ACCT, OTHER = "paypal:ana@example.com", "stripe:acct_1", "stripe:acct_2"
DAY = {"rolling": "24h"}
RULE: dict[str, Any] = {"id": "ask", "approvers": "finance"}
PAYEES = {"allow": ["self", ANA, ACCT, OTHER]}
BOTH = {"directions": ["collect", "send"], "per_transaction": {"max": "1000.00 USD"}}
KINDS = {"food": [ACCT], "travel": [OTHER]}
OPEN: dict[str, Any] = {"bot__payees": PAYEES, "bot__charge": BOTH, "categories": KINDS}
"""An agent that may pay four payees in both directions, of which one is food and one is travel."""


def when(**conditions: Any) -> dict[str, Any]:
    return {"bot__approvals": [RULE | {"when": conditions}]}


@dataclass(frozen=True)
class Row:
    """What a field changes: the answer with it, where without it the request is allowed."""

    changes: dict[str, Any]
    request: Request
    answer: str
    before: tuple[Request, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)

    def answer_of(self, policy: Policy) -> str:
        book = Book()
        for request in self.before:
            book.hold(policy, request, NOW - timedelta(hours=1))
        decision = decide(policy, self.request, book=book, **self.state)
        return decision.outcome if decision.outcome != "deny" else codes(decision)[0]


SPLIT = {"unapproved_total_over": "100.00 USD", "window": DAY}
CAP = {"id": "cap", "amount": "100.00 USD", "window": DAY}
FEW = {"id": "few", "count": 1, "window": DAY}

ROWS: dict[str, Row] = {
    "not_before": Row({"bot__not_before": "2027-01-01T00:00:00Z"}, charge(), "AGENT_NOT_YET_ACTIVE"),
    "expires_at": Row({"bot__expires_at": "2026-01-01T00:00:00Z"}, charge(), "AGENT_EXPIRED"),
    "time_windows.days": Row(
        {"bot__time_windows": [{"days": ["mon", "wed"], "from": "00:00", "to": "24:00"}]}, charge(), "OUTSIDE_HOURS"
    ),
    "time_windows.from": Row({"bot__time_windows": [{"from": "12:31", "to": "24:00"}]}, charge(), "OUTSIDE_HOURS"),
    "time_windows.to": Row({"bot__time_windows": [{"from": "00:00", "to": "12:30"}]}, charge(), "OUTSIDE_HOURS"),
    "time_windows.tz": Row(
        {"bot__time_windows": [{"from": "12:00", "to": "13:00", "tz": "Asia/Tokyo"}]}, charge(), "OUTSIDE_HOURS"
    ),
    "categories.allow": Row({"bot__categories": {"allow": ["food"]}}, charge(payee=OTHER), "CATEGORY_NOT_ALLOWED"),
    "categories.allow of none": Row({"bot__categories": {"allow": ["food"]}}, charge(), "CATEGORY_NOT_ALLOWED"),
    "categories.deny": Row({"bot__categories": {"deny": ["food"]}}, charge(payee=ACCT), "CATEGORY_NOT_ALLOWED"),
    "customers.deny": Row(
        {"bot__customers": {"allow": ["*"], "deny": ["ali*"]}}, charge(), "CUSTOMER_NOT_ALLOWED"
    ),
    "payees.deny": Row({"bot__payees": PAYEES | {"deny": [ACCT]}}, charge(payee=ACCT), "PAYEE_NOT_ALLOWED"),
    "duplicates: deny": Row({}, charge(), "DUPLICATE_SUSPECTED", state={"look_alike": "p"}),
    "duplicates: approve": Row(
        {"bot__charge__duplicates": "approve", **when(duplicate="suspected")},
        charge(), "approve", state={"look_alike": "p"},
    ),
    "periods": Row({"bot__subscribe__periods": ["monthly"]}, subscribe(period="yearly"), "PERIOD_NOT_ALLOWED"),
    "max_term": Row({"bot__subscribe__max_term": "1 year"}, subscribe(period="monthly", term=13), "TERM_TOO_LONG"),
    "record_usage.limits amount": Row(
        {"bot__record_usage__limits": [CAP | {"amount": "1.00 USD"}]},
        usage(cost=Price("0.500000001", "USD")), "LIMIT_EXCEEDED", before=(usage(cost=Price("0.5", "USD")),),
    ),
    "record_usage.limits count": Row(
        {"bot__record_usage__limits": [FEW]}, usage(), "COUNT_EXCEEDED", before=(usage(5),)
    ),
    "refund.per_transaction.min": Row(
        {"bot__refund__per_transaction": {"min": "5.00 USD"}}, refund("4.99"), "BELOW_MINIMUM"
    ),
    "refund.per_transaction.max": Row(
        {"bot__refund__per_transaction": {"max": "5.00 USD"}}, refund("5.01"), "ABOVE_MAXIMUM"
    ),
    "of under an agent": Row(
        {"bot__charge__limits": [CAP | {"of": ["charge", "subscribe"]}]},
        charge("10.01"), "LIMIT_EXCEEDED", before=(subscribe(amount="90.00"),),
    ),
    "of reaches the other operation": Row(
        {"bot__charge__limits": [CAP | {"of": ["charge", "subscribe"]}]},
        subscribe(amount="10.01"), "LIMIT_EXCEEDED", before=(charge("90.00"),),
    ),
    "of a budget, refunds": Row(
        {"budgets": {"pot": {"limits": [CAP | {"of": ["refund"]}]}}, "bot__budget": "pot"},
        refund("10.01"), "BUDGET_EXHAUSTED", before=(refund("90.00"), charge("90.00")),
    ),
    "of a budget, counted with usage": Row(
        {"budgets": {"pot": {"limits": [FEW | {"of": ["charge", "record_usage"]}]}}, "bot__budget": "pot"},
        usage(), "BUDGET_EXHAUSTED", before=(charge(),),
    ),
    "per: category": Row(
        {"bot__charge": BOTH | {"limits": [CAP | {"per": "category"}]}},
        charge("10.01", payee=ACCT), "LIMIT_EXCEEDED", before=(charge("90.00", payee=ACCT),),
    ),
    "count: committed": Row(
        {"bot__charge__limits": [CAP | {"of": ["charge", "subscribe"]}]},
        subscribe(amount="10.00", period="monthly", term=11), "LIMIT_EXCEEDED",
    ),
    "when.unapproved_total_over": Row(
        when(**SPLIT), charge("10.01"), "approve", before=(charge("45.00"), charge("45.00"))
    ),
    "when.category": Row(when(category="food"), charge(payee=ACCT), "approve"),
    "when.provider": Row(when(provider=["mock", "x"]), charge(), "approve"),
    "when.direction": Row(when(direction="send"), charge(payee=ANA), "approve"),
    "when.operation": Row(when(operation=["refund", "subscribe"]), refund(), "approve"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_with_the_field_the_answer_is_another(name: str) -> None:
    row = ROWS[name]
    assert row.answer_of(basic(**{**OPEN, **row.changes})) == row.answer
    if "look_alike" not in row.state:
        assert row.answer_of(basic(**OPEN)) == "allow"


NOT: dict[str, Row] = {
    "not_before, from that moment on": Row({"bot__not_before": "2026-03-10T12:30:45Z"}, charge(), "allow"),
    "expires_at, until that moment": Row({"bot__expires_at": "2026-03-10T12:30:46Z"}, charge(), "allow"),
    "hours": Row({"bot__time_windows": [{"days": ["tue"], "from": "12:30", "to": "12:31"}]}, charge(), "allow"),
    "hours of reading": Row(
        {"bot__time_windows": [{"from": "01:00", "to": "02:00"}]}, Request("check_access", "bot"), "allow"
    ),
    "a category that is open": Row({"bot__categories": {"allow": ["food"]}}, charge(payee=ACCT), "allow"),
    "no category is not denied": Row({"bot__categories": {"deny": ["food"]}}, charge(), "allow"),
    "a refund has no category": Row({"bot__categories": {"allow": []}}, refund(payee=ACCT), "allow"),
    "another customer": Row({"bot__customers": {"allow": ["*"], "deny": ["bob", "alic"]}}, charge(), "allow"),
    "duplicates: warn": Row({"bot__charge__duplicates": "warn"}, charge(), "allow", state={"look_alike": "p"}),
    "a term that just fits": Row(
        {"bot__subscribe__max_term": "1 year"}, subscribe(period="monthly", term=12), "allow"
    ),
    "count: paid": Row(
        {"bot__charge__limits": [CAP | {"of": ["charge", "subscribe"]}], "bot__subscribe__count": "paid"},
        subscribe(amount="10.00", period="monthly", term=11), "allow",
    ),
    "another category has its own": Row(
        {"bot__charge": BOTH | {"limits": [CAP | {"per": "category"}]}},
        charge("90.00", payee=OTHER), "allow", before=(charge("90.00", payee=ACCT), charge("90.00")),
    ),
    "splitting up to the threshold": Row(when(**SPLIT), charge("10.00"), "allow", before=(charge("90.00"),)),
    "splitting, refunds apart": Row(when(**SPLIT), refund("90.00"), "allow", before=(refund("90.00"),)),
    "another condition fails": Row(
        when(category="food", direction="send", operation="charge"), charge(payee=ACCT), "allow"
    ),
    "another provider": Row(when(provider="stripe"), charge(), "allow"),
    "a refund is of no category": Row(when(category="food"), refund(payee=ACCT), "allow"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT)
def test_and_no_further_than_it_says(name: str) -> None:
    row = NOT[name]
    assert row.answer_of(basic(**{**OPEN, **row.changes})) == row.answer


# ---- what passed without approval


def test_what_people_approved_is_not_split() -> None:
    policy = basic(**when(**SPLIT))
    book = Book().hold(policy, charge("90.00"), approved=True).hold(policy, charge("50.00"))
    assert decide(policy, charge("50.00"), book=book).outcome == "allow"
    assert [need.rule for need in decide(policy, charge("50.01"), book=book).needs] == ["ask"]
    assert decide(policy, charge("50.01"), book=book, approved=frozenset({"ask"})).outcome == "allow"


def test_splitting_is_added_up_over_directions_and_subscriptions() -> None:
    policy = basic(**OPEN, **when(**SPLIT))
    book = Book().hold(policy, charge("40.00", payee=ANA)).hold(policy, subscribe(amount="40.00"))
    assert decide(policy, charge("20.01"), book=book).outcome == "approve"
    assert decide(policy, charge("20.00"), book=book).outcome == "allow"
    only = basic(**OPEN, **when(**SPLIT, direction="send"))
    book = Book().hold(only, charge("90.00")).hold(only, charge("60.00", payee=ANA))
    assert decide(only, charge("40.01", payee=ANA), book=book).outcome == "approve"
    assert decide(only, charge("40.01"), book=book).outcome == "allow"


def test_the_counter_of_what_nobody_approved() -> None:
    policy = basic(**when(**SPLIT))
    key = CounterKey("agent:bot|unapproved", "charge", "collect", "USD")
    assert counted(policy, charge()) == (key,) == tuple(amounts_counted(policy, charge()))
    assert counted(policy, charge(), approved=True) == ()
    assert counted(policy, refund()) == ()
    (reading,) = readings(policy, charge(), NOW)
    assert {k.direction for k in reading.keys} == {"collect", "send"}
    assert reading.start == datetime(2026, 3, 9, 12, 30, tzinfo=UTC)
    assert codes(decide(policy, charge(), book=None)) == [], "an empty book is no spending"


def test_a_missing_sum_of_what_nobody_approved_is_a_denial() -> None:
    assert codes(evaluate(charge(), basic(**when(**SPLIT)), State(), NOW)) == ["EVALUATION_FAILED"]


# ---- each


def test_each_enrolled_agent_of_a_pattern_has_its_own() -> None:
    entry = BASIC["agents"]["bot"] | {"each": True, "charge": {"limits": [CAP]}}
    policy = basic(**{"agents__s-*": entry})
    enrolled = frozenset({"s-1", "s-2"})
    book = Book().hold(policy, charge("90.00", agent="s-1"))
    assert policy.path("s-1") == ("agent:s-1",)
    assert codes(decide(policy, charge("20.00", agent="s-1"), book=book, enrolled=enrolled)) == ["LIMIT_EXCEEDED"]
    assert decide(policy, charge("90.00", agent="s-2"), book=book, enrolled=enrolled).outcome == "allow"
    assert codes(decide(policy, charge(agent="s-3"), enrolled=enrolled)) == ["AGENT_UNKNOWN"]
    assert codes(decide(policy, charge(agent="s-1"))) == ["AGENT_UNKNOWN"], "nobody is enrolled"
    together = basic(**{"agents__s-*": entry | {"each": False}})
    assert together.path("s-1") == ("agent:s-*",)


@pytest.mark.parametrize("agent", ["s-1|unapproved", "s-1|customer:c1", "s- 1", "s-\n", "s-*", "s-\u200b"])
def test_an_id_that_could_be_another_subject_falls_under_no_pattern_of_each(agent: str) -> None:
    policy = basic(**{"agents__s-*": {"tools": ["charge"], "each": True}})
    assert policy.path(agent) == ()
    assert codes(decide(policy, charge(agent=agent), enrolled=frozenset({agent}))) == ["AGENT_UNKNOWN"]


# ---- memo


def test_the_decision_carries_the_memo_rule_of_a_charge() -> None:
    assert decide(basic(), charge()).memo is None
    policy = basic(bot__memo={"template": "Order {payment}"})
    assert decide(policy, charge()).memo == MemoRule(template="Order {payment}")
    assert decide(policy, refund()).memo is None
    assert decide(basic(bot__memo={"free": {"max_chars": 5}}), charge()).memo == MemoRule(max_chars=5)


FACTS = {"payment": "pay_1", "customer": "ana{agent}\u202e\n x", "agent": "bot"}


@pytest.mark.parametrize(
    ("rule", "description", "text"),
    [
        (None, "secret", None),
        (MemoRule(template="Order {payment} of {customer}"), "secret", "Order pay_1 of ana{agent} x"),
        (MemoRule(template="{plan}"), "secret", None),
        (MemoRule(max_chars=8), "A\u200bI\nana\u202elysis", "AI analy"),
        (MemoRule(max_chars=5), "ab   cd ef", "ab cd"),
        (MemoRule(max_chars=500), " \u200b\n ", None),
        (MemoRule(max_chars=3), "ab cdef", "ab"),
        (MemoRule(max_chars=500), "{payment} %s {0.__class__}", "{payment} %s {0.__class__}"),
    ],
)
def test_the_memo_is_rendered_plainly(rule: MemoRule | None, description: str, text: str | None) -> None:
    assert render_memo(rule, description=description, facts=FACTS) == text


# ---- notify


@pytest.mark.parametrize(
    ("used", "amount", "thresholds"),
    [
        ("0.00", "79.99", []),
        ("0.00", "80.00", ["0.8"]),
        ("80.00", "1.00", []),
        ("79.99", "20.01", ["0.8", "0.95", "1"]),
        ("80.00", "15.00", ["0.95"]),
        ("95.00", "5.00", ["1"]),
    ],
)
def test_notices_say_what_is_crossed_once(used: str, amount: str, thresholds: list[str]) -> None:
    policy = basic(bot__notify=[0.8, 0.95, 1], bot__charge__limits=[CAP])
    book = Book().hold(policy, charge(used)) if used != "0.00" else Book()
    notices = decide(policy, charge(amount), book=book).notices
    assert [str(notice.threshold) for notice in notices] == thresholds
    for notice in notices:
        assert (notice.pointer, notice.cap, notice.unit) == ("agents.bot.charge.limits.cap", 10000, "USD")


def test_notices_are_of_shared_budgets_too_and_never_of_a_denial() -> None:
    policy = basic(bot__notify=["0.5"], budgets={"pot": {"limits": [CAP]}}, bot__budget="pot")
    assert [notice.subject for notice in decide(policy, charge("50.00")).notices] == ["budget:pot"]
    assert decide(policy, charge("50.00", provider="x")).notices == ()
    assert decide(basic(budgets={"pot": {"limits": [CAP]}}, bot__budget="pot"), charge("50.00")).notices == ()
    assert basic(bot__notify=[0.80]).hash == basic(bot__notify=["0.8"]).hash
    assert basic(bot__notify=[0.8]).agents[0].notify == (Decimal("0.8"),)


# ---- duplicates, refunds


def test_a_look_alike_that_is_let_through_is_noted() -> None:
    policy = basic(bot__charge__duplicates="warn")
    assert decide(policy, charge(), look_alike="pay_9").look_alike == "pay_9"
    assert decide(policy, charge()).look_alike is None
    assert decide(policy, subscribe(), look_alike="pay_9").outcome == "allow"


def test_whether_a_refund_restores_its_budget() -> None:
    restores = basic(bot__refund__restores_budget=True)
    assert decide(restores, refund()).restores_budget is True
    assert decide(restores, charge()).restores_budget is False
    assert decide(basic(), refund()).restores_budget is False


# ---- what is counted


def test_a_subscription_counts_what_it_commits_to() -> None:
    limits = {"bot__charge__limits": [CAP | {"of": ["charge", "subscribe"]}]}
    key = CounterKey("agent:bot", "subscribe", "collect", "USD")
    request = subscribe(amount="10.00", period="monthly", term=12)
    assert amounts_counted(basic(**limits), request) == {key: 12000}
    assert amounts_counted(basic(**limits, bot__subscribe__count="paid"), request) == {key: 1000}
    rule = when(amount_over="100.00 USD")
    assert decide(basic(**rule), request).outcome == "approve"
    assert decide(basic(**rule, bot__subscribe__count="paid"), request).outcome == "allow"


def test_recorded_cost_is_summed_below_a_cent() -> None:
    policy = basic(bot__record_usage__limits=[CAP, FEW | {"count": 9}])
    request = usage(3, cost=Price("0.000000001", "USD"))
    assert amounts_counted(policy, request) == {
        CounterKey("agent:bot", "record_usage", "collect", "count"): 1,
        CounterKey("agent:bot", "record_usage", "collect", "nano:USD"): 1,
    }
    (found,) = decide(policy, usage(cost=Price("100.000000001", "USD"))).violations
    assert (found.limit, found.attempted, found.used) == ("100 USD", "100.000000001 USD", "0 USD")
    assert set(amounts_counted(policy, usage())) == {CounterKey("agent:bot", "record_usage", "collect", "count")}


@pytest.mark.parametrize(
    ("term", "longest", "fits"),
    [
        ("12 months", "1 year", True),
        ("13 months", "1 year", False),
        ("1 year", "12 months", True),
        ("1 year", "365 days", False),
        ("1 year", "366 days", True),
        ("12 months", "366 days", True),
        ("1 month", "30 days", False),
        ("1 month", "31 days", True),
        ("4 weeks", "1 month", True),
        ("29 days", "1 month", False),
        ("2 weeks", "14 days", True),
        ("15 days", "2 weeks", False),
        ("52 weeks", "1 year", True),
        ("366 days", "1 year", False),
    ],
)
def test_terms(term: str, longest: str, fits: bool) -> None:
    assert parse_term(term).fits(parse_term(longest)) is fits
    assert parse_term(str(parse_term(term))) == parse_term(term)
    assert Term.of("monthly", 12) == parse_term("12 months")


# ---- what is compared with what


def test_a_payee_is_matched_whole() -> None:
    policy = basic(bot__payees={"allow": ["stripe:acct_1", ANA]}, bot__charge=BOTH)
    assert decide(policy, charge(payee="stripe:acct_1")).outcome == "allow"
    for other in ("stripe:acct_12", "paypal:ana@example.com.evil.com", "paypal:ana@example.co"):
        assert codes(decide(policy, charge(payee=other))) == ["PAYEE_NOT_ALLOWED"]


def test_what_is_held_is_spent() -> None:
    policy = basic(bot__charge__limits=[CAP])
    (reading,) = readings(policy, charge(), NOW)
    held = State({reading: Sum(9500, held=9500)})
    assert codes(evaluate(charge("5.01"), policy, held, NOW)) == ["LIMIT_EXCEEDED"]
    assert evaluate(charge("5.00"), policy, held, NOW).outcome == "allow"


def test_the_category_is_the_operators_word() -> None:
    """Whatever the model writes into any text of a request, the payee's category stays the operator's."""
    limits = {"limits": [CAP | {"per": "category"}]}
    policy = basic(**OPEN | {"bot__categories": {"allow": ["food"]}, "bot__charge": BOTH | limits})
    words = {"method": "food", "plan": "food", "customer": "food", "customer_ref": "food"}
    assert codes(decide(policy, charge(payee=OTHER, **words))) == ["CATEGORY_NOT_ALLOWED"]
    (counter,) = counted(policy, charge(payee=OTHER, **words))
    assert counter.subject == "agent:bot|category:travel"
    assert {name for name in Request.__dataclass_fields__ if "categor" in name} == set()
