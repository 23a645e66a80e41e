"""Refunds: never more than was captured, whatever comes at once, and each under a key of its own."""

from __future__ import annotations

import itertools

import pytest

from agentpay.errors import NotSent, PaymentDeclined, PolicyDenied, RefundRefused
from agentpay.payments.models import Payment, Refund
from support.bench import Bench, code_of, policy, tally
from support.bench_fixtures import MakeBench
from support.parallel import run_threads

_KEYS = itertools.count(1)


def paid(bench: Bench, customer: str, amount: str = "50.00") -> Payment:
    return bench.bot.charge(customer, amount, "USD", description="x", idempotency_key=f"paid-{next(_KEYS)}")


def refunded(bench: Bench, payment: Payment, amount: str | None = None, key: str = "") -> Refund:
    return bench.bot.refund(payment.id, amount, reason="r", idempotency_key=key or f"refund-{next(_KEYS)}")


def test_a_refund_without_an_amount_is_of_all_that_is_left(shared: Bench, ana: str) -> None:
    payment = paid(shared, ana)
    first = refunded(shared, payment, "20.00")
    assert (first.status, str(first.amount), first.payment_id, first.reason) == ("succeeded", "20.00", payment.id, "r")
    rest = refunded(shared, payment)
    assert str(rest.amount) == "30.00"
    after = shared.manager.get_payment(payment.id)
    assert after.status == "succeeded" and str(after.refunded) == "50.00"
    with pytest.raises(RefundRefused, match="Nothing is left"):
        refunded(shared, payment)
    assert shared.actions(rest.id) == ["refund.opened", "refund.succeeded"]
    assert {refund.id for refund in shared.manager.refunds_of(payment.id)} == {first.id, rest.id}
    assert [one.id for one in shared.manager.list_payments(ana)] == [payment.id]  # refunds are not in it


@pytest.mark.parametrize("amount", ["50.01", "1000000.00"])
def test_more_than_is_left_is_refused_and_the_key_stays_free(shared: Bench, ana: str, amount: str) -> None:
    payment = paid(shared, ana)
    with pytest.raises(RefundRefused) as caught:
        refunded(shared, payment, amount, key=f"{ana}-r")
    assert caught.value.payment_id == payment.id
    assert refunded(shared, payment, "50.00", key=f"{ana}-r").status == "succeeded"


@pytest.mark.parametrize("amount", ["0", "-1.00", "NaN", "1e400", "1,000", "0.001"])
def test_no_amount_is_no_refund(shared: Bench, ana: str, amount: str) -> None:
    payment = paid(shared, ana)
    assert code_of(lambda: refunded(shared, payment, amount)) in ("AMOUNT_INVALID", "REFUND_REFUSED")
    assert str(shared.manager.get_payment(payment.id).refunded) == "0.00"


@pytest.mark.parametrize("amount", ["13.10", "13.11", "13.22"])
def test_what_is_not_paid_is_not_refunded(shared: Bench, ana: str, amount: str) -> None:
    payment = paid(shared, ana, amount)
    with pytest.raises(RefundRefused, match=f"is {payment.status}"):
        refunded(shared, payment)


def test_a_declined_payment_is_not_refunded(shared: Bench, ana: str) -> None:
    with pytest.raises(PaymentDeclined) as caught:
        paid(shared, ana, "13.01")
    assert code_of(lambda: shared.manager.refund(caught.value.payment_id, idempotency_key=f"{ana}-r")) == (
        "REFUND_REFUSED"
    )


def test_money_that_was_sent_is_not_refunded(shared: Bench, ana: str) -> None:
    sent = shared.manager.charge(ana, "5.00", "USD", payee="paypal:ann@example.com", idempotency_key=f"{ana}-s")
    assert (sent.status, sent.direction) == ("succeeded", "send")
    with pytest.raises(RefundRefused, match="sent"):
        shared.manager.refund(sent.id, idempotency_key=f"{ana}-r")


def test_a_refund_of_nothing_known_is_not_found(shared: Bench) -> None:
    assert code_of(lambda: shared.manager.refund("pay_no", idempotency_key="r-none")) == "NOT_FOUND"
    assert code_of(lambda: shared.bot.refund("pay_no", reason="r", idempotency_key="r-none")) == "NOT_FOUND"


def test_a_declined_refund_gives_the_amount_back_to_be_refunded(shared: Bench, ana: str) -> None:
    payment = paid(shared, ana)
    with pytest.raises(PaymentDeclined):
        refunded(shared, payment, "14.01", key=f"{ana}-r")
    assert str(shared.manager.get_payment(payment.id).refunded) == "0.00"
    with pytest.raises(PaymentDeclined):
        refunded(shared, payment, "14.01", key=f"{ana}-r")
    assert refunded(shared, payment, "50.00").status == "succeeded"


@pytest.mark.parametrize("amount", ["14.22", "14.23", "14.26", "14.27"])
def test_an_unknown_refund_holds_its_amount_until_it_is_looked_up(shared: Bench, ana: str, amount: str) -> None:
    payment = paid(shared, ana, "20.00")
    refund = refunded(shared, payment, amount, key=f"{ana}-r")
    assert refund.status == "unknown"
    with pytest.raises(RefundRefused):
        refunded(shared, payment, "10.00")
    shared.manager.reconcile()
    again = refunded(shared, payment, amount, key=f"{ana}-r")
    assert (again.status, again.id, again.replayed) == ("succeeded", refund.id, True)
    assert str(shared.manager.get_payment(payment.id).refunded) == amount


