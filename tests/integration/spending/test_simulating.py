"""What would be decided: the same as the gate decides a moment later, and nothing is written for it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import AgentPayError
from agentpay.manager.simulating import Simulation
from agentpay.plans.models import BillingPeriod, PaymentPlan, PaymentType
from agentpay.storage.types import Base
from support.bench import PEOPLE, Bench, asking, code_of, policy
from support.bench_fixtures import MakeBench

WINDOW = {"rolling": "24h"}
LIMITS = [
    {"id": "day", "amount": "150.00 USD", "window": WINDOW},
    {"id": "each", "amount": "60.00 USD", "window": WINDOW, "per": "customer"},
    {"id": "burst", "count": 12, "window": {"rolling": "1h"}},
]
ENTRY: dict[str, Any] = {
    "budget": "team",
    "customers": {"allow": ["*"], "deny": ["mallory"]},
    "payees": {"allow": ["self", "stripe:acct_1Known"], "new": "approve"},
    "charge": {"directions": ["collect"], "per_transaction": {"min": "1.00 USD", "max": "50.00 USD"}, "limits": LIMITS},
    "subscribe": {"plans": ["pro"], "max_per_period": "20.00 USD"},
    "record_usage": {"max_quantity": 10, "max_cost": "1.00 USD"},
    "refund": {"allow": "own_charges", "per_transaction": {"max": "5.00 USD"}},
    "approvals": [
        *asking("25.00 USD")["approvals"],
        {"id": "stranger", "when": {"payee": "new"}, "approvers": "people", "quorum": 2, "expires": "2h"},
    ],
}
BOUNDED = policy(
    {"bot": ENTRY},
    approvers=PEOPLE,
    defaults={"duplicate_window": "2m"},
    budgets={"team": {"limits": [{"id": "pot", "amount": "200.00 USD", "window": WINDOW}]}},
)


ALLOWED: tuple[str, list[str]] = ("allow", [])
OPERATIONS: list[tuple[str, dict[str, Any], tuple[str, list[str]]]] = [
    ("charge", {"customer": "nobody-yet"}, ALLOWED),
    (
        "charge",
        {"amount": "900.00"},
        ("deny", ["ABOVE_MAXIMUM", "LIMIT_EXCEEDED", "LIMIT_EXCEEDED", "BUDGET_EXHAUSTED"]),
    ),
    ("subscribe", {"customer": "ana", "plan": "pro"}, ALLOWED),
    ("subscribe", {"customer": "ana", "plan": "dear"}, ("deny", ["PLAN_NOT_ALLOWED", "ABOVE_MAXIMUM"])),
    ("record_usage", {"customer": "ana", "quantity": 10, "cost": "1.00", "currency": "USD"}, ALLOWED),
    ("record_usage", {"customer": "ana", "quantity": 11}, ("deny", ["QUANTITY_TOO_LARGE"])),
    ("record_usage", {"customer": "ana", "cost": "1.01", "currency": "USD"}, ("deny", ["COST_TOO_HIGH"])),
    ("record_usage", {"customer": "mallory"}, ("deny", ["CUSTOMER_NOT_ALLOWED"])),
    ("list_plans", {}, ALLOWED),
    ("get_budget", {}, ALLOWED),
]


@pytest.fixture
def bounded(make_bench: MakeBench) -> Bench:
    """An engine with limits of every kind."""
    bench = make_bench(policy=BOUNDED)
    for name, price in (("pro", "10.00"), ("dear", "30.00")):
        bench.manager.create_plan(
            PaymentPlan(id=name, name=name, payment_type=PaymentType.SUBSCRIPTION, price=price,
                        billing_period=BillingPeriod.MONTHLY)
        )  # fmt: skip
    return bench


def foreseen(bench: Bench, tool: str = "charge", agent: str = "bot", **more: Any) -> Simulation:
    usual = {"customer": "ana", "amount": "10.00", "currency": "USD"} if tool == "charge" else {}
    return bench.manager.simulate(agent, tool, **{**usual, **more})


def codes(found: Simulation) -> list[str]:
    return [one.code for one in found.decision.violations]


def written(bench: Bench) -> dict[str, int]:
    """How many rows every table has."""
    names = sorted(Base.metadata.tables)
    read = bench.engine.store.read
    return {name: int(read(lambda tx, name=name: tx.scalar(sa.text(f"SELECT count(*) FROM {name}")))) for name in names}  # type: ignore[misc]


def really(bench: Bench, key: str, arguments: dict[str, Any]) -> tuple[str, list[str]]:
    """What the gate does with a charge: the outcome, and the codes of a denial."""
    try:
        made = bench.bot.charge(**arguments, description="x", idempotency_key=key)
    except AgentPayError as error:
        return "deny", [one.code for one in getattr(error, "violations", ())] or [error.code]
    return ("approve" if made.status == "approval_required" else "allow"), []


def test_it_never_says_otherwise_than_the_gate(bounded: Bench) -> None:
    """A walk of random charges: each is foreseen, then made."""
    chance = random.Random(7)
    seen: set[tuple[str, ...]] = set()
    for step in range(45):
        arguments = {
            "customer": chance.choice(["ana", "ben", "new-one", "mallory", f"c{step}"]),
            "amount": chance.choice(["0.50", "1.00", "1.00", "9.99", "20.00", "25.01", "50.00", "50.01"]),
            "currency": chance.choice(["USD", "USD", "USD", "USD", "EUR"]),
            "payee": chance.choice(["self", "self", "stripe:acct_1Known", "stripe:acct_1Stranger"]),
        }
        before = foreseen(bounded, **arguments)
        told = before.decision.outcome, codes(before)
        made, reasons = really(bounded, f"k{step}", arguments)
        if reasons == ["DUPLICATE_SUSPECTED"]:  # the guard speaks before the policy does
            assert reasons[0] in told[1]
        else:
            assert reasons == told[1]
        assert made == told[0], arguments
        seen.add((told[0], *told[1][:1]))
        assert all(one.fits for one in before.limits) or told[0] == "deny"
        bounded.later(minutes=chance.choice([0, 1, 30]))
    assert {one[0] for one in seen} == {"allow", "approve", "deny"} and len(seen) >= 7


def test_every_operation_is_foreseen_and_nothing_is_written(bounded: Bench) -> None:
    mine = bounded.bot.charge("ana", "6.00", "USD", description="x", idempotency_key="k")
    theirs = bounded.manager.charge("ana", "6.00", "USD", idempotency_key="k")
    before = written(bounded)
    for tool, more, expected in OPERATIONS:
        found = foreseen(bounded, tool, **more)
        assert (found.decision.outcome, codes(found)) == expected, (tool, more)
    assert foreseen(bounded, "refund", payment_id=mine.id, amount="5.00").decision.outcome == "allow"
    assert codes(foreseen(bounded, "refund", payment_id=mine.id)) == ["ABOVE_MAXIMUM"]
    assert codes(foreseen(bounded, "refund", payment_id=theirs.id, amount="1.00")) == ["NOT_OWN_PAYMENT"]
    assert written(bounded) == before


def test_caps_and_approvals_are_both_said(bounded: Bench) -> None:
    bounded.bot.charge("ana", "20.00", "USD", description="x", idempotency_key="k")
    found = foreseen(bounded, amount="30.00", payee="stripe:acct_1Stranger")
    assert found.decision.outcome == "approve" and found.decision.payee_is_new
    assert [(need.rule, need.quorum) for need in found.decision.needs] == [("big", 1), ("stranger", 2)]
    figures = {one.rule.rpartition(".")[2]: (one.used, one.remaining, one.asked, one.shared) for one in found.limits}
    assert figures == {
        "day": ("20.00 USD", "130.00 USD", "30.00 USD", False),
        "each": ("20.00 USD", "40.00 USD", "30.00 USD", False),
        "burst": ("1", "11", "1", False),
        "pot": ("20.00 USD", "180.00 USD", "30.00 USD", True),
    }
    parked = bounded.bot.charge("ana", "30.00", "USD", description="x", idempotency_key="k2")
    assert parked.approval_id
    (each,) = [one for one in foreseen(bounded).limits if one.rule.endswith("each")]
    assert (each.used, each.held, each.remaining, each.fits) == ("20.00 USD", "30.00 USD", "10.00 USD", True)


def test_every_reason_is_named_for_the_operator(bounded: Bench) -> None:
    found = foreseen(bounded, amount="60.00", customer="mallory", currency="EUR")
    assert codes(found) == [one.code for one in found.decision.for_operator] and len(codes(found)) >= 2
    assert found.policy is not None and found.policy.id == "open"
    assert codes(foreseen(bounded, agent="stranger")) == ["AGENT_UNKNOWN"]
    exceeded = foreseen(bounded, amount="50.00").decision
    assert exceeded.outcome == "approve"
    for number in range(3):
        bounded.bot.charge(f"c{number}", "25.00", "USD", description="x", idempotency_key=f"k{number}")
    bounded.bot.charge("ana", "25.00", "USD", description="x", idempotency_key="k")
    (said,) = foreseen(bounded, amount="40.00").decision.for_operator
    assert (said.code, said.subject.partition("|")[0], said.used) == ("LIMIT_EXCEEDED", "agent:bot", "25.00 USD")


def test_without_a_policy_everything_is_denied(make_bench: MakeBench) -> None:
    found = foreseen(make_bench(policy=None))
    assert (codes(found), found.limits, found.policy) == (["NO_POLICY"], (), None)


def test_what_is_past_its_time_counts_no_more_and_stays_to_be_ended(bounded: Bench) -> None:
    """The gate ends it before it decides; a simulation does not, and says the same."""
    parked = bounded.bot.charge("ana", "40.00", "USD", description="x", idempotency_key="k")
    assert codes(foreseen(bounded, amount="25.00")) == ["LIMIT_EXCEEDED"]
    bounded.later(minutes=31)
    before = written(bounded)
    assert codes(foreseen(bounded, amount="25.00")) == []
    assert written(bounded) == before and bounded.approvals() == ["pending"] and bounded.holds(parked.id) == ["held"]
    bounded.manager.halt("bot", reason="stop")
    assert codes(foreseen(bounded)) == ["HALTED"]


@pytest.mark.parametrize(("tool", "more", "code"), [
    ("pay", {}, "INVALID_ARGUMENT"),
    ("charge", {"amount": "0.00"}, "AMOUNT_INVALID"),
    ("charge", {"amount": "1.001"}, "AMOUNT_INVALID"),
    ("charge", {"amount": "-1"}, "AMOUNT_INVALID"),
    ("charge", {"amount": None}, "INVALID_ARGUMENT"),
    ("charge", {"currency": "XXX9"}, "CURRENCY_UNKNOWN"),
    ("charge", {"customer": None}, "INVALID_ARGUMENT"),
    ("charge", {"customer": "a\u202eb"}, "INVALID_ARGUMENT"),
    ("charge", {"payee": "http://x"}, "PAYEE_INVALID"),
    ("charge", {"provider": "stripe"}, "PROVIDER_UNKNOWN"),
    ("charge", {"agent": "a\nb"}, "INVALID_ARGUMENT"),
    ("subscribe", {"customer": "ana", "plan": "none"}, "PLAN_UNKNOWN"),
    ("subscribe", {"customer": "ana"}, "INVALID_ARGUMENT"),
    ("refund", {"payment_id": "pay_none"}, "NOT_FOUND"),
    ("refund", {}, "INVALID_ARGUMENT"),
    ("record_usage", {"customer": "ana", "quantity": 0}, "INVALID_ARGUMENT"),
    ("record_usage", {"customer": "ana", "cost": "1.00"}, "INVALID_ARGUMENT"),
])  # fmt: skip
def test_a_wrong_question_is_refused_as_the_verb_refuses_it(
    shared: Bench, tool: str, more: dict[str, Any], code: str
) -> None:
    assert code_of(lambda: foreseen(shared, tool, **more)) == code


def test_the_rules_are_said_and_compared(shared: Bench) -> None:
    assert "bot may use:" in shared.manager.explain("bot")[0]
    assert "everything is denied" in shared.manager.explain("nobody")[0]
    looser = policy({"bot": {"charge": {"limits": [{"id": "day", "amount": "100000.01 USD", "window": WINDOW}]}}})
    kinds = {change.kind for change in shared.manager.policy_differences(None, looser)}
    assert kinds == {"loosens"}
    assert shared.manager.policy_differences(None, None) == ()
