"""What PayPal's events tell: each as the fake writes it down when the thing happens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpay.errors import WebhookInvalid
from agentpay.providers.events import AttemptNews, DisputeNews, MethodNews, News, RefundNews, ReversalNews
from agentpay.providers.outcomes import Declined, Pending, Succeeded
from agentpay.providers.paypal import PayPalProvider
from agentpay.providers.paypal_events import EVENTS, webhook_event
from agentpay.testing.paypal_fake import PayPalFake
from agentpay_policies.money import Money
from unit.providers.paypal.calls import TEN, Caller, charged, ordered


def news(fake: PayPalFake, kind: str) -> News:
    """What the newest event of a kind tells."""
    (found,) = webhook_event(fake.event(kind), "account").news
    return found


def test_an_order_that_was_approved_is_for_us_to_go_on_with(fake: PayPalFake, provider: PayPalProvider) -> None:
    call = Caller(provider).charge()
    fake.approve(fake.newest_order())
    told = news(fake, "CHECKOUT.ORDER.APPROVED")
    assert told == AttemptNews("charge", Pending(call.reference), key=call.key, reference=call.reference)


def test_a_capture_in_two_steps_is_found_by_its_order(fake: PayPalFake, provider: PayPalProvider) -> None:
    """The mark names the attempt that made the order; the money was moved by the one that captured it."""
    order = ordered(provider)
    fake.approve(order)
    done = Caller(provider).resume(f"order:{order}")
    expected = AttemptNews("charge", done.outcome, reference=done.reference, parent=f"order:{order}")
    assert news(fake, "PAYMENT.CAPTURE.COMPLETED") == expected
    fake.books.tell("CHECKOUT.ORDER.COMPLETED", fake.books.orders[order])
    assert news(fake, "CHECKOUT.ORDER.COMPLETED") == expected


def test_a_capture_in_one_step_is_found_by_its_key(fake: PayPalFake, provider: PayPalProvider) -> None:
    done = Caller(provider).charge(fake.save_method())
    told = news(fake, "PAYMENT.CAPTURE.COMPLETED")
    assert isinstance(told, AttemptNews)
    assert (told.key, told.outcome, told.reference) == (done.key, done.outcome, done.reference)


@pytest.mark.parametrize(("end", "expected"), [("COMPLETED", Succeeded), ("DECLINED", Declined)])
def test_a_capture_that_was_pending_ends(fake: PayPalFake, provider: PayPalProvider, end: str, expected: type) -> None:
    fake.books.captures_as = "PENDING"
    done = Caller(provider).charge(fake.save_method())
    first = news(fake, "PAYMENT.CAPTURE.PENDING")
    assert isinstance(first, AttemptNews) and first.outcome == done.outcome
    fake.books.end_capture(done.reference.partition(":")[2], end)
    told = news(fake, f"PAYMENT.CAPTURE.{end}")
    assert isinstance(told, AttemptNews) and isinstance(told.outcome, expected) and told.key == done.key


def test_a_capture_of_another_amount_than_its_mark_tells_nothing(fake: PayPalFake, provider: PayPalProvider) -> None:
    fake.books.captured_amount = {"currency_code": "USD", "value": "9.00"}
    Caller(provider).charge(fake.save_method())
    assert webhook_event(fake.event("PAYMENT.CAPTURE.COMPLETED"), "account").news == ()


def test_a_refund_of_ours_is_found_by_its_key(fake: PayPalFake, provider: PayPalProvider) -> None:
    charge = charged(provider, fake.save_method())
    done = Caller(provider).refund(charge, Money("4.00", "USD"))
    told = news(fake, "PAYMENT.CAPTURE.REFUNDED")
    assert told == RefundNews(charge, done.reference, Money("4.00", "USD"), "succeeded", key=done.key)


def test_a_refund_that_a_person_made_at_paypal_has_no_key(fake: PayPalFake, provider: PayPalProvider) -> None:
    charge = charged(provider, fake.save_method())
    capture = charge.partition(":")[2]
    for inherited in ({}, {"custom_id": fake.books.captures[capture]["custom_id"]}):
        body = {"amount": {"currency_code": "USD", "value": "3.00"}, **inherited}
        made = fake.books.refund(capture, body)
        told = news(fake, "PAYMENT.CAPTURE.REFUNDED")
        assert told == RefundNews(charge, f"refund:{made['id']}", Money("3.00", "USD"), "succeeded")


@pytest.mark.parametrize(("end", "status"), [("COMPLETED", "succeeded"), ("FAILED", "failed")])
def test_a_refund_that_was_pending_ends(fake: PayPalFake, provider: PayPalProvider, end: str, status: str) -> None:
    charge = charged(provider, fake.save_method())
    fake.books.refunds_as = "PENDING"
    done = Caller(provider).refund(charge)
    first = news(fake, "PAYMENT.REFUND.PENDING")
    assert isinstance(first, RefundNews) and (first.status, first.key) == ("pending", done.key)
    fake.books.end_refund(done.reference.partition(":")[2], end)
    told = news(fake, "PAYMENT.CAPTURE.REFUNDED" if end == "COMPLETED" else "PAYMENT.REFUND.FAILED")
    assert isinstance(told, RefundNews) and (told.status, told.reference) == (status, done.reference)


def test_a_reversal_and_a_dispute_are_told_with_their_charge(fake: PayPalFake, provider: PayPalProvider) -> None:
    charge = charged(provider, fake.save_method())
    capture = charge.partition(":")[2]
    fake.reverse(capture)
    told = news(fake, "PAYMENT.CAPTURE.REVERSED")
    assert isinstance(told, ReversalNews) and (told.charge, told.money, told.status) == (charge, TEN, "reversed")
    fake.dispute(capture)
    opened = news(fake, "CUSTOMER.DISPUTE.CREATED")
    assert isinstance(opened, DisputeNews)
    assert (opened.charge, opened.money, opened.status, opened.reason) == (charge, TEN, "open", "unauthorised")
    outcomes = {"RESOLVED_SELLER_FAVOUR": "won", "RESOLVED_BUYER_FAVOUR": "lost", "SOMETHING_NEW": "open"}
    for outcome, status in outcomes.items():
        fake.dispute(capture, outcome=outcome)
        ended = news(fake, "CUSTOMER.DISPUTE.RESOLVED")
        assert isinstance(ended, DisputeNews) and (ended.status, ended.reference) == (status, opened.reference)


@pytest.mark.parametrize(
    ("refunded", "gone"),
    [
        ({"currency_code": "USD", "value": "4.00"}, "4.00"),
        ({"currency_code": "USD", "value": "10.00"}, "10.00"),
        ({"currency_code": "USD", "value": "11.00"}, "10.00"),
        ({"currency_code": "EUR", "value": "4.00"}, "10.00"),
        ({"currency_code": "USD", "value": "0.00"}, "10.00"),
        ("4.00", "10.00"),
    ],
)
def test_of_a_lost_dispute_what_was_refunded_is_gone(
    fake: PayPalFake, provider: PayPalProvider, refunded: object, gone: str
) -> None:
    """PayPal may decide that the buyer gets a part. What makes no sense counts as all of it."""
    fake.dispute(charged(provider, fake.save_method()).partition(":")[2], outcome="RESOLVED_BUYER_FAVOUR")
    event = fake.event("CUSTOMER.DISPUTE.RESOLVED")
    event["resource"]["dispute_outcome"]["amount_refunded"] = refunded
    (told,) = webhook_event(event, "account").news
    assert isinstance(told, DisputeNews) and (told.status, told.money) == ("lost", Money(gone, "USD"))


def test_an_approval_that_expired_is_declined(fake: PayPalFake, provider: PayPalProvider) -> None:
    order = ordered(provider)
    fake.approve(order)
    fake.expire(order)
    told = news(fake, "CHECKOUT.PAYMENT-APPROVAL.REVERSED")
    assert isinstance(told, AttemptNews) and isinstance(told.outcome, Declined)
    assert (told.reference, told.outcome.code) == (f"order:{order}", "approval_expired")


def test_a_payout_is_told_from_its_batch_to_its_item(fake: PayPalFake, provider: PayPalProvider) -> None:
    sent = Caller(provider).send()
    expected = AttemptNews("charge", Pending(sent.reference), key=sent.key, reference=sent.reference)
    assert news(fake, "PAYMENT.PAYOUTSBATCH.PROCESSING") == expected
    for status, outcome in (
        ("UNCLAIMED", Pending),
        ("FAILED", Declined),
        ("RETURNED", Declined),
        ("REFUNDED", Declined),
    ):
        fake.books.end_payout(sent.reference.partition(":")[2], status)
        told, *back = webhook_event(fake.event(f"PAYMENT.PAYOUTS-ITEM.{status}"), "account").news
        assert isinstance(told, AttemptNews) and isinstance(told.outcome, outcome) and told.key == sent.key
        came_back = [ReversalNews(sent.reference, sent.reference, TEN, "reversed", status.lower())]
        assert back == (came_back if status in ("RETURNED", "REFUNDED") else [])


def test_a_method_that_was_saved_is_what_link_customer_takes(fake: PayPalFake, provider: PayPalProvider) -> None:
    for wallet in ("paypal", "venmo"):
        saved = fake.save_method(wallet)
        assert news(fake, "VAULT.PAYMENT-TOKEN.CREATED") == MethodNews(saved, "saved")
        provider.link("cus_1", saved)
        fake.books.tell("VAULT.PAYMENT-TOKEN.DELETED", fake.books.saved[saved.partition(":")[2]])
        assert news(fake, "VAULT.PAYMENT-TOKEN.DELETED") == MethodNews(saved, "removed")


def test_what_is_not_ours_tells_nothing(fake: PayPalFake) -> None:
    """Another program sells through the same account."""
    amount = {"currency_code": "USD", "value": "10.00"}
    for custom_id in (None, "INVOICE-4711", "agentpay_x.1.10.00", "agentpay_x.1.10.00.XXX", "a b.1.10.00.USD"):
        resource = {"id": "3C1", "status": "COMPLETED", "amount": amount, "custom_id": custom_id}
        event = fake.books.tell("PAYMENT.CAPTURE.COMPLETED", resource)
        assert webhook_event(event, "account").news == ()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.sampled_from(["USD", "10.00", "COMPLETED"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted({
        "id", "status", "amount", "custom_id", "purchase_units", "payments", "captures", "links", "href", "rel",
        "supplementary_data", "related_ids", "order_id", "capture_id", "payment_source", "paypal", "customer",
        "disputed_transactions", "seller_transaction_id", "dispute_id", "dispute_amount", "batch_header", "errors",
        "sender_batch_header", "sender_batch_id", "payout_batch_id", "payout_item", "transaction_status", "value",
        "currency_code", "currency", "reason", "dispute_outcome", "outcome_code", "status_details",
    })), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60)
@given(kind=st.sampled_from(EVENTS), resource=ANYTHING)
def test_whatever_an_event_holds_it_tells_something_or_nothing(kind: str, resource: Any) -> None:
    told = {"id": "WH-1", "event_type": kind, "create_time": "2026-01-31T10:00:00Z", "resource": resource}
    for one in webhook_event(told, "account").news:
        assert not isinstance(getattr(one, "outcome", None), Succeeded) or getattr(one, "key", None) is not None


@pytest.mark.parametrize("told", [None, [], {}, {"id": "WH-1"}, {"id": "WH-1", "event_type": "A.B"}])
def test_what_is_no_event_is_refused(told: object) -> None:
    with pytest.raises(WebhookInvalid):
        webhook_event(told, "account")