def test_a_refund_that_never_arrived_is_tried_again_by_the_same_key(shared: Bench, ana: str) -> None:
    payment = paid(shared, ana, "20.00")
    assert refunded(shared, payment, "14.21", key=f"{ana}-r").status == "unknown"
    shared.later(seconds=2)
    shared.manager.reconcile()
    rest = refunded(shared, payment, "20.00")  # what was not sent holds nothing
    assert rest.status == "succeeded"
    assert code_of(lambda: refunded(shared, payment, "14.21", key=f"{ana}-r")) == "REFUND_REFUSED"


def test_a_refund_that_was_not_sent_is_raised_and_repeated(shared: Bench, ana: str) -> None:
    payment = paid(shared, ana, "20.00")
    for _ in range(2):
        with pytest.raises(NotSent):
            refunded(shared, payment, "14.24", key=f"{ana}-r")
    (refund,) = shared.manager.refunds_of(payment.id)
    assert [attempt.outcome for attempt in shared.attempts(refund.id)] == ["not_sent", "not_sent"]


def test_a_pending_refund_ends_later(shared: Bench, ana: str) -> None:
    payment = paid(shared, ana, "20.00")
    refund = refunded(shared, payment, "14.10")
    assert refund.status == "pending"
    shared.mock.complete(shared.attempts(refund.id)[-1].reference, "succeeded")
    shared.manager.reconcile()
    assert str(shared.manager.get_payment(payment.id).refunded) == "14.10"


def test_equal_amounts_written_otherwise_are_the_same_refund(shared: Bench, ana: str) -> None:
    payment = paid(shared, ana)
    first = refunded(shared, payment, "2.0", key=f"{ana}-r")
    again = refunded(shared, payment, "2.00", key=f"{ana}-r")
    assert (again.id, again.replayed) == (first.id, True)
    assert code_of(lambda: refunded(shared, payment, "2.01", key=f"{ana}-r")) == "IDEMPOTENCY_CONFLICT"
    assert code_of(lambda: refunded(shared, payment, None, key=f"{ana}-r")) == "IDEMPOTENCY_CONFLICT"


def test_twenty_refunds_at_once_never_exceed_the_charge(bench: Bench) -> None:
    payment = paid(bench, "ana", "20.00")
    ended = tally(run_threads(20, lambda n: refunded(bench, payment, "3.00", key=f"r{n}")))
    assert ended == {"succeeded": 6, "REFUND_REFUSED": 14}
    assert bench.moved("refund") == 18_00


def test_a_refund_that_was_not_sent_and_is_denied_later_keeps_nothing_reserved(bench: Bench) -> None:
    payment = paid(bench, "ana", "20.00")
    with pytest.raises(NotSent):
        refunded(bench, payment, "14.24", key="r")
    bench.manager.halt(reason="stop")
    for _ in range(3):
        with pytest.raises(PolicyDenied):
            refunded(bench, payment, "14.24", key="r")
    bench.manager.resume()
    assert refunded(bench, payment).status == "succeeded"
    assert bench.moved("refund") == 20_00


def test_an_agent_refunds_its_own_charges_only(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"other": {}}))
    payment = paid(bench, "ana")
    other = bench.manager.for_agent("other")
    with pytest.raises(PolicyDenied) as caught:
        other.refund(payment.id, "1.00", reason="r", idempotency_key="r")
    assert [violation.code for violation in caught.value.violations] == ["NOT_OWN_PAYMENT"]
    assert "50.00" not in str(caught.value)


@pytest.mark.parametrize("amount", ["51.00", "13.10", "13.01"])
def test_an_agent_learns_nothing_of_another_agents_payment_by_refunding_it(make_bench: MakeBench, amount: str) -> None:
    bench = make_bench(policy=policy({"other": {}}))
    code_of(lambda: paid(bench, "ana", "50.00" if amount == "51.00" else amount))
    (payment,) = bench.manager.list_payments("ana")
    other = bench.manager.for_agent("other")
    with pytest.raises(PolicyDenied) as caught:
        other.refund(payment.id, "51.00", reason="r", idempotency_key="r")
    assert [violation.code for violation in caught.value.violations] == ["NOT_OWN_PAYMENT"]


def test_an_agent_may_refund_any_charge_where_its_policy_says_so(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"other": {"refund": {"allow": "any"}}}))
    payment = paid(bench, "ana")
    other = bench.manager.for_agent("other")
    assert other.refund(payment.id, "1.00", reason="r", idempotency_key="r").status == "succeeded"
    theirs = bench.manager.charge("ana", "7.00", "USD", idempotency_key="operator")
    assert other.refund(theirs.id, reason="r", idempotency_key="r2").status == "succeeded"
    assert code_of(lambda: bench.bot.refund(theirs.id, reason="r", idempotency_key="r2")) == "POLICY_DENIED"


def test_a_refund_limit_counts_refunds_apart_from_charges(make_bench: MakeBench) -> None:
    limits = [{"id": "refunds", "count": 2, "window": {"rolling": "24h"}, "per": "agent"}]
    bench = make_bench(policy=policy({"bot": {"refund": {"allow": "own_charges", "limits": limits}}}))
    payment = paid(bench, "ana")
    assert [code_of(lambda: refunded(bench, payment, "1.00")) for _ in range(3)] == ["fine", "fine", "POLICY_DENIED"]
    assert paid(bench, "ana").status == "succeeded"
