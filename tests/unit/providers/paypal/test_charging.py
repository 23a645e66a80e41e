"""Charges in two steps and in one, refunds and payouts: what PayPal's answers come to."""

from __future__ import annotations

from typing import Any

import pytest

from agentpay.providers.base import Found, NoAnswer, NotFound
from agentpay.providers.outcomes import Declined, NotSent, Pending, RequiresAction, Succeeded, Unknown
from agentpay.providers.paypal import PayPalProvider
from agentpay.providers.paypal_ids import request_id
from agentpay.testing.paypal_fake import PayPalFake
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee
from unit.providers.paypal.calls import TEN, URLS, Caller, charged, ordered

# -- two steps -----------------------------------------------------------------------------------------------------


def test_an_order_that_is_approved_is_not_paid_until_it_is_captured(fake: PayPalFake, provider: PayPalProvider) -> None:
    before, call = fake.effects(), Caller(provider).charge()
    assert isinstance(call.outcome, RequiresAction)
    assert call.outcome.url == f"https://www.sandbox.paypal.com/checkoutnow?token={fake.newest_order()}"
    fake.approve(fake.newest_order())
    assert call.found(call.reference) == Found(Pending(call.reference)), "it is for us to go on now"
    assert fake.effects() == before

    captured = Caller(provider).resume(call.reference)
    assert isinstance(captured.outcome, Succeeded) and captured.reference.startswith("capture:")
    assert fake.effects() == before + 1
    assert captured.found() == Found(captured.outcome) == captured.found(captured.reference)


def test_an_order_that_is_not_approved_still_waits_and_nothing_is_sent_for_it(
    fake: PayPalFake, provider: PayPalProvider
) -> None:
    call = Caller(provider).charge()
    assert Caller(provider).resume(call.reference).outcome == call.outcome
    assert fake.received[-1].step == "order"


def test_a_second_capture_answers_the_first(fake: PayPalFake, provider: PayPalProvider) -> None:
    order = ordered(provider)
    fake.approve(order)
    first = Caller(provider).resume(f"order:{order}").outcome
    moved = fake.effects()
    assert Caller(provider).resume(f"order:{order}").outcome == first
    assert fake.effects() == moved


def test_a_capture_that_lost_a_race_answers_what_won_it(fake: PayPalFake, provider: PayPalProvider) -> None:
    """Between our look at the order and our capture somebody else captured it."""
    order = ordered(provider)
    fake.approve(order)
    fake.script = lambda point, step, _: (
        _captured_meanwhile(fake, order) if (point, step) == ("before_move", "capture") else None
    )
    outcome = Caller(provider).resume(f"order:{order}").outcome
    fake.script = None
    assert isinstance(outcome, Succeeded)
    assert [one.reference for one in fake.movements()].count(outcome.reference.partition(":")[2]) == 1


def test_an_order_that_is_completed_or_voided_is_looked_at_before_it_is_called_unpaid(
    fake: PayPalFake, provider: PayPalProvider
) -> None:
    """PayPal has one word for both: by it alone a payment that somebody captured meanwhile would count as declined."""
    order = ordered(provider)
    fake.approve(order)
    fake.fault("capture", "refused", issue="ORDER_COMPLETED_OR_VOIDED")
    fake.script = lambda point, step, _: (
        _captured_meanwhile(fake, order) if (point, step) == ("before_answer", "order") else None
    )
    outcome = Caller(provider).resume(f"order:{order}").outcome
    fake.script = None
    assert isinstance(outcome, Succeeded)
    assert [one.reference for one in fake.movements()].count(outcome.reference.partition(":")[2]) == 1


def _captured_meanwhile(fake: PayPalFake, order: str) -> None:
    if fake.books.orders[order]["status"] == "APPROVED":
        fake.books.capture_order(order)


