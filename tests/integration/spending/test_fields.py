"""Every field of the language that the engine must keep something for, through the real store: each test fails where
the field is ignored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.errors import Conflict, DuplicateSuspected, PaymentDeclined, UsageLimitExceeded
from agentpay.payments.models import Payment
from agentpay.plans.models import PaymentPlan
from agentpay.spending.tables import DecisionRequestRow
from agentpay.storage.tables import OutboxRow
from agentpay.storage.types import table
from support.bench import PEOPLE, Bench, asking, policy, violations_of
from support.bench_fixtures import MakeBench

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ASK = {"approvers": "people", "quorum": 1, "expires": "30m"}
LIFETIME = "lifetime"


def charge(bench: Bench, amount: str, *, agent: str = "bot", customer: str = "ana", **more: Any) -> Payment:
    key = more.pop("key", None) or f"k{next(_KEYS)}"
    more.setdefault("description", "x")
    return bench.manager.for_agent(agent).charge(customer, amount, "USD", idempotency_key=key, **more)


_KEYS = iter(range(10**9))


def section(**more: Any) -> dict[str, Any]:
    return {"directions": ["collect"], "per_transaction": {"max": "1000.00 USD"}, **more}


def limit(amount: str, **more: Any) -> dict[str, Any]:
    return {"id": more.pop("id", "cap"), "amount": amount, "window": LIFETIME, **more}


# ---- subscriptions


def plan(bench: Bench, plan_id: str, **more: Any) -> None:
    values: dict[str, Any] = {"payment_type": "subscription", "price": "10.00", "billing_period": "monthly"}
    bench.manager.create_plan(PaymentPlan(**{"id": plan_id, "name": plan_id, "group": plan_id, **values, **more}))


def subscribe(bench: Bench, plan_id: str, customer: str = "ana") -> Callable[[], object]:
    return lambda: bench.bot.subscribe(customer, plan_id, idempotency_key=f"{customer}-{plan_id}")


def test_only_the_periods_and_terms_that_are_allowed_are_subscribed(make_bench: MakeBench) -> None:
    rules = {"plans": ["*"], "max_per_period": "500.00 USD", "periods": ["monthly", "yearly"], "max_term": "1 year"}
    bench = make_bench(policy=policy({"bot": {"subscribe": rules}}))
    plan(bench, "monthly")
    plan(bench, "weekly", billing_period="weekly")
    plan(bench, "bound", term=12)
    plan(bench, "bound-longer", term=13)
    plan(bench, "years", billing_period="yearly", term=2)
    assert violations_of(subscribe(bench, "weekly")) == ["PERIOD_NOT_ALLOWED"]
    assert violations_of(subscribe(bench, "bound-longer")) == ["TERM_TOO_LONG"]
    assert violations_of(subscribe(bench, "years")) == ["TERM_TOO_LONG"]
    assert bench.movements() == 0
    subscribe(bench, "monthly")()
    subscribe(bench, "bound")()
    assert bench.moved() == 2000
    bench.check()


@pytest.mark.parametrize(("count", "plans", "price"), [("committed", 1, "1.00"), ("paid", 3, "101.00")])
def test_a_subscription_counts_what_it_commits_to_unless_the_policy_says_paid(
    make_bench: MakeBench, count: str, plans: int, price: str
) -> None:
    rules = {"plans": ["*"], "max_per_period": "500.00 USD", "count": count}
    budget = {"team": {"limits": [limit("130.00 USD")]}}
    bench = make_bench(policy=policy({"bot": {"subscribe": rules, "budget": "team"}}, budgets=budget))
    for number in range(plans):
        plan(bench, f"p{number}", term=12)
        subscribe(bench, f"p{number}")()
    plan(bench, "more", price=price, term=12)
    assert violations_of(subscribe(bench, "more")) == ["BUDGET_EXHAUSTED"]
    bench.check()


def test_what_a_declined_subscription_would_have_committed_is_free_again(make_bench: MakeBench) -> None:
    rules = {"plans": ["*"], "max_per_period": "500.00 USD"}
    budget = {"team": {"limits": [limit("120.00 USD")]}}
    bench = make_bench(policy=policy({"bot": {"subscribe": rules, "budget": "team"}}, budgets=budget))
    plan(bench, "bound", term=12)
    bench.mock.force("decline")
    with pytest.raises(PaymentDeclined):
        subscribe(bench, "bound")()
    bench.check()
    subscribe(bench, "bound", "ben")()
    bench.check()


def test_a_term_is_kept_and_ends_when_it_is_over(make_bench: MakeBench) -> None:
    clock = FixedClock(NOON)
    bench = make_bench(clock=clock)
    plan(bench, "bound", term=3)
    subscribe(bench, "bound")()
    with pytest.raises(Conflict, match="committed to 3 periods"):
        bench.bot.cancel_subscription("ana", "bound", at_period_end=False)
    canceled = bench.bot.cancel_subscription("ana", "bound")
    assert (canceled.status, canceled.cancel_at_period_end) == ("active", True)
    assert canceled.ends_at == datetime(2026, 6, 2, 12, tzinfo=UTC)
    for _ in range(4):
        bench.later(days=31)
        bench.manager.renew_due()
    assert bench.movements() == 3, "the first period and the two that were still agreed"
    assert bench.manager.get_subscription("ana", "bound").status == "canceled"
    bench.check()


@pytest.mark.parametrize("price", ["0.00", "1.00"])
def test_a_term_is_not_ended_by_another_plan_either(make_bench: MakeBench, price: str) -> None:
    bench = make_bench(clock=FixedClock(NOON))
    plan(bench, "bound", term=2, group="one")
    plan(bench, "other", price=price, group="one")
    subscribe(bench, "bound")()
    with pytest.raises(Conflict, match="committed to 2 periods"):
        subscribe(bench, "other")()
    assert (bench.movements(), bench.manager.get_subscription("ana").plan) == (1, "bound")
    bench.later(days=31)
    bench.manager.renew_due()
    subscribe(bench, "other")()
    assert bench.manager.get_subscription("ana", "other").status == "active", "in its last period it may be replaced"
    assert bench.manager.get_subscription("ana", "bound").status == "canceled"


def test_the_operator_may_replace_what_a_customer_is_committed_to(make_bench: MakeBench) -> None:
    bench = make_bench(clock=FixedClock(NOON))
    plan(bench, "bound", term=2, group="one")
    plan(bench, "other", group="one")
    subscribe(bench, "bound")()
    assert bench.manager.subscribe("ana", "other", idempotency_key="o").status == "active"


# ---- approvals


def test_splitting_a_payment_into_small_ones_asks_people(make_bench: MakeBench) -> None:
    rule = {"id": "split", "when": {"unapproved_total_over": "40.00 USD", "window": {"rolling": "24h"}}, **ASK}
    clock = FixedClock(NOON)
    bench = make_bench(policy=policy({"bot": {"approvals": [rule]}}, approvers=PEOPLE), clock=clock)
    bench.enrol("alice")
    assert [charge(bench, "20.00").status for _ in range(2)] == ["succeeded"] * 2, "40 is not over 40"
    parked = charge(bench, "0.01", key="third")
    assert parked.status == "approval_required"
    bench.approve(parked.approval_id)
    assert charge(bench, "0.01", key="third").status == "succeeded"
    assert charge(bench, "0.01").status == "approval_required", "what was approved leaves the others unapproved"
    bench.later(hours=25)
    assert charge(bench, "40.00").status == "succeeded", "the window is over"
    bench.check()


def test_a_look_alike_is_asked_about_or_noted_as_the_policy_says(make_bench: MakeBench) -> None:
    window = {"defaults": {"duplicate_window": "5m"}}
    rule = {"id": "twice", "when": {"duplicate": "suspected"}, **ASK}
    asks = {"charge": section(duplicates="approve"), "approvals": [rule]}
    agents: dict[str, dict[str, Any]] = {
        "bot": asks,
        "noting": {"charge": section(duplicates="warn")},
        "strict": {"charge": section()},
    }
    bench = make_bench(policy=policy(agents, approvers=PEOPLE, **window), clock=FixedClock(NOON))
    bench.enrol("alice")
    for agent in agents:
        assert charge(bench, "5.00", agent=agent).status == "succeeded"
    bench.later(seconds=1)
    again = charge(bench, "5.00", key="again")
    assert again.status == "approval_required"
    bench.approve(again.approval_id)
    assert charge(bench, "5.00", key="again").status == "succeeded"
    assert charge(bench, "5.00", distinct_from=again.id).status == "succeeded", "it was named as another one"
    assert charge(bench, "5.00", agent="noting").status == "succeeded"
    with pytest.raises(DuplicateSuspected):
        charge(bench, "5.00", agent="strict")
    noted = [row.look_alike for row in requests(bench, "noting")]
    assert noted[0] is None and noted[1] is not None
    bench.check()


# ---- limits


def test_a_limit_for_each_category_counts_by_the_operators_map(make_bench: MakeBench) -> None:
    books, tools = "stripe:acct_1Books", "stripe:acct_1Tools"
    entry = {
        "payees": {"allow": ["self", books, tools]},
        "charge": section(limits=[limit("40.00 USD", per="category")]),
    }
    bench = make_bench(policy=policy({"bot": entry}, categories={"books": [books], "tools": [tools]}))
    assert charge(bench, "40.00", payee=books).status == "succeeded"
    assert violations_of(lambda: charge(bench, "0.01", payee=books)) == ["LIMIT_EXCEEDED"]
    assert charge(bench, "40.00", payee=tools).status == "succeeded"
    assert charge(bench, "40.00").status == "succeeded", "what has no category counts together"
    assert violations_of(lambda: charge(bench, "0.01")) == ["LIMIT_EXCEEDED"]
    bench.check()
    moved = policy({"bot": entry}, categories={"tools": [tools, books]})
    bench.manager.apply_policy(moved)
    assert violations_of(lambda: charge(bench, "0.01", payee=tools)) == ["LIMIT_EXCEEDED"], "80 were spent on tools"
    bench.check()


def test_what_is_recorded_counts_in_its_limits(make_bench: MakeBench) -> None:
    limits = [limit("1.00 USD", id="cost"), {"id": "often", "count": 4, "window": LIFETIME}]
    bench = make_bench(policy=policy({"bot": {"record_usage": {"limits": limits, "max_quantity": 10}}}))

    def use(cost: str | None, key: str) -> object:
        return bench.bot.record_usage("ana", "calls", 1, cost=cost, idempotency_key=key)

    use("0.6", "a")
    use("0.6", "a")
    assert violations_of(lambda: use("0.400000001", "b")) == ["LIMIT_EXCEEDED"]
    use("0.4", "b")
    use(None, "c")
    use(None, "d")
    assert violations_of(lambda: use(None, "e")) == ["COUNT_EXCEEDED"]
    assert bench.manager.get_usage("ana", "calls").features[0].used == 4
    view = {one.id: one for one in bench.bot.get_budget().limits}
    assert (view["cost"].used, view["often"].used) == ("1 USD", "4")
    bench.check()


def test_recorded_cost_of_a_plans_own_price_counts_in_a_shared_budget(make_bench: MakeBench) -> None:
    budget = {"team": {"limits": [limit("0.05 USD", of=["record_usage"])]}}
    bench = make_bench(policy=policy({"bot": {"budget": "team"}, "other": {"budget": "team"}}, budgets=budget))
    bench.manager.create_plan(
        PaymentPlan(id="meter", name="m", payment_type="pay_per_use", price_per_request="0.02", features=["calls"])
    )
    bench.manager.subscribe("ana", "meter", idempotency_key="s")
    bench.bot.record_usage("ana", "calls", idempotency_key="1")
    bench.manager.for_agent("other").record_usage("ana", "calls", idempotency_key="1")
    assert violations_of(lambda: bench.bot.record_usage("ana", "calls", idempotency_key="2")) == ["BUDGET_EXHAUSTED"]
    bench.check()


def test_usage_that_the_plan_refuses_counts_in_no_limit(make_bench: MakeBench) -> None:
    limits = [{"id": "often", "count": 2, "window": LIFETIME}]
    bench = make_bench(policy=policy({"bot": {"record_usage": {"limits": limits}}}))
    bench.manager.create_plan(
        PaymentPlan(id="free", name="f", payment_type="freemium", free_requests=1, features=["calls"])
    )
    bench.bot.record_usage("ana", "calls", idempotency_key="1")
    with pytest.raises(UsageLimitExceeded, match="calls"):
        bench.bot.record_usage("ana", "calls", idempotency_key="2")
    bench.bot.record_usage("ben", "calls", idempotency_key="3")
    bench.check()


# ---- refunds


@pytest.mark.parametrize("restores", [False, True])
def test_a_refund_gives_budget_back_only_where_the_policy_says_so(make_bench: MakeBench, restores: bool) -> None:
    clock = FixedClock(NOON)
    entry = {
        "charge": section(limits=[limit("50.00 USD", window={"rolling": "24h"})]),
        "refund": {"allow": "own_charges", "restores_budget": restores},
    }
    bench = make_bench(policy=policy({"bot": entry}), clock=clock)
    paid = charge(bench, "50.00")
    bench.later(hours=1)
    bench.bot.refund(paid.id, "20.00", reason="r", idempotency_key="r1")
    bench.bot.refund(paid.id, "5.00", reason="r", idempotency_key="r2")
    left = bench.bot.get_budget().can_spend_now[0].amount
    assert left.amount == Decimal("25.00" if restores else "0.00")
    if restores:
        assert charge(bench, "25.00").status == "succeeded"
    assert violations_of(lambda: charge(bench, "0.01")) == ["LIMIT_EXCEEDED"]
    bench.check()
    bench.manager.apply_policy(policy({"bot": entry | {"expires_at": "2027-01-01T00:00:00Z"}}))
    assert violations_of(lambda: charge(bench, "0.01")) == ["LIMIT_EXCEEDED"], "counters made anew say the same"
    bench.check()
    bench.later(hours=23, minutes=1)
    assert bench.bot.get_budget().can_spend_now[0].amount.amount == Decimal("25.00" if restores else "50.00"), (
        "what was given back was in the charge's own bucket, which has left the window"
    )


def test_a_refund_that_is_declined_gives_nothing_back(make_bench: MakeBench) -> None:
    entry = {
        "charge": section(limits=[limit("50.00 USD")]),
        "refund": {"allow": "own_charges", "restores_budget": True},
    }
    bench = make_bench(policy=policy({"bot": entry}))
    paid = charge(bench, "50.00")
    bench.mock.force("decline")
    with pytest.raises(PaymentDeclined):
        bench.bot.refund(paid.id, reason="r", idempotency_key="r")
    assert violations_of(lambda: charge(bench, "0.01")) == ["LIMIT_EXCEEDED"]
    bench.check()


# ---- who


def test_each_enrolled_agent_of_a_pattern_has_limits_of_its_own(make_bench: MakeBench) -> None:
    entry = {"each": True, "charge": section(limits=[limit("10.00 USD")])}
    bench = make_bench(policy=policy({"worker-*": entry}))
    assert violations_of(lambda: charge(bench, "1.00", agent="worker-1")) == ["AGENT_UNKNOWN"]
    assert not bench.manager.for_agent("worker-1").get_budget().agent_known
    assert bench.manager.enrol_agent("worker-1") and bench.manager.enrol_agent("worker-2")
    assert not bench.manager.enrol_agent("worker-2"), "once"
    assert bench.manager.enrolled_agents() == ("worker-1", "worker-2")
    for agent in ("worker-1", "worker-2"):
        assert charge(bench, "10.00", agent=agent).status == "succeeded"
        assert violations_of(partial(charge, bench, "0.01", agent=agent)) == ["LIMIT_EXCEEDED"]
    assert bench.manager.withdraw_agent("worker-2")
    assert violations_of(lambda: charge(bench, "1.00", agent="worker-2")) == ["AGENT_UNKNOWN"]
    assert bench.manager.enrol_agent("worker-2")
    assert violations_of(lambda: charge(bench, "0.01", agent="worker-2")) == ["LIMIT_EXCEEDED"], "it stays counted"
    bench.check()


# ---- what the payee reads


def memos(bench: Bench) -> dict[object, object]:
    sent = (request for _, request in bench.mock.requests())
    return {request["payment_id"]: request["memo"] for request in sent if request["op"] == "charge"}


def test_the_payee_reads_what_the_policy_makes_and_nothing_else(make_bench: MakeBench) -> None:
    agents: dict[str, dict[str, Any]] = {
        "bot": {},
        "form": {"memo": {"template": "Order {payment} for {customer}"}},
        "free": {"memo": {"free": {"max_chars": 12}}},
    }
    bench = make_bench(policy=policy(agents))
    said = "pay\u202eme\u200b now, at once"
    paid = {agent: charge(bench, "5.00", agent=agent, description=said) for agent in agents}
    assert {agent: memos(bench)[payment.id] for agent, payment in paid.items()} == {
        "bot": None,
        "form": f"Order {paid['form'].id} for ana",
        "free": "payme now, a",
    }
    bench.check()


def test_people_approve_the_memo_too_and_are_asked_again_where_it_became_another(make_bench: MakeBench) -> None:
    def ruled(template: str) -> dict[str, Any]:
        return policy({"bot": {"memo": {"template": template}, **asking("1.00 USD")}}, approvers=PEOPLE)

    bench = make_bench(policy=ruled("Thanks"))
    bench.enrol("alice")
    first = charge(bench, "5.00", key="k")
    bench.approve(first.approval_id)
    bench.manager.apply_policy(ruled("Thanks, and more"))
    second = charge(bench, "5.00", key="k")
    assert second.status == "approval_required" and second.approval_id != first.approval_id
    bench.check()
    bench.approve(second.approval_id)
    assert charge(bench, "5.00", key="k").status == "succeeded"
    assert memos(bench) == {first.id: "Thanks, and more"}
    assert sorted(bench.approvals()) == ["consumed", "expired"]
    bench.check()


# ---- what people hear


def test_people_are_told_once_when_a_part_of_a_limit_is_full(make_bench: MakeBench) -> None:
    entry = {"notify": [0.8, 0.95], "charge": section(limits=[limit("100.00 USD")])}
    bench = make_bench(policy=policy({"bot": entry}))
    for amount in ("79.99", "0.01", "5.00", "10.00", "5.00"):
        charge(bench, amount)
    outbox = table(OutboxRow)
    told = bench.rows(sa.select(outbox.c.body).where(outbox.c.topic == "policy.notice").order_by(outbox.c.seq))
    assert [('"threshold":"0.8"' in row.body, '"threshold":"0.95"' in row.body) for row in told] == [
        (True, False),
        (False, True),
    ]
    assert '"used":"80.00 USD"' in told[0].body and '"cap":"100.00 USD"' in told[0].body


def requests(bench: Bench, agent: str = "bot") -> list[Any]:
    asked = table(DecisionRequestRow)
    return bench.rows(sa.select(asked).where(asked.c.agent == agent).order_by(asked.c.seq))


def test_a_rule_that_is_tried_out_is_written_down_and_decides_nothing(make_bench: MakeBench) -> None:
    tried = limit("20.00 USD", id="stricter", shadow=True)
    bench = make_bench(policy=policy({"bot": {"charge": section(limits=[limit("150.00 USD"), tried])}}))
    assert [charge(bench, "15.00").status for _ in range(2)] == ["succeeded"] * 2
    first, second = requests(bench)
    assert first.shadow == "[]"
    assert '"rule": "agents.bot.charge.limits.stricter"' in second.shadow and '"outcome": "deny"' in second.shadow
    assert (second.outcome, second.violations) == ("allow", "[]")
    bench.check()


def test_what_was_denied_is_kept_for_people_with_every_reason(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {"payees": {"allow": ["self", "stripe:acct_1Secret"]}}}))
    charge(bench, "1.00")
    assert violations_of(lambda: charge(bench, "5000.00", payee="stripe:acct_1Other")) == [
        "PAYEE_NOT_ALLOWED",
        "ABOVE_MAXIMUM",
    ]
    allowed, denied = requests(bench)
    assert (allowed.outcome, denied.outcome) == ("allow", "deny")
    assert denied.customer_id == allowed.customer_id
    assert denied.owner_id is None and allowed.owner_id is not None
    assert "stripe:acct_1Secret" in denied.violations, "people see the list that it is not on"
