"""What a webhook does to a payment, whenever it comes: before our own answer, after it, twice, or much too late."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.customers import service as customers
from agentpay.customers.tables import CustomerSetupRow
from agentpay.errors import NotFound, ProviderError, RefundRefused
from agentpay.payments.models import Payment
from agentpay.payments.queries import PAYMENTS
from agentpay.providers.events import AttemptNews, DisputeNews, MethodNews, WebhookEvent
from agentpay.providers.mock_webhooks import SignedEvent
from agentpay.providers.outcomes import Declined, Succeeded
from agentpay.storage.tables import OutboxRow
from agentpay.storage.types import table
from agentpay.webhooks.models import Change
from agentpay.webhooks.queries import EVENTS
from agentpay_policies.money import Money
from integration.webhooks.conftest import Deliver, told
from support.bench import Bench, capped, policy
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider

KEYS = iter(range(10_000))


def paid(bench: Bench, customer: str, amount: str = "20.00") -> Payment:
    return bench.manager.charge(customer, amount, "USD", idempotency_key=f"key-{next(KEYS)}")


def reference(bench: Bench, subject_id: str) -> str:
    """What the mock calls it."""
    found = bench.attempts(subject_id)[-1].reference
    assert found is not None
    return str(found)


def dollars(amount: str) -> Money:
    return Money(amount, "USD")


def status(bench: Bench, payment: Payment) -> str:
    return bench.manager.get_payment(payment.id).status


# -- charges -----------------------------------------------------------------------------------------------------------


def test_a_pending_charge_succeeds_by_its_event_once(shared: Bench, ana: str, deliver: Deliver) -> None:
    payment = paid(shared, ana, "13.10")
    ref = reference(shared, payment.id)
    shared.mock.complete(ref, "succeeded")
    event = told(shared, ref)
    receipt = deliver(shared, event)
    assert (receipt.status, receipt.waiting, receipt.kind) == ("stored", False, "charge")
    assert receipt.changed == (Change(payment.id, "payment.succeeded"),)
    assert status(shared, payment) == "succeeded"
    again = deliver(shared, event)
    assert (again.status, again.changed, again.id) == ("repeated", (), receipt.id)
    assert shared.actions(payment.id).count("payment.succeeded") == 1
    (stored,) = [one for one in shared.manager.webhook_events() if one.id == receipt.id]
    assert (stored.status, stored.changed) == ("applied", receipt.changed)


def test_an_event_without_our_key_is_found_by_the_providers_id(shared: Bench, ana: str, deliver: Deliver) -> None:
    payment = paid(shared, ana, "13.10")
    ref = reference(shared, payment.id)
    shared.mock.complete(ref, "declined")
    receipt = deliver(shared, shared.mock.webhook(ref, key=False))
    assert receipt.changed == (Change(payment.id, "payment.declined"),)


def test_a_lost_answer_is_told_by_the_event(shared: Bench, ana: str, deliver: Deliver) -> None:
    payment = paid(shared, ana, "13.22")
    assert payment.status == "unknown"
    (charge,) = [one for one in shared.mock.charges() if one.payment_id == payment.id]
    deliver(shared, told(shared, charge.id))
    assert status(shared, payment) == "succeeded"


def test_an_old_event_takes_nothing_back(shared: Bench, ana: str, deliver: Deliver) -> None:
    payment = paid(shared, ana, "13.11")
    ref = reference(shared, payment.id)
    before = told(shared, ref)
    shared.mock.customer_acts(ref)
    shared.manager.continue_payment(payment.id)
    assert status(shared, payment) == "succeeded"
    receipt = deliver(shared, before)
    assert (receipt.status, receipt.changed, receipt.waiting) == ("stored", (), False)
    assert status(shared, payment) == "succeeded"


def test_an_old_decline_is_looked_up_before_it_is_believed(shared: Bench, ana: str, deliver: Deliver) -> None:
    """The event says declined, the provider says that it is pending still: its word now counts."""
    payment = paid(shared, ana, "13.10")
    event = told(shared, reference(shared, payment.id))
    lie = {"object": {**_object(event), "status": "declined", "code": "no"}}
    receipt = deliver(shared, event, **lie)
    assert (receipt.changed, receipt.waiting) == ((), False)
    assert status(shared, payment) == "pending"


def test_a_success_after_a_decline_is_late_and_flagged(shared: Bench, ana: str, deliver: Deliver) -> None:
    payment = paid(shared, ana, "13.10")
    (attempt,) = shared.attempts(payment.id)
    engine = shared.engine
    engine.store.write(lambda tx: engine.payments.settling.settle(tx, attempt.id, Declined("no", "No.")))
    shared.mock.complete(attempt.reference, "succeeded")
    receipt = deliver(shared, told(shared, attempt.reference))
    assert receipt.changed == (Change(payment.id, "payment.succeeded"),)
    found = shared.manager.get_payment(payment.id)
    assert (found.status, found.late) == ("succeeded", True)
    topics = shared.rows(sa.select(table(OutboxRow)).where(table(OutboxRow).c.object_id == payment.id))
    assert topics[-1].topic == "payment.succeeded"


def test_an_event_that_overtakes_our_own_settle(
    make_bench: Callable[..., Bench], deliver: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    """The money moved, and the provider's event is here before the provider's answer is."""
    seen: list[Any] = []

    def overtake(point: str, key: str, _request: object) -> None:
        if point == "before_answer" and not seen:
            (charge,) = bench.mock.charges()
            assert charge.key == key
            seen.append(deliver(bench, bench.mock.webhook(charge.id)))

    bench = make_bench(script=overtake)
    payment = paid(bench, "ana")
    assert (payment.status, payment.late) == ("succeeded", False)
    assert [receipt.changed for receipt in seen] == [(Change(payment.id, "payment.succeeded"),)]
    assert bench.movements() == 1
    assert bench.recorded("payment.moved_twice") == 0


def test_of_a_charge_of_two_steps_the_first_ones_event_is_the_last_ones(
    make_bench: Callable[..., Bench], deliver: Deliver
) -> None:
    """The event has the key of the first request, and comes while the second is under way: one success, not two."""
    seen: list[Any] = []

    def overtake(point: str, _key: str, request: Any) -> None:
        if point == "before_answer":
            (charge,) = bench.mock.charges()
            seen.append((request["op"], deliver(bench, bench.mock.webhook(charge.id))))
            bench.later(milliseconds=10)

    bench = make_bench(script=overtake)
    payment = paid(bench, "ana", "13.30")
    assert payment.status == "succeeded"
    (created, first), (captured, second) = seen
    assert (created, first.waiting, first.changed) == ("create", True, ())
    assert (captured, second.changed) == ("capture", (Change(payment.id, "payment.succeeded"),))
    assert bench.recorded("payment.moved_twice") == 0
    assert [row.outcome for row in bench.attempts(payment.id)] == ["pending", "succeeded"]
    assert [one.status for one in bench.manager.webhook_events()] == ["applied", "applied"], "the first at settle"


# -- refunds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [True, False])
@pytest.mark.parametrize("end", ["succeeded", "declined"])
def test_our_pending_refund_ends_by_its_event(shared: Bench, ana: str, deliver: Deliver, key: bool, end: Any) -> None:
    payment = paid(shared, ana)
    refund = shared.manager.refund(payment.id, "14.10", idempotency_key=f"key-{next(KEYS)}")
    assert refund.status == "pending"
    ref = reference(shared, refund.id)
    shared.mock.elsewhere.end_refund(ref, end)
    receipt = deliver(shared, shared.mock.webhook(ref, key=key))
    assert receipt.changed == (Change(refund.id, f"refund.{end}"),)
    (found,) = shared.manager.refunds_of(payment.id)
    assert (found.status, found.at_provider) == (end, False)
    assert shared.manager.get_payment(payment.id).refunded == dollars("14.10" if end == "succeeded" else "0").amount


def test_a_refund_that_a_person_made_is_counted(shared: Bench, ana: str, deliver: Deliver) -> None:
    payment = paid(shared, ana)
    ref = shared.mock.elsewhere.refund(reference(shared, payment.id), dollars("8.00"))
    receipt = deliver(shared, told(shared, ref))
    (found,) = shared.manager.refunds_of(payment.id)
    assert receipt.changed == (Change(found.id, "refund.succeeded"),)
    assert (found.status, found.at_provider, str(found.amount)) == ("succeeded", True, "8.00")
    assert str(shared.manager.get_payment(payment.id).refunded) == "8.00"
    assert deliver(shared, told(shared, ref)).changed == (), "another event of the same refund"
    with pytest.raises(RefundRefused, match=r"12\.00 USD that are left"):
        shared.manager.refund(payment.id, "12.01", idempotency_key=f"key-{next(KEYS)}")


def test_a_refund_made_there_beyond_what_our_books_allow_is_flagged(shared: Bench, ana: str, deliver: Deliver) -> None:
    """Our refund is pending when a person refunds all of it, and ours succeeds after all."""
    payment = paid(shared, ana)
    charge = reference(shared, payment.id)
    ours = shared.manager.refund(payment.id, "14.10", idempotency_key=f"key-{next(KEYS)}")
    mine = reference(shared, ours.id)
    shared.mock.elsewhere.end_refund(mine, "declined")
    theirs = shared.mock.elsewhere.refund(charge, dollars("20.00"))
    deliver(shared, told(shared, theirs))
    assert _flagged(shared, payment), "as far as we know, 34.10 of 20.00 go back"
    deliver(shared, told(shared, mine))
    assert not _flagged(shared, payment), "ours did not"
    assert str(shared.manager.get_payment(payment.id).refunded) == "20.00"
    alarms = sa.select(table(OutboxRow)).where(table(OutboxRow).c.topic == "alarm.excess")
    assert [row.object_id for row in shared.rows(alarms)].count(payment.id) == 1


@pytest.mark.parametrize("person", [True, False])
@pytest.mark.parametrize("late_first", [True, False])
def test_a_refund_that_failed_in_the_end(
    shared: Bench, ana: str, deliver: Deliver, person: bool, late_first: bool
) -> None:
    """It succeeded, and failed days later: the money is back, in whatever order that is heard."""
    payment = paid(shared, ana)
    if person:
        ref = shared.mock.elsewhere.refund(reference(shared, payment.id), dollars("5.00"))
    else:
        ref = reference(shared, shared.manager.refund(payment.id, "5.00", idempotency_key=f"key-{next(KEYS)}").id)
    events = [told(shared, ref)]
    shared.mock.elsewhere.end_refund(ref, "declined")
    events.append(told(shared, ref))
    for event in reversed(events) if late_first else events:
        deliver(shared, event)
    (found,) = shared.manager.refunds_of(payment.id)
    assert (found.status, found.returned) == ("succeeded", True)
    assert shared.manager.get_payment(payment.id).refunded == 0
    assert shared.actions(found.id).count("refund.returned") == 1


def test_an_unnamed_refund_waits_while_it_may_be_ours(make_bench: Callable[..., Bench], deliver: Deliver) -> None:
    seen: list[Any] = []

    def overtake(point: str, _key: str, request: Any) -> None:
        if point == "before_answer" and request["op"] == "refund":
            (refund,) = bench.mock.refunds()
            seen.append(deliver(bench, bench.mock.webhook(refund.id, key=False)))

    bench = make_bench(script=overtake)
    payment = paid(bench, "ana")
    refund = bench.manager.refund(payment.id, "5.00", idempotency_key="r")
    assert refund.status == "succeeded"
    assert [one.id for one in bench.manager.refunds_of(payment.id)] == [refund.id], "not taken for a stranger's"
    assert [one.status for one in bench.manager.webhook_events()] == ["applied"]


# -- disputes and reversals --------------------------------------------------------------------------------------------


def test_a_dispute_is_opened_and_won(shared: Bench, ana: str, deliver: Deliver) -> None:
    payment = paid(shared, ana)
    ref = shared.mock.elsewhere.dispute(reference(shared, payment.id), dollars("15.00"))
    receipt = deliver(shared, told(shared, ref))
    (dispute,) = shared.manager.disputes(payment.id)
    assert receipt.changed == (Change(dispute.id, "dispute.open"),)
    assert (dispute.kind, dispute.reason, str(dispute.withdrawn)) == ("dispute", "fraudulent", "15.00")
    assert str(shared.manager.get_payment(payment.id).disputed) == "15.00"
    with pytest.raises(RefundRefused, match=r"5\.00 USD that are left to refund; 15\.00 USD are disputed"):
        shared.manager.refund(payment.id, "6.00", idempotency_key=f"key-{next(KEYS)}")
    shared.mock.elsewhere.decide(ref, "won")
    assert deliver(shared, told(shared, ref)).changed == (Change(dispute.id, "dispute.won"),)
    assert shared.manager.get_payment(payment.id).disputed == 0
    assert shared.manager.refund(payment.id, "6.00", idempotency_key=f"key-{next(KEYS)}").status == "succeeded"


def test_a_lost_dispute_of_what_was_refunded_is_flagged(shared: Bench, ana: str, deliver: Deliver) -> None:
    payment = paid(shared, ana)
    shared.manager.refund(payment.id, idempotency_key=f"key-{next(KEYS)}")
    ref = shared.mock.elsewhere.dispute(reference(shared, payment.id), dollars("20.00"))
    shared.mock.elsewhere.decide(ref, "lost")
    deliver(shared, told(shared, ref))
    found = shared.manager.get_payment(payment.id)
    assert (str(found.refunded), str(found.disputed)) == ("20.00", "20.00")
    assert _flagged(shared, payment)
    assert any(payment.id in warning for warning in shared.manager.doctor().warnings)


def test_a_reversal_frees_no_budget_and_may_be_restored(make_bench: Callable[..., Bench], deliver: Deliver) -> None:
    bench = make_bench(policy=policy({"bot": capped("30.00 USD")}))
    payment = bench.bot.charge("ana", "20.00", "USD", description="x", idempotency_key="k")
    ref = bench.mock.elsewhere.reverse(reference(bench, payment.id), dollars("20.00"))
    deliver(bench, told(bench, ref))
    (found,) = bench.manager.disputes(status="reversed")
    assert (found.kind, str(found.withdrawn), found.payment_id) == ("reversal", "20.00", payment.id)
    (left,) = [one for one in bench.bot.get_budget().can_spend_now if one.amount is not None]
    assert str(left.amount) == "10.00 USD"
    bench.mock.elsewhere.decide(ref, "restored")
    deliver(bench, told(bench, ref))
    assert bench.manager.get_payment(payment.id).disputed == 0


def test_a_dispute_that_comes_before_the_success(shared: Bench, ana: str, deliver: Deliver) -> None:
    """The charge is pending as far as we know: it is looked up, and both are written down."""
    payment = paid(shared, ana, "13.10")
    ref = reference(shared, payment.id)
    shared.mock.complete(ref, "succeeded")
    dispute = shared.mock.elsewhere.dispute(ref, dollars("13.10"))
    receipt = deliver(shared, told(shared, dispute))
    assert not receipt.waiting
    assert status(shared, payment) == "succeeded"
    assert str(shared.manager.get_payment(payment.id).disputed) == "13.10"


# -- what must wait ----------------------------------------------------------------------------------------------------


def event_of(number: int, *news: Any, bench: Bench, kind: str = "made") -> WebhookEvent:
    assert bench.clock is not None
    return WebhookEvent(f"polled-{number}", "mock", kind, bench.clock.now(), news)


def test_an_unknown_payment_waits_and_is_given_up(bench: Bench, deliver: Deliver) -> None:
    webhooks = bench.engine.webhooks
    (receipt,) = webhooks.apply_events(
        "mock", [event_of(1, AttemptNews("charge", Succeeded("mch_none"), key="none"), bench=bench)]
    )
    assert (receipt.status, receipt.waiting) == ("stored", True)
    assert webhooks.retry_waiting() == dataclasses.replace(webhooks.retry_waiting(), tried=0), "not at once"
    bench.later(hours=2)
    assert any(receipt.id in warning for warning in bench.manager.doctor().warnings)
    report = webhooks.retry_waiting()
    assert (report.tried, report.still_waiting, report.expired) == (1, 1, 0)
    bench.later(days=4)
    assert webhooks.retry_waiting().expired == 1
    assert [one.status for one in bench.manager.webhook_events("expired")] == ["expired"]
    assert bench.manager.retry_webhook(receipt.id).waiting, "a person may try it again"
    with pytest.raises(NotFound):
        bench.manager.retry_webhook("evt_none")


def test_what_waits_for_a_payment_of_ours_is_never_given_up(bench: Bench) -> None:
    """A dispute in another currency than its payment: nothing can be counted, and a person must look at it."""
    payment = paid(bench, "ana")
    news = DisputeNews(reference(bench, payment.id), "dp", Money("1.00", "EUR"), "open", "odd")
    (receipt,) = bench.engine.webhooks.apply_events("mock", [event_of(1, news, bench=bench)])
    bench.later(days=9)
    assert bench.engine.webhooks.retry_waiting().expired == 0
    assert any(receipt.id in warning for warning in bench.manager.doctor().warnings)


def test_polled_events_are_taken_once(shared: Bench, ana: str) -> None:
    payment = paid(shared, ana, "13.10")
    (attempt,) = shared.attempts(payment.id)
    shared.mock.complete(attempt.reference, "succeeded")
    number = next(KEYS)
    news = AttemptNews("charge", Succeeded(attempt.reference), reference=attempt.reference)
    events = [event_of(number, news, bench=shared), event_of(number, news, bench=shared)]
    receipts = shared.engine.webhooks.apply_events("mock", events)
    assert [receipt.status for receipt in receipts] == ["stored", "repeated"]
    assert status(shared, payment) == "succeeded"


def test_a_polled_event_that_is_malformed_keeps_no_other_from_its_turn(make_bench: MakeBench) -> None:
    class Listing(ScriptedProvider):
        events: tuple[WebhookEvent, ...] = ()

        def poll(self, _now: Any) -> tuple[WebhookEvent, ...]:
            return self.events

    first, second = Listing(name="first"), Listing(name="second")
    bench = make_bench(providers=(first, second))
    assert bench.clock is not None
    good = WebhookEvent("good", "scripted", "x", bench.clock.now())
    first.events = (dataclasses.replace(good, id="two\nlines"), dataclasses.replace(good, account="another"), good)
    second.events = (good,)
    assert bench.manager.poll() == 2
    assert sorted((one.provider, one.event_id) for one in bench.manager.webhook_events()) == [
        ("first", "good"),
        ("second", "good"),
    ]


def test_an_event_that_tells_several_things_applies_each(shared: Bench, ana: str) -> None:
    """One of them is of a payment that nobody knows: the other is applied at once."""
    payment = paid(shared, ana)
    known = DisputeNews(reference(shared, payment.id), f"dp-{ana}", dollars("1.00"), "open", "late")
    unknown = DisputeNews("mch_nobody", f"dp-x-{ana}", dollars("1.00"), "open", "late")
    (receipt,) = shared.engine.webhooks.apply_events("mock", [event_of(next(KEYS), unknown, known, bench=shared)])
    assert receipt.waiting
    assert [change.change for change in receipt.changed] == ["dispute.open"]
    won = dataclasses.replace(known, status="won")
    shared.later(seconds=1)
    shared.engine.webhooks.apply_events("mock", [event_of(next(KEYS), won, bench=shared)])


def test_a_saved_method_is_audited_for_the_customer_who_is_linked(shared: Bench, ana: str) -> None:
    shared.manager.link_customer(ana, "mock", f"mock-{ana}")
    news = MethodNews(f"mock-{ana}", "saved")
    (receipt,) = shared.engine.webhooks.apply_events("mock", [event_of(next(KEYS), news, bench=shared)])
    (change,) = receipt.changed
    assert change.change == "customer.method_saved"
    assert shared.actions(change.object_id)[-1] == "customer.method_saved"


@pytest.mark.parametrize("late_first", [True, False])
def test_the_method_that_was_saved_last_is_charged_in_any_order(make_bench: MakeBench, late_first: bool) -> None:
    """Each page made a name of its own for the customer, as at PayPal: an event of the first one that comes late does
    not bring back the method that was replaced."""
    bench = make_bench()
    setups: list[str] = []
    for key in ("one", "two"):
        urls = {"success_url": "https://shop.example/a", "cancel_url": "https://shop.example/b"}
        bench.manager.setup_payment_method("ana", idempotency_key=key, **urls)
        (setup,) = {row.id for row in bench.rows(sa.select(table(CustomerSetupRow)))} - set(setups)
        setups.append(setup)
    events = []
    for number, setup in enumerate(setups):
        events.append(event_of(number, MethodNews(f"token-{number}", "saved", setup), bench=bench))
        bench.later(minutes=1)
    for event in reversed(events) if late_first else events:
        (receipt,) = bench.engine.webhooks.apply_events("mock", [event])
        assert not receipt.waiting
    (customer,) = bench.manager.list_customers()
    linked = bench.engine.store.read(lambda tx: customers.reference_of(tx, customer.id, "mock"))
    assert linked == "token-1"
    bench.manager.link_customer("ana", "mock", "chosen")
    bench.engine.webhooks.apply_events("mock", [dataclasses.replace(events[1], id="again")])
    assert bench.engine.store.read(lambda tx: customers.reference_of(tx, customer.id, "mock")) == "chosen"


def test_a_provider_that_raises_proves_nothing(make_bench: Callable[..., Bench]) -> None:
    class Broken(ScriptedProvider):
        def parse_webhook(self, *_: Any) -> Any:
            raise ZeroDivisionError

    bench = make_bench(providers=(Broken(name="broken"),))
    with pytest.raises(ProviderError, match="ZeroDivisionError"):
        bench.manager.receive_webhook("broken", b"{}", {})
    assert bench.rows(sa.select(EVENTS)) == []


def _flagged(bench: Bench, payment: Payment) -> bool:
    (row,) = bench.rows(sa.select(PAYMENTS).where(PAYMENTS.c.id == payment.id))
    return bool(row.excess)


def _object(event: SignedEvent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.body)["object"]
    return found
