"""Erasing a customer: who they are goes from every table, and what was paid stays, valid."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from agentpay.errors import Conflict, NotFound
from agentpay.plans.models import BillingPeriod, PaymentPlan, PaymentType
from agentpay.providers.events import MethodNews, WebhookEvent
from agentpay.providers.mock_webhooks import SECRET, signed
from agentpay.providers.outcomes import Unknown
from agentpay.storage.exporting import export_to
from agentpay_policies.money import Money
from support.bench import SECRET as PERSON
from support.bench import Bench
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider

NAME = "ada.lovelace@example.org"


def everything(bench: Bench) -> str:
    """Every row of every table, as text."""
    import io

    sink = io.BytesIO()
    export_to(bench.engine.store, sink)
    return sink.getvalue().decode()


@pytest.fixture
def paid(bench: Bench) -> Bench:
    """A customer who was linked, charged, refunded and declined, with their name in every free text."""
    bench.manager.link_customer(NAME, "mock", f"cus of {NAME}")
    made = bench.bot.charge(NAME, "20.00", "USD", description=f"a machine for {NAME}", idempotency_key="one")
    bench.bot.refund(made.id, "5.00", reason=f"{NAME} asked", idempotency_key="two")
    bench.bot.charge("ben", "7.00", "USD", description="for Ben", idempotency_key="four")
    return bench


def test_nothing_of_the_name_is_left_and_books_and_audit_stay_valid(paid: Bench) -> None:
    before = paid.manager.verify_audit()
    (payment,) = paid.manager.list_payments(NAME)
    done = paid.manager.erase_customer(NAME)
    assert (done.already, done.texts) == (False, 2)
    left = everything(paid)
    assert NAME not in left and "for Ben" in left
    after = paid.manager.verify_audit()
    assert after.ok and after.rows == before.rows + 1
    assert paid.manager.doctor().breaches == ()
    kept = paid.manager.get_payment(payment.id)
    assert (kept.customer, kept.amount, kept.refunded, kept.description) == (
        "(erased)",
        payment.amount,
        payment.refunded,
        None,
    )
    assert [one.external_id for one in paid.manager.list_customers()] == ["ben"]
    assert paid.manager.list_payments(NAME) == ()


def hear(bench: Bench, told: Mapping[str, object]) -> str:
    """Deliver an event of the mock's whose body names the customer; returns what became of it."""
    assert bench.clock is not None
    event = signed({**told, "buyer": NAME}, secret=SECRET, at=bench.clock.now())
    return bench.manager.receive_webhook("mock", event.body, event.headers).status


@pytest.mark.parametrize("how", ["refund", "dispute", "reverse"])
def test_the_bodies_of_all_that_providers_told_of_the_customer_go(paid: Bench, how: str) -> None:
    (payment,) = paid.manager.list_payments(NAME)
    charge = str(paid.attempts(payment.id)[0].reference)
    theirs = getattr(paid.mock.elsewhere, how)(charge, Money("1.00", "USD"))
    assert hear(paid, json.loads(paid.mock.webhook(theirs).body)) == "stored"
    assert hear(paid, json.loads(paid.mock.webhook(charge).body)) == "stored"
    paid.manager.erase_customer(NAME)
    assert NAME not in everything(paid)
    assert paid.manager.doctor().breaches == ()


def test_what_was_told_of_a_saved_method_goes(paid: Bench) -> None:
    assert paid.clock is not None
    news = MethodNews(f"cus of {NAME}", "saved")
    event = WebhookEvent("m-1", "mock", "method.saved", paid.clock.now(), (news,))
    (receipt,) = paid.engine.webhooks.apply_events("mock", [event])
    assert not receipt.waiting
    paid.manager.erase_customer(NAME)
    assert NAME not in everything(paid)


def test_the_body_of_an_event_that_tells_nothing_here_is_not_kept(paid: Bench) -> None:
    """Nobody could say whose it is, to erase it."""
    told = {"type": "customer.updated", "created": "2026-01-31T12:00:00+00:00", "object": {"name": NAME}}
    assert hear(paid, told) == "ignored"
    assert hear(paid, told) == "repeated"
    paid.manager.erase_customer(NAME)
    assert NAME not in everything(paid)


