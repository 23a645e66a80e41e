"""What goes back against what was decided here: budgets, refunds that wait, and answers of our own that come late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import RefundRefused
from agentpay.ledger import service as ledger
from agentpay.ledger.postings import REFUNDS as REFUNDS_ACCOUNT
from agentpay.payments.models import Payment, Refund
from agentpay.spending.tables import ApprovalRow
from agentpay.storage.types import table
from agentpay_policies.money import Money
from integration.webhooks.conftest import Deliver, told
from support.bench import PEOPLE, Bench, asking, capped, policy, violations_of

RESTORES = {"refund": {"allow": "own_charges", "restores_budget": True}}


def reference(bench: Bench, subject_id: str) -> str:
    return str(bench.attempts(subject_id)[-1].reference)


def refunds_posted(bench: Bench) -> int:
    return bench.engine.store.read(lambda tx: ledger.balance(tx, REFUNDS_ACCOUNT, "USD"))


@pytest.mark.parametrize("late_first", [True, False])
def test_a_refund_that_failed_in_the_end_takes_back_the_budget_that_it_gave(
    make_bench: Callable[..., Bench], deliver: Deliver, late_first: bool
) -> None:
    """The money is with us again, so the charge counts again: or charge, refund, failure is a way past a cap."""
    rules = policy({"bot": {**capped("50.00 USD"), **RESTORES}})
    bench = make_bench(policy=rules)
    payment = bench.bot.charge("ana", "50.00", "USD", description="x", idempotency_key="c")
    refund = bench.bot.refund(payment.id, "14.10" if late_first else "20.00", reason="r", idempotency_key="r")
    ref = reference(bench, refund.id)
    if late_first:
        bench.mock.elsewhere.end_refund(ref, "succeeded")
    events = [told(bench, ref)]
    bench.mock.elsewhere.end_refund(ref, "declined")
    events.append(told(bench, ref))
    for event in [*(reversed(events) if late_first else events), events[1]]:
        deliver(bench, event)
    (found,) = bench.manager.refunds_of(payment.id)
    assert (found.status, found.returned) == ("succeeded", True)

    def again() -> Payment:
        return bench.bot.charge("ana", "0.01", "USD", description="y", idempotency_key="d")

    assert violations_of(again) == ["LIMIT_EXCEEDED"]
    bench.manager.apply_policy(
        policy({"bot": {**capped("50.00 USD"), **RESTORES, "expires_at": "2027-01-01T00:00:00Z"}})
    )
    assert violations_of(again) == ["LIMIT_EXCEEDED"], "counters made anew say the same"
    assert bench.bot.refund(payment.id, "50.00", reason="r", idempotency_key="s").status == "succeeded"
    assert again().status == "succeeded", "this one gave it back"


def test_a_refund_whose_failure_overtook_our_own_answer_is_undone_in_the_books(
    make_bench: Callable[..., Bench], deliver: Deliver
) -> None:
    """The answer says that it succeeded, and is on its way, when the event says that it failed in the end."""
    seen: list[Any] = []

    def overtake(point: str, _key: str, request: Any) -> None:
        if point == "before_answer" and request["op"] == "refund":
            (refund,) = bench.mock.refunds()
            bench.mock.elsewhere.end_refund(refund.id, "declined")
            seen.append(deliver(bench, bench.mock.webhook(refund.id)))

    bench = make_bench(script=overtake, policy=policy({"bot": {**capped("50.00 USD"), **RESTORES}}))
    payment = bench.bot.charge("ana", "50.00", "USD", description="x", idempotency_key="c")
    bench.bot.refund(payment.id, "5.00", reason="r", idempotency_key="r")
    (found,) = bench.manager.refunds_of(payment.id)
    assert (found.status, found.returned, len(seen)) == ("succeeded", True, 1)
    assert bench.manager.get_payment(payment.id).refunded == 0
    assert refunds_posted(bench) == 0
    assert bench.actions(found.id).count("refund.returned") == 1
    assert violations_of(lambda: bench.bot.charge("ana", "0.01", "USD", description="y", idempotency_key="d")) == [
        "LIMIT_EXCEEDED"
    ]


def test_what_was_bought_with_a_budget_that_is_taken_back_stays_and_is_no_breach(
    make_bench: Callable[..., Bench], deliver: Deliver
) -> None:
    """The second charge kept the cap when it was decided. More than the cap is spent now, and nothing further is."""
    bench = make_bench(policy=policy({"bot": {**capped("50.00 USD"), **RESTORES}}))
    payment = bench.bot.charge("ana", "50.00", "USD", description="x", idempotency_key="c")
    refund = bench.bot.refund(payment.id, "20.00", reason="r", idempotency_key="r")
    bench.later(minutes=5)
    assert bench.bot.charge("ana", "20.00", "USD", description="y", idempotency_key="d").status == "succeeded"
    bench.later(minutes=5)
    bench.mock.elsewhere.end_refund(reference(bench, refund.id), "declined")
    deliver(bench, told(bench, reference(bench, refund.id)))
    report = bench.manager.doctor()
    assert report.breaches == ()
    assert any(payment.id in warning for warning in report.warnings)
    (left,) = [one.amount for one in bench.bot.get_budget().can_spend_now if one.amount is not None]
    assert left.minor == 0
    assert violations_of(lambda: bench.bot.charge("ana", "0.01", "USD", description="z", idempotency_key="e")) == [
        "LIMIT_EXCEEDED"
    ]


@pytest.mark.parametrize("how", ["dispute", "reverse", "refund"])
def test_what_was_taken_back_meanwhile_is_not_refunded_by_an_approval(
    make_bench: Callable[..., Bench], deliver: Deliver, how: str
) -> None:
    """The refund waits for people while the customer gets the same money by other ways."""
    rules = policy({"bot": {**asking("5.00 USD"), "refund": {"allow": "any"}}}, approvers=PEOPLE)
    bench = make_bench(policy=rules)
    bench.enrol("alice")
    payment = bench.manager.charge("ana", "20.00", "USD", idempotency_key="c")

    def refund() -> Refund:
        return bench.bot.refund(payment.id, "15.00", reason="r", idempotency_key="r")

    parked = refund()
    assert parked.status == "approval_required"
    ref = getattr(bench.mock.elsewhere, how)(reference(bench, payment.id), Money("20.00", "USD"))
    deliver(bench, told(bench, ref))
    (approval,) = bench.rows(sa.select(table(ApprovalRow)))
    bench.approve(approval.id)
    with pytest.raises(RefundRefused, match="not left to refund"):
        refund()
    assert bench.movements("refund") == (1 if how == "refund" else 0)
    (mine,) = [one for one in bench.manager.refunds_of(payment.id) if not one.at_provider]
    assert mine.status == "approval_required"
    if how == "dispute":
        bench.mock.elsewhere.decide(ref, "won")
        deliver(bench, told(bench, ref))
        assert refund().status == "succeeded", "the money is there again, and the approval still holds"
