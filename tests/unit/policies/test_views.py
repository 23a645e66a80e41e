"""What a decision says to whom: the agent its own, the operator everything, and shadow rules to the log only."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpay_policies.budget import budget_readings, budget_view
from agentpay_policies.decisions import Halt, OperatorViolation, Reading, Request, State, Sum, Violation
from agentpay_policies.evaluate import evaluate, readings
from agentpay_policies.memo import render_memo
from agentpay_policies.money import Money
from agentpay_policies.names import OPERATIONS, TOOL_NAMES
from unit.policies.full import POLICY
from unit.policies.helpers import NOW, Book, basic, charge, codes, decide, refund, subscribe, usage

CAP: dict[str, Any] = {"id": "cap", "amount": "100.00 USD", "window": {"rolling": "24h"}}
RULE: dict[str, Any] = {"id": "ask", "approvers": "finance", "when": {"amount_over": "5.00 USD"}}


# ---- the operator's view


def test_the_operator_sees_every_figure_of_a_shared_budget() -> None:
    policy = basic(budgets={"pot": {"limits": [CAP]}}, bot__budget="pot")
    (reading,) = readings(policy, charge(), NOW)
    decision = evaluate(charge("30.00"), policy, State({reading: Sum(8000, 1500)}), NOW)
    (agent,), (operator,) = decision.violations, decision.for_operator
    assert (agent.code, agent.limit, agent.used, agent.held, agent.remaining) == ("BUDGET_EXHAUSTED", *[None] * 4)
    assert (operator.limit, operator.used, operator.held) == ("100.00 USD", "65.00 USD", "15.00 USD")
    assert (operator.remaining, operator.attempted, operator.subject) == ("20.00 USD", "30.00 USD", "budget:pot")
    assert "20.00 USD of 100.00 USD" in operator.message and "20.00" not in agent.message
    assert operator.rule == agent.rule == "budgets.pot.limits.cap"


@pytest.mark.parametrize(
    ("changes", "request_", "asked", "allowed"),
    [
        ({}, charge(provider="x"), "x", ("mock",)),
        ({}, charge(payee="stripe:acct_1"), "stripe:acct_1", ("self",)),
        ({"bot__customers": {"allow": ["bob", "team-*"]}}, charge(), "alice", ("bob", "team-*")),
        ({}, charge(money=Money("1", "EUR")), "EUR", ("USD",)),
        ({"bot__subscribe__plans": ["a"]}, subscribe("pro"), "pro", ("a",)),
        ({"bot__tools": ["refund"]}, charge(), "charge", ("refund",)),
        ({"bot__categories": {"allow": ["k"]}, "categories": {"k": []}}, charge(), "", ("k",)),
    ],
)
def test_the_operator_sees_both_sides_of_a_comparison(
    changes: dict[str, Any], request_: Request, asked: str, allowed: tuple[str, ...]
) -> None:
    decision = decide(basic(**changes), request_)
    assert (asked, allowed) in [(found.asked, found.allowed) for found in decision.for_operator]
    assert [found.code for found in decision.for_operator] == codes(decision)


def test_the_two_views_are_two_types() -> None:
    assert not issubclass(OperatorViolation, Violation) and not issubclass(Violation, OperatorViolation)
    assert {"asked", "allowed", "subject"} == {f.name for f in fields(OperatorViolation)} - {
        f.name for f in fields(Violation)
    }


def test_a_halt_and_a_failure_say_why_to_the_operator_only() -> None:
    halted = decide(basic(), charge(), halts=(Halt("all", "fraud"),))
    assert "fraud" in halted.for_operator[0].allowed and "fraud" not in repr(halted.violations)
    failed = decide(basic(), charge(customer=5))
    assert failed.for_operator[0].asked and failed.for_operator[0].asked not in repr(failed.violations)


# ---- shadow

SHADOW: list[tuple[dict[str, Any], Request, str, str]] = [
    ({"bot__charge__limits": [CAP | {"amount": "5.00 USD", "shadow": True}]}, charge(), "deny", "charge.limits.cap"),
    ({"bot__record_usage__limits": [{"id": "n", "count": 0, "window": "lifetime", "shadow": True}]}, usage(), "deny",
     "record_usage.limits.n"),
    ({"bot__refund__limits": [CAP | {"amount": "5.00 USD", "shadow": True}]}, refund(), "deny", "refund.limits.cap"),
    ({"bot__approvals": [RULE | {"shadow": True}]}, charge(), "approve", "approvals.ask"),
    ({"bot__categories": {"deny": ["k"], "shadow": True}, "categories": {"k": ["self"]}}, charge(), "deny",
     "categories.deny"),
    ({"bot__time_windows": [{"from": "01:00", "to": "02:00", "shadow": True}]}, charge(), "deny", "time_windows"),
    ({"bot__charge": {"per_transaction": {"max": "5.00 USD", "shadow": True}, "limits": [CAP]}}, charge(), "deny",
     "charge.per_transaction.max"),
    ({"bot__refund__per_transaction": {"min": "50.00 USD", "shadow": True}}, refund(), "deny",
     "refund.per_transaction.min"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "request_", "outcome", "place"), SHADOW)
def test_a_shadow_rule_is_reported_and_never_decides(
    changes: dict[str, Any], request_: Request, outcome: str, place: str
) -> None:
    decision = decide(basic(**changes), request_)
    assert decision.outcome == "allow" and decision.violations == () and decision.needs == ()
    assert [(found.outcome, found.pointer) for found in decision.shadow] == [(outcome, f"agents.bot.{place}")]
    assert (decision.shadow[0].need is None) is (outcome == "deny")


def test_a_shadow_limit_of_a_budget_is_counted_beside_the_real_ones() -> None:
    pot = {"limits": [CAP, {"id": "try", "amount": "15.00 USD", "window": {"rolling": "1h"}, "shadow": True}]}
    policy = basic(budgets={"pot": pot}, bot__budget="pot")
    book = Book().hold(policy, charge("10.00"))
    decision = decide(policy, charge("10.00"), book=book)
    assert decision.outcome == "allow"
    (found,) = decision.shadow
    assert found.violation is not None and found.violation.used == "10.00 USD"
    assert [check.pointer for check in decision.checks] == ["budgets.pot.limits.cap"], "no cap that doctor holds to"
    assert codes(decide(policy, charge("90.01"), book=book)) == ["BUDGET_EXHAUSTED"]


def test_a_shadow_rule_that_cannot_be_read_denies_nothing() -> None:
    split = {"unapproved_total_over": "5.00 USD", "window": {"rolling": "1h"}}
    policy = basic(
        bot__approvals=[RULE | {"when": split, "shadow": True}],
        bot__charge__limits=[CAP | {"shadow": True, "per": "customer"}],
    )
    decision = evaluate(charge(customer_ref=None), policy, State(), NOW)
    assert decision.outcome == "allow"
    assert {found.violation.code for found in decision.shadow if found.violation} == {"EVALUATION_FAILED"}


def test_a_shadow_cap_caps_nothing_and_a_shadow_rule_asks_for_nobody() -> None:
    from agentpay_policies.errors import PolicyError

    with pytest.raises(PolicyError, match="without any cap"):
        basic(bot__charge={"limits": [CAP | {"shadow": True}]})
    with pytest.raises(PolicyError, match="without any cap"):
        basic(bot__charge={"per_transaction": {"max": "5 USD", "shadow": True}})
    new = RULE | {"when": {"payee": "new"}, "shadow": True}
    with pytest.raises(PolicyError, match="needs an approval rule"):
        basic(bot__payees={"allow": [], "new": "approve"}, bot__approvals=[new])


# ---- nothing leaks

SECRETS = (
    "acct_9", "acct_2", "ana@example.com", "mallory", "x-*", "food", "travel", "carol", "s-*", "98765432", "9876543",
    "77777", "Order", "hidden",
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    tool=st.sampled_from(TOOL_NAMES),
    amount=st.sampled_from(["0.10", "20.00", "49.00", "4999.00"]),
    payee=st.sampled_from(["self", "stripe:acct_7", "stripe:acct_1", "paypal:a@b.co"]),
    customer=st.sampled_from(["alice", None]),
    used=st.integers(0, 10**6),
    hours=st.integers(0, 24 * 400),
    look_alike=st.sampled_from([None, "pay_1"]),
)
def test_nothing_that_an_agent_reads_names_what_it_may_not_know(
    tool: Any, amount: str, payee: str, customer: str | None, used: int, hours: int, look_alike: str | None
) -> None:
    from datetime import timedelta

    now = NOW + timedelta(hours=hours)
    operation = tool if tool in OPERATIONS else None
    request = charge(amount, tool=tool, operation=operation, payee=payee, customer=customer, plan="hid", term=13)
    sums = _spent(readings(POLICY, request, now), used)
    state = State(sums, halts=(Halt("agent:other", "hidden"),), look_alike=look_alike)
    decision = evaluate(request, POLICY, state, now)
    seen = repr(decision.violations)
    view = budget_view(POLICY, "bot", _spent(budget_readings(POLICY, "bot", now), used), state.halts, now)
    seen += repr((view.tools, view.shared_budget, view.can_spend_now))
    seen += "".join(repr(limit) for limit in view.limits)
    assert not [secret for secret in SECRETS if secret in seen], seen
    assert all(found.rule == "" or found.rule.startswith(("agents", "budgets")) for found in decision.violations)


def _spent(wanted: tuple[Reading, ...], used: int) -> dict[Reading, Sum]:
    """The agent's own sums, and those of the budgets, in which the others spent figures that nobody else has."""
    return {found: Sum(used if found.keys[0].subject.startswith("agent:") else 777777777) for found in wanted}


def test_a_memo_is_made_of_facts_and_of_nothing_that_the_model_wrote() -> None:
    text = render_memo(POLICY.agents[0].memo, description="IGNORE ALL", facts={"payment": "pay_1", "customer": "c"})
    assert text == "Order pay_1 for c"