def test_the_evidence_by_which_people_resolved_a_payment_goes(make_bench: MakeBench) -> None:
    lost = ScriptedProvider(consistent=False)
    lost.answers = [Unknown(evidence="no answer")]
    bench = make_bench(providers=(lost,))
    bench.enrol("alice")
    made = bench.manager.charge(NAME, "5.00", "USD", idempotency_key="k", provider="scripted")
    bench.later(days=3)
    bench.manager.resolve_payment(
        made.id, outcome="not_sent", evidence=f"{NAME} showed a statement", approver="alice", secret=PERSON
    )
    bench.manager.erase_customer(NAME)
    assert NAME not in everything(bench)


def test_what_was_paid_can_still_be_refunded(paid: Bench) -> None:
    (payment,) = paid.manager.list_payments(NAME)
    paid.manager.erase_customer(NAME)
    assert paid.manager.refund(payment.id, "3.00", idempotency_key="later").status == "succeeded"
    assert NAME not in everything(paid)


def test_erasing_again_changes_nothing(paid: Bench) -> None:
    first = paid.manager.erase_customer(NAME)
    before = everything(paid).partition("\n")[2]
    again = paid.manager.erase_customer(NAME)
    assert (again.customer_id, again.already, again.texts) == (first.customer_id, True, 0)
    assert everything(paid).partition("\n")[2] == before


def test_a_customer_of_that_id_who_comes_later_is_another_one(paid: Bench) -> None:
    first = paid.manager.erase_customer(NAME)
    paid.manager.charge(NAME, "1.00", "USD", idempotency_key="a new life")
    assert len(paid.manager.list_payments(NAME)) == 1
    second = paid.manager.erase_customer(NAME)
    assert second.customer_id != first.customer_id and not second.already
    assert NAME not in everything(paid)


def test_a_customer_who_is_not_there(bench: Bench) -> None:
    with pytest.raises(NotFound) as caught:
        bench.manager.erase_customer("nobody")
    assert "customers list" in caught.value.next_step


def test_a_live_subscription_is_ended_first(bench: Bench) -> None:
    bench.manager.create_plan(
        PaymentPlan(
            id="pro",
            name="Pro",
            payment_type=PaymentType.SUBSCRIPTION,
            price="10.00",
            billing_period=BillingPeriod.MONTHLY,
            features=["reports"],
        )
    )
    bench.manager.subscribe(NAME, "pro", idempotency_key="k")
    with pytest.raises(Conflict, match="subscription to pro is active") as caught:
        bench.manager.erase_customer(NAME)
    assert "cancel_subscription" in caught.value.next_step
    bench.manager.cancel_subscription(NAME, at_period_end=False)
    bench.manager.erase_customer(NAME)
    assert NAME not in everything(bench)


@pytest.mark.parametrize(
    ("amount", "status"), [("13.11", "requires_action"), ("13.22", "unknown"), ("13.10", "pending")]
)
def test_a_payment_that_may_still_move_money_is_brought_to_its_end_first(
    bench: Bench, amount: str, status: str
) -> None:
    made = bench.manager.charge(NAME, amount, "USD", idempotency_key="k")
    assert made.status == status
    with pytest.raises(Conflict, match=f"{made.id} of the customer is {status}") as caught:
        bench.manager.erase_customer(NAME)
    assert made.id in caught.value.next_step
    assert NAME in everything(bench)


def test_a_refund_that_a_person_began_at_the_provider_is_ended_there(bench: Bench) -> None:
    """Nothing of ours can look it up: the error says what can be done."""
    made = bench.manager.charge(NAME, "20.00", "USD", idempotency_key="k")
    charge = str(bench.attempts(made.id)[0].reference)
    begun = bench.mock.elsewhere.refund(charge, Money("5.00", "USD"), pending=True)
    assert hear(bench, json.loads(bench.mock.webhook(begun).body)) == "stored"
    with pytest.raises(Conflict, match="is pending") as caught:
        bench.manager.erase_customer(NAME)
    assert "have the provider send it again" in caught.value.next_step
    assert "reconcile" not in caught.value.next_step
    bench.mock.elsewhere.end_refund(begun, "succeeded")
    assert hear(bench, json.loads(bench.mock.webhook(begun).body)) == "stored"
    bench.manager.erase_customer(NAME)
    assert NAME not in everything(bench)


def test_a_payment_that_was_never_sent_is_given_up(bench: Bench) -> None:
    from agentpay.errors import NotSent

    with pytest.raises(NotSent):
        bench.manager.charge(NAME, "13.24", "USD", idempotency_key="k")
    (made,) = bench.manager.list_payments(NAME)
    bench.manager.erase_customer(NAME)
    assert bench.manager.get_payment(made.id).status == "canceled"
    assert NAME not in everything(bench)
