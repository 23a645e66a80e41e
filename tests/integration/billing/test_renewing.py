"""Whom a renewal is asked of: the provider with which the subscription's last period was paid, and nobody else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from agentpay.doctor.warnings import of_rows
from agentpay.errors import Conflict, ProviderUnknown
from agentpay.plans.models import PaymentPlan
from agentpay.providers.base import Capabilities, Steps
from agentpay.providers.outcomes import NotSent, Succeeded
from support.bench import Bench
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider


def plan(bench: Bench, plan_id: str = "pro") -> None:
    bench.manager.create_plan(
        PaymentPlan(
            id=plan_id, name=plan_id, payment_type="subscription", price="10.00", group=plan_id, features=["api"],
            billing_period="monthly",
        )
    )  # fmt: skip


def with_other(make_bench: MakeBench, also: str | None = None) -> tuple[Bench, ScriptedProvider]:
    """An engine whose default is the mock, and another provider with which `ana` pays. Her renewal is due, and so is
    that of somebody who began a little later with the mock."""
    other = ScriptedProvider()
    bench = make_bench(providers=(other,))
    plan(bench)
    bench.manager.subscribe("ana", "pro", idempotency_key="ana", provider="scripted")
    if also is not None:
        bench.later(hours=1)
        bench.manager.subscribe(also, "pro", idempotency_key=also)
    bench.later(days=32)
    return bench, other


def test_a_renewal_asks_the_provider_that_the_subscription_is_paid_with(make_bench: MakeBench) -> None:
    bench, other = with_other(make_bench)
    assert bench.manager.renew_due().renewed == 1
    assert (len(other.sent), bench.movements()) == (2, 0), "the default provider was asked"
    bench.later(days=29)
    assert bench.manager.renew_subscription("ana", idempotency_key="by-hand").status == "active"
    assert (len(other.sent), bench.movements()) == (3, 0), "the default provider was asked"


def test_a_renewal_that_was_paid_elsewhere_by_hand_goes_on_there(make_bench: MakeBench) -> None:
    bench, other = with_other(make_bench)
    bench.manager.renew_subscription("ana", idempotency_key="by-hand", provider="mock")
    bench.later(days=31)
    assert bench.manager.renew_due().renewed == 1
    assert (len(other.sent), bench.movements()) == (1, 2)


def test_without_its_provider_a_renewal_waits_for_it_and_keeps_no_other_from_its_turn(make_bench: MakeBench) -> None:
    """The operator took a provider out of the settings: nothing moves, everybody is told, and nothing is lost."""
    bench, other = with_other(make_bench, also="ben")
    alone = bench.new_manager(provider=[bench.new_mock()])
    before = bench.recorded("renew.call_refused")
    report = alone._engine.renewing.renew_due(limit=1)
    assert (report.renewed, report.failed, report.stranded) == (1, 0, 1)
    assert bench.movements() == 2, "ben was kept from his renewal, or ana was charged elsewhere"
    assert bench.recorded("renew.call_refused") == before, "a refusal each minute"
    assert alone.get_subscription("ana").status == "past_due" and not alone.check_access("ana", "api")
    with pytest.raises(ProviderUnknown, match="paid with scripted, which is not enabled"):
        alone.renew_subscription("ana", idempotency_key="by-hand")
    told = [line for line in bench.engine.store.read(of_rows) if "renewed" in line]
    assert len(told) == 1 and f"{bench.manager.get_subscription('ana').id} (scripted)" in told[0]
    alone.close()
    assert bench.manager.renew_due().renewed == 1  # it is enabled again
    assert (len(other.sent), bench.manager.get_subscription("ana").status) == (2, "active")
    assert not [line for line in bench.engine.store.read(of_rows) if "renewed" in line]


def test_one_that_was_not_sent_waits_for_its_provider_and_keeps_no_other_from_its_turn(make_bench: MakeBench) -> None:
    bench, other = with_other(make_bench, also="ben")
    other.answers = [NotSent("refused")]
    bench.mock.force("unreachable")
    assert bench.manager.renew_due().failed == 2
    alone = bench.new_manager(provider=[bench.new_mock()])
    report = alone._engine.renewing.renew_due(limit=1)
    assert (report.renewed, report.stranded) == (1, 1)
    bench.later(days=40)
    alone.renew_due()  # and what nobody wants any more is given up all the same
    assert alone.get_subscription("ana").status == "expired"
    assert alone.list_payments("ana")[0].status == "canceled"
    alone.close()
    assert len(other.sent) == 2


@pytest.mark.parametrize(("status", "moved"), [("active", 2), ("canceled", 1)])
def test_what_is_canceled_while_its_renewal_is_under_way_ends_with_what_is_paid(
    bench: Bench, status: str, moved: int
) -> None:
    """The money of the next period may have moved already: then the customer gets the period, and no other."""
    plan(bench)
    bench.manager.subscribe("ana", "pro", idempotency_key="ana")
    bench.later(days=29)
    bench.mock.force("timeout-after" if moved == 2 else "timeout-before")
    assert bench.manager.renew_due().waiting == 1
    bench.bot.cancel_subscription("ana")
    bench.later(seconds=10)
    bench.manager.reconcile()
    bench.manager.renew_due()
    assert (bench.manager.get_subscription("ana").status, bench.movements()) == (status, moved)
    assert bench.recorded("payment.unused") == 0, "paid for nothing"
    bench.later(days=31)
    bench.manager.renew_due()
    assert (bench.manager.get_subscription("ana").status, bench.movements()) == ("canceled", moved)


def test_a_renewal_answers_with_its_payment_and_so_does_its_repeat(bench: Bench) -> None:
    """A renewal for which the customer must act says so, and where: its repeat too, whatever was begun since."""
    plan(bench)
    plan(bench, "other")
    bench.manager.subscribe("ana", "pro", idempotency_key="pro")
    bench.later(days=29)
    bench.mock.force("action-lookup")
    first = bench.manager.renew_subscription("ana", idempotency_key="r")
    assert (first.plan, first.payment_status, first.replayed) == ("pro", "requires_action", False)
    assert first.url is not None and "must act" in first.next_step
    bench.manager.subscribe("ana", "other", idempotency_key="other")
    again = bench.manager.renew_subscription("ana", idempotency_key="r")
    assert (again.id, again.url, again.payment_id, again.replayed) == (first.id, first.url, first.payment_id, True)


def test_money_that_comes_when_its_period_is_over_is_told_of(bench: Bench) -> None:
    """The customer had no access in that period: a person decides, and the doctor says so."""
    plan(bench)
    bench.manager.subscribe("ana", "pro", idempotency_key="pro")
    bench.later(days=29)
    bench.mock.force("timeout-after")
    assert bench.manager.renew_due().waiting == 1
    bench.later(days=40)
    assert not bench.manager.check_access("ana", "api")
    bench.manager.reconcile()
    assert [line for line in bench.engine.store.read(of_rows) if line.startswith("Paid for what can no longer")]


def due_at_both(bench: Bench) -> None:
    """Ana's renewal is due at the scripted provider, and an hour after it Ben's at the mock."""
    plan(bench)
    bench.manager.subscribe("ana", "pro", idempotency_key="ana", provider="scripted")
    bench.later(hours=1)
    bench.manager.subscribe("ben", "pro", idempotency_key="ben")
    bench.later(days=29)


def test_what_was_renewed_by_hand_during_a_pass_is_not_charged_for_the_period_after(make_bench: MakeBench) -> None:
    """A pass knows what was due when it began. A period ahead is charged only by who asks for it."""
    other = ScriptedProvider()
    bench = make_bench(providers=(other,))
    due_at_both(bench)

    def by_hand(_steps: Steps) -> Succeeded:
        bench.manager.renew_subscription("ben", idempotency_key="by-hand")
        return Succeeded("ok")

    other.answers = [by_hand]
    report = bench.manager.renew_due()
    assert (report.renewed, report.waiting) == (1, 1)
    assert bench.movements() == 2, "ben was charged for two periods at once"


def test_of_several_subscriptions_the_one_to_renew_is_named(bench: Bench) -> None:
    for name in ("pro", "team"):
        plan(bench, name)
        bench.manager.subscribe("ana", name, idempotency_key=name)
    bench.later(days=29)
    with pytest.raises(Conflict, match="several subscriptions: pro, team"):
        bench.manager.renew_subscription("ana", idempotency_key="r")
    assert bench.manager.renew_subscription("ana", "pro", idempotency_key="r").plan == "pro"
    bench.manager.cancel_subscription("ana", "pro", at_period_end=False)
    assert bench.manager.renew_subscription("ana", idempotency_key="s").plan == "team"


@dataclass
class Choosy(ScriptedProvider):
    """A provider that takes only some currencies."""

    takes: tuple[str, ...] = ("USD",)

    def capabilities(self) -> Capabilities:
        return replace(super().capabilities(), currencies=frozenset(self.takes))


def test_a_renewal_that_its_provider_cannot_make_any_more_is_past_due_and_keeps_no_other_from_its_turn(
    make_bench: MakeBench,
) -> None:
    other = Choosy()
    bench = make_bench(providers=(other,))
    due_at_both(bench)
    other.takes = ("EUR",)
    passes = [bench.engine.renewing.renew_due(limit=1) for _ in range(3)]
    assert [(one.renewed, one.failed) for one in passes] == [(0, 1), (1, 0), (0, 0)]
    assert bench.actions(bench.manager.get_subscription("ana").id)[-1] == "subscription.past_due"
    assert bench.recorded("renew.call_refused") == 1, "a refusal each minute"
    other.takes = ("USD",)
    assert bench.manager.renew_subscription("ana", idempotency_key="by-hand").status == "active"
    assert (len(other.sent), bench.movements()) == (2, 2)
