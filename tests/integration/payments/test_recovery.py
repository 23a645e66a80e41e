"""What a look-up may conclude, and what it may not; a success that comes late is never lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentpay.errors import NotSent as NotSentError
from agentpay.errors import PaymentDeclined
from agentpay.payments.models import Payment
from agentpay.providers.base import Found, NoAnswer, NotFound, Steps
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Pending, RequiresAction, Succeeded, Unknown
from support.bench import PEOPLE, SECRET, Bench, asking, capped, code_of, policy
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider

LOST = Unknown("timed out")


@pytest.fixture
def scripted() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
def own(make_bench: MakeBench, scripted: ScriptedProvider) -> Bench:
    """An engine whose agent may use the scripted provider, at most $50 a day."""
    allowed = {"providers": {"allow": ["mock", "scripted"]}, **capped("50.00 USD")}
    return make_bench(policy=policy({"bot": allowed}), providers=(scripted,))


def charged(bench: Bench, amount: str = "50.00", key: str = "k") -> Payment:
    return bench.bot.charge("ana", amount, "USD", description="x", idempotency_key=key, provider="scripted")


def settled(bench: Bench, payment_id: str, outcome: Outcome, attempt: int = -1) -> str:
    """Settle an attempt by hand, as a look-up or a webhook would."""
    attempt_id = bench.attempts(payment_id)[attempt].id
    bench.engine.store.write(lambda tx: bench.engine.payments.settling.settle(tx, attempt_id, outcome))
    return bench.manager.get_payment(payment_id).status


def test_an_inconsistent_look_up_proves_nothing_ever(own: Bench, scripted: ScriptedProvider) -> None:
    scripted.consistent = False
    scripted.answers = [LOST]
    payment = charged(own)
    for _ in range(3):
        own.later(days=2)
        own.manager.reconcile()
        assert own.manager.get_payment(payment.id).status == "unknown"
    assert own.holds(payment.id) == ["held"] and len(scripted.sent) == 1


def test_a_look_up_that_fails_proves_nothing(own: Bench, scripted: ScriptedProvider) -> None:
    scripted.answers = [LOST]
    payment = charged(own)
    own.later(days=1)
    scripted.findings = [NoAnswer("down")]
    own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == "unknown"


def test_within_the_lease_nothing_found_is_no_proof(own: Bench, scripted: ScriptedProvider) -> None:
    scripted.answers = [LOST]
    payment = charged(own)
    own.later(seconds=10)
    own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == "unknown"
    own.later(seconds=2)
    own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == "not_sent"


def test_a_look_up_asks_by_the_committed_key_and_request(own: Bench, scripted: ScriptedProvider) -> None:
    scripted.answers = [LOST]
    payment = charged(own)
    own.manager.verify_payment(payment.id)
    (attempt,) = own.attempts(payment.id)
    (asked,) = scripted.asked
    assert (asked.key, asked.kind, asked.request) == (attempt.provider_key, "charge", scripted.sent[0])


def test_a_success_after_a_decline_is_recorded_flagged_and_counted_again(
    own: Bench, scripted: ScriptedProvider
) -> None:
    scripted.answers = [Declined("generic_decline", "no")]
    with pytest.raises(PaymentDeclined) as caught:
        charged(own)
    payment_id = caught.value.payment_id
    other = charged(own, key="k2")  # the money was free again
    assert other.status == "succeeded"
    assert settled(own, payment_id, Succeeded("late")) == "succeeded"
    late = own.manager.get_payment(payment_id)
    assert late.late and not other.late
    assert own.holds(payment_id) == ["captured"]
    assert charged(own).status == "succeeded"
    assert code_of(lambda: charged(own, "0.01", key="k3")) == "POLICY_DENIED"


def test_a_success_after_a_proof_that_nothing_was_sent_is_recorded_and_flagged(
    own: Bench, scripted: ScriptedProvider
) -> None:
    scripted.answers = [NotSent("refused")]
    with pytest.raises(NotSentError) as caught:
        charged(own)
    payment_id = str(caught.value.payment_id)
    assert settled(own, payment_id, Succeeded("late")) == "succeeded"
    assert own.manager.get_payment(payment_id).late
    assert charged(own).replayed and len(scripted.sent) == 1


@pytest.mark.parametrize("late", [Declined("x", "x"), NotSent("x"), Unknown("x"), Pending("x"), RequiresAction("x")])
def test_nothing_undoes_a_success(own: Bench, scripted: ScriptedProvider, late: Outcome) -> None:
    payment = charged(own)
    assert settled(own, payment.id, late) == "succeeded"
    assert own.actions(payment.id) == ["payment.opened", "payment.succeeded"]


def test_the_same_outcome_told_again_changes_nothing(own: Bench, scripted: ScriptedProvider) -> None:
    payment = charged(own)
    for _ in range(3):
        assert settled(own, payment.id, Succeeded("ok-1")) == "succeeded"
    assert not own.manager.get_payment(payment.id).late


def test_a_late_refund_success_is_recorded_and_never_exceeds_the_charge(own: Bench, scripted: ScriptedProvider) -> None:
    payment = charged(own)
    scripted.answers = [Declined("x", "no")]
    assert code_of(lambda: own.bot.refund(payment.id, "30.00", reason="r", idempotency_key="r1")) == "PAYMENT_DECLINED"
    refund = own.bot.refund(payment.id, "10.00", reason="r", idempotency_key="r2")
    (first, _) = sorted(own.manager.refunds_of(payment.id), key=lambda one: one.status)
    settled_refund(own, first.id)
    assert str(own.manager.get_payment(payment.id).refunded) == "40.00"
    assert refund.status == "succeeded"


def settled_refund(bench: Bench, refund_id: str) -> None:
    attempt_id = bench.attempts(refund_id)[-1].id
    bench.engine.store.write(lambda tx: bench.engine.payments.settling.settle(tx, attempt_id, Succeeded("late")))


def begun(outcome: Outcome) -> Callable[[Steps], Outcome]:
    """A first request that makes an order, and a second one that ends so."""

    def answer(steps: Steps) -> Outcome:
        steps.record("capture", {"op": "capture", "order": "order-1"}, reference="order-1")
        return outcome

    return answer


def test_a_later_step_that_was_not_sent_does_not_undo_what_was_begun(own: Bench, scripted: ScriptedProvider) -> None:
    scripted.answers = [begun(NotSent("refused"))]
    payment = charged(own)
    assert payment.status == "unknown"  # an order stands at the provider: its hold stands too
    assert own.holds(payment.id) == ["held"]
    assert len(scripted.sent) == 1
    own.later(seconds=12)
    scripted.findings = [NotFound(), Found(RequiresAction("order-1"))]
    own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == "requires_action"


def test_what_waits_for_us_alone_is_gone_on_with_once(own: Bench, scripted: ScriptedProvider) -> None:
    """Its customer acted, as the look-up says, and the provider gives the money when it is asked for."""
    scripted.answers = [RequiresAction("order-1", url="https://pay.example")]
    payment = charged(own)
    scripted.findings = [Found(RequiresAction("order-1"))]
    own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == "requires_action" and len(scripted.sent) == 1
    scripted.findings = [Found(Pending("order-1"))]
    for _ in range(2):
        own.later(hours=2)
        own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == "succeeded"
    assert scripted.sent[1:] == [{"op": "capture", "order": "order-1"}]


def test_a_resume_that_was_not_sent_can_be_tried_again(own: Bench, scripted: ScriptedProvider) -> None:
    scripted.answers = [RequiresAction("order-1", url="https://x.invalid"), NotSent("refused")]
    payment = charged(own)
    assert own.manager.continue_payment(payment.id).status == "unknown"
    assert own.holds(payment.id) == ["held"]


def test_a_payment_that_was_settled_meanwhile_sends_no_further_step(own: Bench, scripted: ScriptedProvider) -> None:
    def answer(steps: Steps) -> Outcome:
        (payment,) = own.manager.list_payments("ana")
        settled(own, payment.id, NotSent("a look-up said so"))
        steps.record("capture", {"op": "capture"}, reference="order-1")
        raise AssertionError("a step was sent for a payment that was settled")

    scripted.answers = [answer]
    with pytest.raises(NotSentError):
        charged(own)


@pytest.mark.parametrize("status", ["denied", "expired", "declined", "not_sent_once", "succeeded"])
def test_continuing_what_cannot_be_continued_answers_as_it_stands(make_bench: MakeBench, status: str) -> None:
    bench = make_bench(policy=policy({"bot": asking()}, approvers=PEOPLE))
    bench.enrol("alice")
    if status in ("denied", "expired"):
        parked = bench.bot.charge("ana", "50.00", "USD", description="x", idempotency_key="k")
        if status == "denied":
            bench.manager.deny(parked.approval_id or "", approver="alice", secret=SECRET)
        else:
            bench.later(hours=1)
            bench.manager.reconcile()
        assert code_of(lambda: bench.manager.continue_payment(parked.id)) == "POLICY_DENIED"
        return
    amount = {"declined": "13.01", "not_sent_once": "13.24", "succeeded": "5.00"}[status]
    code_of(lambda: bench.bot.charge("ana", amount, "USD", description="x", idempotency_key="k"))
    (payment,) = bench.manager.list_payments("ana")
    expected = {"declined": "PAYMENT_DECLINED", "not_sent_once": "NOT_SENT", "succeeded": "fine"}[status]
    assert code_of(lambda: bench.manager.continue_payment(payment.id)) == expected


def test_a_pass_is_bounded_and_says_that_there_is_more(own: Bench, scripted: ScriptedProvider) -> None:
    scripted.answers = [LOST] * 5
    for n in range(5):
        own.manager.charge("ana", "1.00", "USD", idempotency_key=f"k{n}", provider="scripted")
    own.later(days=1)
    report = own.engine.payments.reconcile(limit=3)
    assert report.looked_up == 3 and report.more
    assert own.manager.reconcile().looked_up == 2


def test_attempts_of_a_provider_that_is_off_do_not_keep_others_from_their_turn(
    own: Bench, scripted: ScriptedProvider
) -> None:
    scripted.answers = [LOST] * 21
    for n in range(21):
        own.manager.charge("ana", "1.00", "USD", idempotency_key=f"s{n}", provider="scripted")
    own.later(seconds=1)
    mine = own.manager.charge("ana", "13.22", "USD", idempotency_key="mock")
    assert mine.status == "unknown"
    own.later(days=1)
    fresh = own.new_manager(provider=[own.new_mock()], policy=None)  # its start pass is bounded to 20
    assert fresh.get_payment(mine.id).status == "succeeded"
    fresh.close()