@pytest.mark.parametrize(
    ("happens", "code"),
    [
        ("expire", "order_expired"),
        ("void", "order_voided"),
        ("declines", "instrument_declined"),
        ("blocked", "payer_restricted"),
    ],
)
def test_an_order_that_cannot_be_paid_any_more_is_declined(
    fake: PayPalFake, provider: PayPalProvider, happens: str, code: str
) -> None:
    order, before = ordered(provider), fake.effects()
    fake.approve(order)
    if happens == "expire":
        fake.expire(order)
    elif happens == "void":
        fake.void(order)
    else:
        fake.refuse(order, {"declines": "INSTRUMENT_DECLINED", "blocked": "PAYER_ACCOUNT_RESTRICTED"}[happens])
    outcome = Caller(provider).resume(f"order:{order}").outcome
    assert isinstance(outcome, Declined) and outcome.code == code
    assert fake.effects() == before


def test_a_look_up_finds_that_an_approval_expired(fake: PayPalFake, provider: PayPalProvider) -> None:
    call = Caller(provider).charge()
    fake.expire(fake.newest_order())
    found = call.found(call.reference)
    assert isinstance(found, Found) and isinstance(found.outcome, Declined) and found.outcome.code == "order_expired"


def test_an_order_whose_answer_was_lost_can_never_be_paid(fake: PayPalFake, provider: PayPalProvider) -> None:
    fake.fault("create", "drop_after")
    call = Caller(provider).charge()
    assert isinstance(call.outcome, Unknown)
    found = call.found()
    assert isinstance(found, Found) and isinstance(found.outcome, NotSent)


@pytest.mark.parametrize("change", ["custom_id", "amount", "currency", "units", "foreign"])
def test_an_order_that_is_not_what_was_ordered_is_never_captured(
    fake: PayPalFake, provider: PayPalProvider, change: str
) -> None:
    """Another customer's order has another mark; one that somebody changed at PayPal has another amount."""
    order, before = ordered(provider), fake.effects()
    fake.approve(order)
    (unit,) = fake.books.orders[order]["purchase_units"]
    match change:
        case "custom_id":
            del unit["custom_id"]
        case "foreign":
            unit["custom_id"] = "INVOICE-4711"
        case "amount":
            unit["amount"] = {"currency_code": "USD", "value": "1.00"}
        case "currency":
            unit["amount"] = {"currency_code": "MXN", "value": "10.00"}
        case "units":
            fake.books.orders[order]["purchase_units"] = [unit, unit]
    outcome = Caller(provider).resume(f"order:{order}").outcome
    assert isinstance(outcome, Declined) and outcome.code == "order_mismatch"
    assert fake.effects() == before and fake.received[-1].step == "order"


@pytest.mark.parametrize("amount", [("USD", "9.00"), ("EUR", "10.00")])
def test_a_capture_of_another_amount_or_currency_is_no_success(
    fake: PayPalFake, provider: PayPalProvider, amount: tuple[str, str]
) -> None:
    fake.books.captured_amount = {"currency_code": amount[0], "value": amount[1]}
    one_step = Caller(provider).charge(fake.save_method()).outcome
    order = ordered(provider)
    fake.approve(order)
    two_steps = Caller(provider).resume(f"order:{order}")
    for outcome in (one_step, two_steps.outcome):
        assert isinstance(outcome, Unknown) and "10.00 USD was ordered" in outcome.evidence
    assert isinstance(two_steps.found(), NoAnswer)


@pytest.mark.parametrize("end", ["COMPLETED", "DECLINED"])
def test_a_capture_that_is_pending_is_followed_to_its_end(fake: PayPalFake, provider: PayPalProvider, end: str) -> None:
    fake.books.captures_as = "PENDING"
    call = Caller(provider).charge(fake.save_method())
    assert isinstance(call.outcome, Pending) and provider.prepare_resume(call.reference) is None
    assert call.found(call.reference) == Found(call.outcome) == call.found()
    fake.books.end_capture(call.reference.partition(":")[2], end)
    found = call.found(call.reference)
    assert isinstance(found, Found)
    assert isinstance(found.outcome, Succeeded if end == "COMPLETED" else Declined)


def test_a_capture_that_was_refunded_since_was_paid(fake: PayPalFake, provider: PayPalProvider) -> None:
    call = Caller(provider).charge(fake.save_method())
    for half in (1, 2):
        assert isinstance(Caller(provider).refund(call.reference, Money("5.00", "USD")).outcome, Succeeded), half
        assert call.found(call.reference) == call.found() == Found(call.outcome)


