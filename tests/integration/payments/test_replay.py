"""Where look-ups prove nothing, a reconcile sends the same request again: while it may, and once at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from agentpay.payments.models import Payment, Refund
from agentpay.plans.models import PaymentPlan
from agentpay.providers.base import NoAnswer, Steps
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Pending, Succeeded, Unknown
from support.bench import PEOPLE, Bench, asking, capped, policy
from support.bench_fixtures import MakeBench
from support.parallel import run_threads, values
from support.scripted import Answer, ScriptedProvider

LOST = Unknown("timed out")

sqlite_only = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
LIFE = timedelta(hours=24)


@pytest.fixture
def scripted() -> ScriptedProvider:
    return ScriptedProvider(consistent=False, replay=True, key_life=LIFE)


@pytest.fixture
def own(make_bench: MakeBench, scripted: ScriptedProvider) -> Bench:
    """An engine whose agent may use the scripted provider, at most $50 a day."""
    return make_bench(policy=policy({"bot": ALLOWED}), providers=(scripted,))


ALLOWED = {"providers": {"allow": ["mock", "scripted"]}, **capped("50.00 USD")}


def charged(bench: Bench, amount: str = "50.00", key: str = "k") -> Payment:
    return bench.bot.charge("ana", amount, "USD", description="x", idempotency_key=key, provider="scripted")


def lost(bench: Bench, scripted: ScriptedProvider, *then: Answer) -> Payment:
    """A charge without an answer, its lease over; what the provider answers when it is sent again."""
    scripted.answers = [LOST, *then]
    payment = charged(bench)
    assert payment.status == "unknown"
    bench.later(minutes=6)
    return payment


def test_the_same_bytes_go_out_again_under_the_same_key_and_tell_the_outcome(
    own: Bench, scripted: ScriptedProvider
) -> None:
    payment = lost(own, scripted, Succeeded("ok"))
    assert own.manager.reconcile().settled == 1
    assert scripted.sent[0] == scripted.sent[1] and scripted.keys[0] == scripted.keys[1]
    assert len(scripted.asked) == 1  # it looked first
    found = own.manager.get_payment(payment.id)
    assert found.status == "succeeded" and not found.late
    (attempt,) = own.attempts(payment.id)
    assert attempt.provider_key == scripted.keys[0]
    assert own.holds(payment.id) == ["captured"]
    assert own.actions(attempt.id) == ["attempt.sent_again"]
    assert own.actions(payment.id) == ["payment.opened", "payment.unknown", "payment.pending", "payment.succeeded"]
    assert charged(own).replayed and len(scripted.sent) == 2


@sqlite_only
@pytest.mark.parametrize(
    ("answer", "status", "hold"),
    [
        (Declined("no", "no"), "declined", "released"),
        (NotSent("refused"), "unknown", "held"),  # this time: the first may have arrived all the same
        (LOST, "unknown", "held"),
        (Pending("obj"), "pending", "held"),
    ],
)
def test_whatever_it_answers_is_settled(
    own: Bench, scripted: ScriptedProvider, answer: Outcome, status: str, hold: str
) -> None:
    payment = lost(own, scripted, answer)
    own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == status
    assert own.holds(payment.id) == [hold]


@sqlite_only
def test_it_is_sent_again_less_and_less_often_and_never_after_the_life_of_the_key(
    own: Bench, scripted: ScriptedProvider
) -> None:
    lost(own, scripted, *[LOST] * 50)
    sent_at = []
    for minute in range(0, 48 * 60, 10):
        before = len(scripted.sent)
        own.engine.payments.reconcile()
        sent_at += [minute] * (len(scripted.sent) - before)
        own.later(minutes=10)
    assert sent_at == [0, 60]  # after five minutes, after an hour; the next would be a day later, when the key is dead
    assert scripted.keys == [scripted.keys[0]] * 3


@sqlite_only
@pytest.mark.parametrize(("hours", "again"), [(21.5, True), (21.6, False), (23.9, False), (25, False)])
def test_a_tenth_of_the_life_of_a_key_is_kept_back(
    own: Bench, scripted: ScriptedProvider, hours: float, again: bool
) -> None:
    scripted.answers = [LOST, Succeeded("ok")]
    payment = charged(own)
    own.later(hours=hours)
    own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == ("succeeded" if again else "unknown")
    assert len(scripted.sent) == 1 + again


@sqlite_only
def test_within_the_lease_nothing_is_sent_again(own: Bench, scripted: ScriptedProvider) -> None:
    scripted.answers = [LOST]
    charged(own)
    own.later(seconds=9)
    own.manager.reconcile()
    assert len(scripted.sent) == 1


@sqlite_only
def test_a_provider_that_does_not_promise_it_is_never_sent_the_same_again(
    own: Bench, scripted: ScriptedProvider
) -> None:
    scripted.replay = False
    payment = lost(own, scripted)
    own.manager.reconcile()
    assert len(scripted.sent) == 1 and own.manager.get_payment(payment.id).status == "unknown"


@sqlite_only
def test_a_look_up_that_failed_is_no_reason_to_send(own: Bench, scripted: ScriptedProvider) -> None:
    lost(own, scripted)
    scripted.findings = [NoAnswer("down")]
    own.manager.reconcile()
    assert len(scripted.sent) == 1


@sqlite_only
def test_reading_and_repeating_send_nothing_again(own: Bench, scripted: ScriptedProvider) -> None:
    payment = lost(own, scripted)
    assert own.manager.verify_payment(payment.id).status == "unknown"
    own.later(hours=2)
    assert charged(own).status == "unknown"
    assert own.manager.continue_payment(payment.id).status == "unknown"
    assert len(scripted.sent) == 1


def halt_all(bench: Bench) -> None:
    bench.manager.halt(reason="stop")


def halt_bot(bench: Bench) -> None:
    bench.manager.halt("bot", reason="stop")


def forbid(bench: Bench) -> None:
    bench.manager.apply_policy(policy({"bot": {**ALLOWED, "charge": None}}))


def lower_the_cap(bench: Bench) -> None:
    bench.manager.apply_policy(policy({"bot": {**ALLOWED, **capped("49.99 USD")}}))


@sqlite_only
@pytest.mark.parametrize("change", [halt_all, halt_bot, forbid, lower_the_cap])
def test_what_is_not_allowed_any_more_is_not_sent_again(
    own: Bench, scripted: ScriptedProvider, change: Callable[[Bench], None]
) -> None:
    payment = lost(own, scripted, Succeeded("ok"))
    change(own)
    own.manager.reconcile()
    assert len(scripted.sent) == 1
    assert own.manager.get_payment(payment.id).status == "unknown"
    assert own.holds(payment.id) == ["held"]


@sqlite_only
def test_an_operators_payment_is_sent_again_unless_everybody_is_halted(own: Bench, scripted: ScriptedProvider) -> None:
    scripted.answers = [LOST, LOST, Succeeded("ok")]
    own.manager.charge("ana", "5.00", "USD", idempotency_key="o", provider="scripted")
    own.later(minutes=6)
    own.manager.halt("bot", reason="not this one")
    own.manager.reconcile()
    assert len(scripted.sent) == 2
    own.later(minutes=61)
    own.manager.halt(reason="all")
    own.manager.reconcile()
    assert len(scripted.sent) == 2
    own.manager.resume()
    own.manager.reconcile()
    assert own.manager.list_payments("ana")[0].status == "succeeded"


@sqlite_only
@pytest.mark.parametrize(("minutes", "again"), [(10, True), (31, False)])
def test_what_people_approved_is_sent_again_while_their_approval_lasts(
    make_bench: MakeBench, scripted: ScriptedProvider, minutes: int, again: bool
) -> None:
    allowed = {**ALLOWED, **asking("10.00 USD")}
    bench = make_bench(policy=policy({"bot": allowed}, approvers=PEOPLE), providers=(scripted,))
    bench.enrol("alice")
    scripted.answers = [LOST, Succeeded("ok")]
    bench.approve(charged(bench).approval_id)
    payment = charged(bench)
    assert payment.status == "unknown"
    bench.later(minutes=minutes)
    bench.manager.reconcile()
    assert len(scripted.sent) == 1 + again
    assert bench.manager.get_payment(payment.id).status == ("succeeded" if again else "unknown")


def test_a_refund_is_sent_again(own: Bench, scripted: ScriptedProvider) -> None:
    payment = charged(own)
    scripted.answers = [LOST, Succeeded("back")]
    refund = own.bot.refund(payment.id, "20.00", reason="r", idempotency_key="r")
    assert refund.status == "unknown"
    own.later(minutes=6)
    own.manager.reconcile()
    (found,) = own.manager.refunds_of(payment.id)
    assert isinstance(found, Refund) and found.status == "succeeded"
    assert str(own.manager.get_payment(payment.id).refunded) == "20.00"
    assert scripted.sent[1] == scripted.sent[2] and scripted.keys[1] == scripted.keys[2]


@sqlite_only
def test_a_subscription_is_sent_again_and_a_renewal_only_while_it_is_wanted(
    own: Bench, scripted: ScriptedProvider
) -> None:
    own.manager.create_plan(
        PaymentPlan(id="pro", name="Pro", payment_type="subscription", price="10.00", billing_period="monthly")
    )
    scripted.answers = [LOST, Succeeded("first"), LOST]
    own.manager.subscribe("ana", "pro", idempotency_key="s", provider="scripted")
    own.later(minutes=6)
    own.manager.reconcile()
    assert own.manager.is_subscribed("ana")
    own.later(days=28)
    renewed = own.manager.renew_subscription("ana", idempotency_key="r", provider="scripted")
    assert renewed.period_end is not None and len(scripted.sent) == 3
    own.manager.cancel_subscription("ana")
    own.later(minutes=6)
    own.manager.reconcile()
    assert len(scripted.sent) == 3  # nobody wants that period any more


def begun(outcome: Outcome) -> Callable[[Steps], Outcome]:
    """A first request that makes an order, and a second one, by which a resume goes on too, that ends so."""

    def answer(steps: Steps) -> Outcome:
        steps.record("capture", {"op": "capture", "order": "order-1"}, reference="order-1")
        return outcome

    return answer


@sqlite_only
def test_a_later_step_is_sent_again_by_itself(own: Bench, scripted: ScriptedProvider) -> None:
    payment = lost_later(own, scripted, begun(LOST), Succeeded("order-1"))
    own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == "succeeded"
    assert scripted.sent[1] == {"op": "capture", "order": "order-1"}
    assert scripted.keys[1] == own.attempts(payment.id)[1].provider_key


def test_a_first_step_that_is_sent_again_goes_on_with_the_next(own: Bench, scripted: ScriptedProvider) -> None:
    payment = lost_later(own, scripted, LOST, begun(Succeeded("order-1")))
    own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == "succeeded"
    assert [attempt.outcome for attempt in own.attempts(payment.id)] == ["pending", "succeeded"]


def lost_later(bench: Bench, scripted: ScriptedProvider, *answers: Answer) -> Payment:
    scripted.answers = list(answers)
    payment = charged(bench)
    bench.later(minutes=6)
    return payment


def test_two_reconciles_at_once_send_it_once(own: Bench, scripted: ScriptedProvider) -> None:
    payment = lost(own, scripted, LOST, LOST)
    reports = values(run_threads(2, lambda _: own.manager.reconcile()))
    assert len(scripted.sent) == 2
    assert sum(report.looked_up for report in reports) == 2
    assert own.manager.get_payment(payment.id).status == "unknown"


@sqlite_only
def test_a_clock_set_back_before_the_request_proves_no_life(own: Bench, scripted: ScriptedProvider) -> None:
    payment = lost(own, scripted)
    own.later(hours=-1)
    own.manager.accept_clock()
    own.manager.reconcile()
    assert len(scripted.sent) == 1 and own.manager.get_payment(payment.id).status == "unknown"
