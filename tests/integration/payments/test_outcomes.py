"""Every scripted outcome of the mock through `charge`: the status, the money, the hold, the ledger, the audit."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from agentpay.errors import NotSent, PaymentDeclined
from agentpay.payments.models import Payment
from agentpay.storage.tables import OutboxRow
from agentpay.storage.types import table
from support.bench import Bench

_KEYS = itertools.count(1)

Charge = Callable[..., Payment]


def charged(bench: Bench, customer: str, amount: str, key: str = "") -> Payment:
    return bench.bot.charge(
        customer, amount, "USD", description="a thing", idempotency_key=key or f"outcome-{next(_KEYS)}"
    )


def reference_of(bench: Bench, payment: Payment) -> str:
    found = [attempt.reference for attempt in bench.attempts(payment.id) if attempt.reference]
    return str(found[-1])


def test_a_charge_succeeds_and_everything_is_written_down(shared: Bench, ana: str) -> None:
    before = shared.moved()
    payment = charged(shared, ana, "20.00")
    assert payment.status == "succeeded" and bool(payment) and not payment.replayed
    assert (str(payment.amount), payment.currency, payment.payee, payment.direction) == (
        "20.00", "USD", "self", "collect",
    )  # fmt: skip
    assert shared.moved() - before == 2000
    assert shared.holds(payment.id) == ["captured"]
    assert shared.actions(payment.id) == ["payment.opened", "payment.succeeded"]
    outbox = table(OutboxRow)
    topics = [row.topic for row in shared.rows(sa.select(outbox).where(outbox.c.object_id == payment.id))]
    assert topics == ["payment.succeeded"]


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("13.01", "generic_decline"),
        ("13.02", "insufficient_funds"),
        ("13.03", "expired_card"),
        ("13.04", "suspected_fraud"),
    ],
)
def test_a_decline_is_raised_with_its_code_and_frees_the_money(shared: Bench, ana: str, amount: str, code: str) -> None:
    before = shared.moved()
    with pytest.raises(PaymentDeclined) as caught:
        charged(shared, ana, amount, key=f"{ana}-declined")
    assert caught.value.decline_code == code
    assert shared.moved() == before
    assert shared.holds(caught.value.payment_id) == ["released"]
    with pytest.raises(PaymentDeclined) as again:
        charged(shared, ana, amount, key=f"{ana}-declined")
    assert again.value.payment_id == caught.value.payment_id
    assert len(shared.attempts(caught.value.payment_id)) == 1
    assert shared.manager.get_payment(caught.value.payment_id).decline_code == code


@pytest.mark.parametrize("end", ["succeeded", "declined"])
def test_pending_keeps_its_hold_until_the_provider_says_how_it_ended(shared: Bench, ana: str, end: str) -> None:
    payment = charged(shared, ana, "13.10")
    assert payment.status == "pending" and not payment
    assert shared.holds(payment.id) == ["held"]
    assert shared.manager.verify_payment(payment.id).status == "pending"
    shared.mock.complete(reference_of(shared, payment), end)  # type: ignore[arg-type]
    assert shared.manager.get_payment(payment.id).status == "pending"
    assert shared.manager.reconcile().settled >= 1
    assert shared.manager.get_payment(payment.id).status == end
    assert shared.holds(payment.id) == ["captured" if end == "succeeded" else "released"]


def test_a_repeat_of_a_pending_payment_is_its_present_state(shared: Bench, ana: str) -> None:
    first = charged(shared, ana, "13.10", key=f"{ana}-k")
    again = charged(shared, ana, "13.10", key=f"{ana}-k")
    assert (again.id, again.status, again.replayed) == (first.id, "pending", True)
    shared.mock.complete(reference_of(shared, first), "succeeded")
    shared.manager.verify_payment(first.id)
    assert charged(shared, ana, "13.10", key=f"{ana}-k").status == "succeeded"
    assert len(shared.attempts(first.id)) == 1


def test_an_action_is_continued_after_the_customer_acted(shared: Bench, ana: str) -> None:
    before = shared.moved()
    payment = charged(shared, ana, "13.11")
    assert payment.status == "requires_action" and payment.url
    assert shared.holds(payment.id) == ["held"]
    early = shared.manager.continue_payment(payment.id)
    assert early.status == "requires_action" and shared.moved() == before
    shared.mock.customer_acts(reference_of(shared, payment))
    done = shared.manager.continue_payment(payment.id)
    assert done.status == "succeeded" and done.url is None
    assert shared.moved() - before == 1311
    assert shared.manager.continue_payment(payment.id).status == "succeeded"
    assert shared.moved() - before == 1311


@pytest.mark.parametrize("amount", ["13.12", "13.13"])
def test_an_action_that_needs_a_look_only_is_found_by_reconcile(shared: Bench, ana: str, amount: str) -> None:
    payment = charged(shared, ana, amount)
    assert payment.status == "requires_action"
    assert (payment.url is None) == (amount == "13.13")
    shared.mock.customer_acts(reference_of(shared, payment))
    shared.manager.reconcile()
    assert shared.manager.get_payment(payment.id).status == "succeeded"


def test_a_customer_who_refuses_is_a_decline(shared: Bench, ana: str) -> None:
    payment = charged(shared, ana, "13.11")
    shared.mock.customer_acts(reference_of(shared, payment), approve=False)
    with pytest.raises(PaymentDeclined) as caught:
        shared.manager.continue_payment(payment.id)
    assert caught.value.decline_code == "customer_refused"
    assert shared.holds(payment.id) == ["released"]


@pytest.mark.parametrize("amount", ["13.22", "13.23", "13.26", "13.27"])
def test_unknown_keeps_its_hold_and_a_look_up_finds_the_money(shared: Bench, ana: str, amount: str) -> None:
    payment = charged(shared, ana, amount, key=f"{ana}-k")
    assert payment.status == "unknown" and "not pay again" in payment.next_step
    assert shared.holds(payment.id) == ["held"]
    again = charged(shared, ana, amount, key=f"{ana}-k")
    assert again.id == payment.id and len(shared.attempts(payment.id)) == 1
    shared.manager.reconcile()
    assert shared.manager.get_payment(payment.id).status == "succeeded"
    assert sum(charge.payment_id == payment.id for charge in shared.mock.charges()) == 1


def test_unknown_is_not_sent_only_after_the_lease_and_is_then_tried_again(shared: Bench, ana: str) -> None:
    payment = charged(shared, ana, "13.21", key=f"{ana}-k")
    assert payment.status == "unknown"
    shared.manager.reconcile()
    assert shared.manager.get_payment(payment.id).status == "unknown"  # the lease is not over
    assert shared.holds(payment.id) == ["held"]
    shared.later(seconds=2)
    shared.manager.reconcile()
    assert shared.manager.get_payment(payment.id).status == "not_sent"
    assert shared.holds(payment.id) == ["void"]
    again = charged(shared, ana, "13.21", key=f"{ana}-k")
    assert again.status == "unknown" and again.id == payment.id
    attempts = shared.attempts(payment.id)
    assert [attempt.number for attempt in attempts] == [1, 2]
    assert attempts[0].provider_key != attempts[1].provider_key
    assert shared.holds(payment.id) == ["void", "held"]


def test_not_sent_is_raised_and_a_repeat_is_the_next_attempt(shared: Bench, ana: str) -> None:
    with pytest.raises(NotSent) as caught:
        charged(shared, ana, "13.24", key=f"{ana}-k")
    assert caught.value.retryable and caught.value.payment_id
    payment_id = caught.value.payment_id
    assert shared.holds(payment_id) == ["void"]
    with pytest.raises(NotSent):
        charged(shared, ana, "13.24", key=f"{ana}-k")
    assert [attempt.outcome for attempt in shared.attempts(payment_id)] == ["not_sent", "not_sent"]
    assert shared.actions(payment_id) == ["payment.opened", "payment.not_sent"] * 2


@pytest.mark.parametrize("amount", ["13.20", "13.25"])
def test_slow_and_duplicate_answers_are_one_success(shared: Bench, ana: str, amount: str) -> None:
    payment = charged(shared, ana, amount)
    assert payment.status == "succeeded"
    assert sum(charge.payment_id == payment.id for charge in shared.mock.charges()) == 1


@pytest.mark.parametrize(("amount", "steps"), [("13.30", 2), ("13.31", 3)])
def test_each_request_of_a_charge_is_an_attempt_of_its_own(shared: Bench, ana: str, amount: str, steps: int) -> None:
    payment = charged(shared, ana, amount)
    assert payment.status == "succeeded"
    attempts = shared.attempts(payment.id)
    assert [attempt.outcome for attempt in attempts] == ["pending"] * (steps - 1) + ["succeeded"]
    assert len({attempt.provider_key for attempt in attempts}) == steps
    sent = {key for key, _ in shared.mock.requests()}
    assert {attempt.provider_key for attempt in attempts} <= sent


def test_a_second_step_without_an_answer_is_looked_up(shared: Bench, ana: str) -> None:
    payment = charged(shared, ana, "13.32")
    assert payment.status == "unknown"
    shared.manager.reconcile()
    assert shared.manager.get_payment(payment.id).status == "succeeded"


def test_a_second_step_that_was_lost_leaves_what_was_begun_and_can_be_continued(shared: Bench, ana: str) -> None:
    before = shared.moved()
    payment = charged(shared, ana, "13.33", key=f"{ana}-k")
    assert payment.status == "unknown"
    shared.later(seconds=2)
    shared.manager.reconcile()
    assert shared.manager.get_payment(payment.id).status == "requires_action"  # not not_sent: an order stands
    assert shared.holds(payment.id) == ["held"]
    assert charged(shared, ana, "13.33", key=f"{ana}-k").status == "requires_action"
    shared.manager.continue_payment(payment.id)
    shared.later(seconds=2)
    shared.manager.reconcile()
    assert shared.manager.get_payment(payment.id).status == "requires_action"  # lost again, and the order still stands
    assert shared.moved() == before


def test_reconcile_never_starts_anything(shared: Bench, ana: str) -> None:
    charged(shared, ana, "13.10")
    charged(shared, ana, "13.21")
    charged(shared, ana, "13.11")
    sent = len(shared.mock.requests())
    shared.later(minutes=10)
    shared.manager.reconcile()
    assert len(shared.mock.requests()) == sent


def test_what_stays_open_is_asked_about_less_and_less(shared: Bench, ana: str) -> None:
    payment = charged(shared, ana, "13.10")
    due = []
    for _ in range(4):
        attempt = shared.attempts(payment.id)[-1]
        due.append(attempt.next_check_at)
        shared.clock.set(attempt.next_check_at)  # type: ignore[union-attr]
        assert shared.engine.payments.reconcile(limit=1000, seconds=60).looked_up >= 1
    waits = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(due)]
    assert waits == [3600, 86400, 86400]