# -- what is asked for ---------------------------------------------------------------------------------------------


def test_a_payer_with_a_saved_method_is_charged_by_one_request(fake: PayPalFake, provider: PayPalProvider) -> None:
    known = len(fake.received)
    assert isinstance(Caller(provider).charge(fake.save_method()).outcome, Succeeded)
    assert [one.step for one in fake.received[known:] if one.step != "token"] == ["charge"]


def test_a_checkout_never_charges_a_saved_method(fake: PayPalFake, provider: PayPalProvider) -> None:
    call = Caller(provider).charge(fake.save_method(), urls=URLS)
    assert isinstance(call.outcome, RequiresAction)
    context = fake.received[-1].body["payment_source"]["paypal"]["experience_context"]
    assert (context["return_url"], context["cancel_url"]) == (URLS.success, URLS.cancel)


@pytest.mark.parametrize(
    ("saved", "method", "step", "wallet"),
    [
        ("paypal", None, "charge", "paypal"),
        ("venmo", None, "charge", "venmo"),
        ("venmo", "venmo", "charge", "venmo"),
        ("paypal", "venmo", "create", "venmo"),
        ("venmo", "paypal", "create", "paypal"),
        (None, None, "create", "paypal"),
        (None, "venmo", "create", "venmo"),
    ],
)
def test_the_wallet_is_the_one_that_was_asked_for(
    fake: PayPalFake, provider: PayPalProvider, saved: str | None, method: str | None, step: str, wallet: str
) -> None:
    customer = fake.save_method(saved) if saved else "cus_0123456789abcdef01234567"
    Caller(provider).charge(customer, method=method)
    assert (fake.received[-1].step, list(fake.received[-1].body["payment_source"])) == (step, [wallet])


def test_the_payee_of_a_charge_is_the_merchant_that_was_named(fake: PayPalFake, provider: PayPalProvider) -> None:
    Caller(provider).charge(payee=Payee.parse("paypal:ABCDEFGHJKLMN"))
    assert fake.received[-1].body["purchase_units"][0]["payee"] == {"merchant_id": "ABCDEFGHJKLMN"}


def test_every_post_has_a_request_id_from_its_own_attempt(fake: PayPalFake, provider: PayPalProvider) -> None:
    known = len(fake.received)
    calls = [Caller(provider).charge(fake.save_method()), Caller(provider).charge(), Caller(provider).send()]
    fake.approve(fake.newest_order())
    calls.append(Caller(provider).resume(calls[1].reference))
    calls.append(Caller(provider).refund(calls[0].reference))
    posts = [one for one in fake.received[known:] if one.method == "POST" and one.step != "token"]
    assert [one.request_id for one in posts] == [request_id(call.key) for call in calls]
    assert len({one.request_id for one in posts}) == len(posts)
    assert all(len(one.request_id or "") == 38 for one in posts)


def test_what_paypal_says_of_a_second_payment_of_one_invoice_is_no_decline(
    fake: PayPalFake, provider: PayPalProvider
) -> None:
    """It means that the payment was paid under an earlier attempt, which somebody took for lost."""
    fake.refuse(fake.save_method().partition(":")[2], "unused")
    fake.fault("charge", "refused", issue="DUPLICATE_INVOICE_ID")
    assert isinstance(Caller(provider).charge(fake.save_method()).outcome, Unknown)


# -- refunds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED"])
def test_a_refund_that_is_pending_is_followed_to_its_end(fake: PayPalFake, provider: PayPalProvider, end: str) -> None:
    charge = charged(provider, fake.save_method())
    fake.books.refunds_as = "PENDING"
    call = Caller(provider).refund(charge)
    assert isinstance(call.outcome, Pending)
    assert call.found() == Found(call.outcome) == call.found(call.reference)
    fake.books.end_refund(call.reference.partition(":")[2], end)
    found = call.found(call.reference)
    assert isinstance(found, Found)
    assert isinstance(found.outcome, Succeeded if end == "COMPLETED" else Declined)


