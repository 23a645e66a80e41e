"""Subscribing and renewing through payments: access with the money, each period once."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from agentpay.billing.renewing import RenewalReport
from agentpay.plans.models import PaymentPlan
from agentpay.subscriptions.models import Subscription
from support.bench import PEOPLE, SECRET, Bench, asking, code_of, policy, tally, violations_of
from support.bench_fixtures import MakeBench
from support.parallel import run_threads, values

_KEYS = itertools.count(1)


def plan(bench: Bench, price: str = "10.00", **more: Any) -> PaymentPlan:
    """A plan of its own group, whose id tells its price."""
    plan_id = more.pop("id", None) or f"plan-{next(_KEYS)}"
    given: dict[str, Any] = {"group": plan_id, "billing_period": "monthly", "features": ["api"], **more}
    made = PaymentPlan(id=plan_id, name=plan_id, payment_type="subscription", price=price, **given)
    return bench.manager.create_plan(made)


def subscribed(bench: Bench, customer: str, plan_id: str, key: str = "") -> Subscription:
    return bench.bot.subscribe(customer, plan_id, idempotency_key=key or f"sub-{next(_KEYS)}")


def test_the_first_payment_opens_access(shared: Bench, ana: str) -> None:
    pro = plan(shared)
    made = subscribed(shared, ana, pro.id, ana)
    assert (made.status, made.payment_status, made.plan) == ("active", "succeeded", pro.id)
    assert shared.manager.check_access(ana, "api")
    again = subscribed(shared, ana, pro.id, ana)
    assert (again.id, again.replayed) == (made.id, True)
    assert code_of(lambda: subscribed(shared, ana, pro.id)) == "ALREADY_SUBSCRIBED"
    assert len(shared.manager.list_payments(ana)) == 1
    assert code_of(lambda: shared.bot.subscribe(ana, plan(shared).id, idempotency_key=ana)) == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize("price", ["13.10", "13.11", "13.21", "13.22"])
def test_until_it_is_paid_there_is_no_access_and_the_slot_is_taken(shared: Bench, ana: str, price: str) -> None:
    pro, other = plan(shared, price, id=f"p-{ana}"), plan(shared, "5.00", id=f"o-{ana}", group=f"p-{ana}")
    made = subscribed(shared, ana, pro.id, ana)
    assert made.status == "incomplete" and not shared.manager.check_access(ana, "api")
    assert code_of(lambda: subscribed(shared, ana, pro.id)) == "ALREADY_SUBSCRIBED"
    assert code_of(lambda: subscribed(shared, ana, other.id)) == "ALREADY_SUBSCRIBED"
    assert code_of(lambda: shared.manager.cancel_subscription(ana)) == "CONFLICT"
    if price == "13.22":
        shared.manager.reconcile()
        assert shared.manager.check_access(ana, "api")
        assert subscribed(shared, ana, pro.id, ana).status == "active"
    if price == "13.21":
        shared.later(seconds=2)
        shared.manager.reconcile()
        assert shared.manager.get_subscription(ana).status == "expired"  # not sent: the slot is free
        assert subscribed(shared, ana, other.id).status == "active"
        assert code_of(lambda: subscribed(shared, ana, pro.id, ana)) == "ALREADY_SUBSCRIBED"


def test_a_declined_first_payment_ends_it(shared: Bench, ana: str) -> None:
    pro = plan(shared, "13.01")
    assert code_of(lambda: subscribed(shared, ana, pro.id, ana)) == "PAYMENT_DECLINED"
    assert shared.manager.get_subscription(ana).status == "expired"
    assert not shared.manager.is_subscribed(ana)
    assert code_of(lambda: subscribed(shared, ana, pro.id)) == "PAYMENT_DECLINED"  # another try is its own


def test_a_price_of_nothing_makes_no_payment(shared: Bench, ana: str) -> None:
    free = plan(shared, "0")
    before = len(shared.mock.requests())
    made = subscribed(shared, ana, free.id, ana)
    assert (made.status, made.payment_id) == ("active", None)
    assert subscribed(shared, ana, free.id, ana).replayed
    assert len(shared.mock.requests()) == before and shared.manager.list_payments(ana) == ()


def test_another_plan_of_the_group_replaces_the_first_once_it_is_paid(shared: Bench, ana: str) -> None:
    small = plan(shared, "5.00", id=f"s-{ana}", group=f"g-{ana}")
    big = plan(shared, "13.10", id=f"b-{ana}", group=f"g-{ana}")
    first = subscribed(shared, ana, small.id)
    second = subscribed(shared, ana, big.id)
    assert second.status == "incomplete"
    assert shared.manager.get_subscription(ana).id == first.id and shared.manager.check_access(ana, "api")
    assert second.payment_id is not None
    shared.mock.complete(shared.attempts(second.payment_id)[-1].reference, "succeeded")
    shared.manager.reconcile()
    assert shared.manager.get_subscription(ana).id == second.id
    assert shared.manager.get_subscription(ana, small.id).status == "canceled"


def test_a_parked_first_payment_begins_when_it_is_approved(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking("5.00 USD")}, approvers=PEOPLE))
    bench.enrol("alice")
    pro = plan(bench)
    parked = subscribed(bench, "ana", pro.id, "s")
    assert (parked.status, parked.payment_status) == ("incomplete", "approval_required")
    bench.approve(parked.approval_id)
    bench.later(minutes=5)
    done = subscribed(bench, "ana", pro.id, "s")
    assert done.status == "active" and done.period_start == bench.clock.now()  # type: ignore[union-attr]
    denied = subscribed(bench, "ben", pro.id, "s2")
    bench.manager.deny(denied.approval_id or "", approver="alice", secret=SECRET)
    assert bench.manager.get_subscription("ben").status == "expired"
    assert violations_of(lambda: subscribed(bench, "ben", pro.id, "s2")) == ["APPROVAL_DENIED"]
    subscribed(bench, "cy", pro.id, "s3")
    bench.later(hours=1)
    bench.manager.reconcile()
    assert bench.manager.get_subscription("cy").status == "expired"


def test_an_agent_subscribes_within_its_plans_and_prices(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {"subscribe": {"plans": ["cheap", "dear"], "max_per_period": "20 USD"}}}))
    for name, price in (("cheap", "5.00"), ("dear", "20.01"), ("other", "5.00"), ("free", "0")):
        plan(bench, price, id=name)
    assert subscribed(bench, "ana", "cheap").status == "active"
    assert violations_of(lambda: subscribed(bench, "ana", "dear")) == ["ABOVE_MAXIMUM"]
    assert violations_of(lambda: subscribed(bench, "ana", "other")) == ["PLAN_NOT_ALLOWED"]
    assert violations_of(lambda: subscribed(bench, "ana", "free")) == ["PLAN_NOT_ALLOWED"]
    assert code_of(lambda: subscribed(bench, "ana", "none")) == "PLAN_UNKNOWN"


def test_twenty_subscriptions_at_once_pay_once(bench: Bench) -> None:
    pro = plan(bench)
    ended = tally(run_threads(20, lambda n: subscribed(bench, "ana", pro.id, f"k{n % 4}")))
    assert ended["ALREADY_SUBSCRIBED"] == 15 and bench.movements() == 1


# -- renewing


def due(bench: Bench, customers: int = 3, price: str = "10.00") -> list[Subscription]:
    """Subscriptions of which each is due."""
    pro = plan(bench, price)
    made = [bench.manager.subscribe(f"c{n}", pro.id, idempotency_key=f"s{n}") for n in range(customers)]
    bench.later(days=32)
    return made


def test_renewals_at_once_charge_each_period_once(bench: Bench) -> None:
    due(bench)
    reports: list[RenewalReport] = values(run_threads(4, lambda _: bench.manager.renew_due()))
    assert bench.movements() == 6
    assert sum(report.renewed for report in reports) >= 3 and not any(report.failed for report in reports)
    assert bench.manager.renew_due().renewed == 0
    for n in range(3):
        found = bench.manager.get_subscription(f"c{n}")
        assert found.status == "active" and found.period_end is not None
        assert found.period_end > bench.clock.now()  # type: ignore[union-attr]


def test_a_period_follows_the_one_before_without_a_gap(bench: Bench) -> None:
    (made,) = due(bench, 1)
    bench.manager.renew_due()
    found = bench.manager.get_subscription("c0")
    assert found.period_start == made.period_end


def test_a_declined_renewal_is_past_due_and_a_later_payment_heals_it(bench: Bench) -> None:
    due(bench, 1)
    bench.mock.force("decline")
    report = bench.manager.renew_due()
    assert (report.renewed, report.failed) == (0, 1)
    assert bench.manager.get_subscription("c0").status == "past_due"
    assert not bench.manager.check_access("c0", "api")
    assert bench.manager.renew_due().failed == 0  # it is not tried again by itself
    again = bench.manager.renew_subscription("c0", idempotency_key="paid-now")
    assert again.status == "active" and bench.movements() == 2
    assert bench.manager.renew_subscription("c0", idempotency_key="paid-now").status == "active"
    assert code_of(lambda: bench.manager.renew_subscription("c0", idempotency_key="twice")) == "fine"
    assert code_of(lambda: bench.manager.renew_subscription("c0", idempotency_key="thrice")) == "CONFLICT"


def test_a_renewal_that_was_not_sent_is_tried_again_by_the_next_pass(bench: Bench) -> None:
    due(bench, 1)
    bench.mock.force("unreachable", times=2)
    assert [bench.manager.renew_due().renewed for _ in range(3)] == [0, 0, 1]
    assert bench.movements() == 2 and bench.manager.get_subscription("c0").status == "active"


def test_an_unknown_renewal_is_not_charged_again(bench: Bench) -> None:
    due(bench, 1)
    bench.mock.force("timeout-after")
    assert bench.manager.renew_due().waiting == 1
    assert bench.manager.renew_due().renewed == 0
    bench.manager.reconcile()
    assert bench.manager.get_subscription("c0").status == "active" and bench.movements() == 2


def test_what_is_to_end_is_not_renewed(bench: Bench) -> None:
    made = due(bench, 2)
    bench.clock.set(made[0].created_at + timedelta(days=1))  # type: ignore[union-attr]
    bench.engine.store.write(lambda tx: None, accept_clock=True)
    bench.later(days=1)
    bench.manager.cancel_subscription("c0")
    bench.later(days=40)
    bench.manager.renew_due()
    assert bench.manager.get_subscription("c0").status == "canceled"
    assert bench.manager.get_subscription("c1").status == "active"
    assert bench.movements() == 3