@pytest.mark.parametrize(
    ("issue", "code"),
    [("REFUND_TIME_LIMIT_EXCEEDED", "refund_too_late"), ("TRANSACTION_DISPUTED", "disputed")],
)
def test_a_refund_that_paypal_refuses_is_declined(
    fake: PayPalFake, provider: PayPalProvider, issue: str, code: str
) -> None:
    charge = charged(provider, fake.save_method())
    fake.refuse(charge.partition(":")[2], issue)
    outcome = Caller(provider).refund(charge).outcome
    assert isinstance(outcome, Declined) and outcome.code == code


@pytest.mark.parametrize("charge", ["capture:3CUNKNOWN", "order:5O1", "mch_of-another-provider", ""])
def test_a_refund_of_what_paypal_does_not_know_is_declined(provider: PayPalProvider, charge: str) -> None:
    outcome = Caller(provider).refund(charge).outcome
    assert isinstance(outcome, Declined | Unknown)
    assert not charge or (isinstance(outcome, Declined) and outcome.code == "charge_unknown")


def test_a_refund_that_nobody_lists_is_not_found(fake: PayPalFake, provider: PayPalProvider) -> None:
    charge = charged(provider, fake.save_method())
    fake.fault("refund", "drop_before")
    call = Caller(provider).refund(charge)
    assert isinstance(call.outcome, Unknown) and call.found() == NotFound()
    assert not provider.capabilities().consistent_lookup, "and that proves nothing"


# -- payouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "issue", "expected"),
    [
        ("SUCCESS", None, Succeeded),
        ("UNCLAIMED", None, Pending),
        ("ONHOLD", None, Pending),
        ("FAILED", "RECEIVER_UNREGISTERED", Declined),
        ("RETURNED", None, Declined),
        ("BLOCKED", None, Declined),
        ("ALL_NEW", None, NoAnswer),
    ],
)
def test_a_payout_is_followed_to_the_end_of_its_item(
    fake: PayPalFake, provider: PayPalProvider, status: str, issue: str | None, expected: type
) -> None:
    call = Caller(provider).send()
    assert isinstance(call.outcome, Pending) and provider.prepare_resume(call.reference) is None
    batch = fake.received[-1].body
    assert batch["sender_batch_header"] == {"sender_batch_id": call.key}
    assert call.found(call.reference) == Found(call.outcome)
    fake.books.end_payout(call.reference.partition(":")[2], status, issue)
    found = call.found(call.reference)
    assert isinstance(found.outcome if isinstance(found, Found) else found, expected)
    if issue:
        assert isinstance(found, Found) and isinstance(found.outcome, Declined)
        assert found.outcome.code == "receiver_refused"


def test_the_same_payout_again_is_answered_by_the_first(fake: PayPalFake, provider: PayPalProvider) -> None:
    """PayPal remembers a batch for longer than a request id, and names the first in its refusal."""
    caller = Caller(provider)
    first = caller.send()
    fake._answers.clear()
    assert caller.send().outcome == first.outcome
    assert len([one for one in fake.books.payouts.values() if one["items"][0]["sender_batch_id"] == first.key]) == 1


def test_a_payout_whose_answer_was_lost_is_found_by_nothing_but_its_events(
    fake: PayPalFake, provider: PayPalProvider
) -> None:
    fake.fault("payout", "drop_after")
    call = Caller(provider).send()
    assert isinstance(call.outcome, Unknown) and call.found() == NotFound()
    news = [one for event in provider.poll(fake.clock.now()) for one in event.news]
    assert any(getattr(one, "key", None) == call.key for one in news)


def test_a_charge_that_paypal_does_not_list_yet_is_not_found(fake: PayPalFake, provider: PayPalProvider) -> None:
    from datetime import timedelta

    fake.fault("charge", "drop_after")
    fake.books.listing_lag = timedelta(hours=3)
    call = Caller(provider).charge(fake.save_method())
    assert call.found() == NotFound()
    fake.books.listing_lag = timedelta(0)
    found: Any = call.found()
    assert isinstance(found, Found) and isinstance(found.outcome, Succeeded)
    assert fake.effects() == len({one.reference for one in fake.movements()})
    assert fake.movements()[-1].money == TEN
