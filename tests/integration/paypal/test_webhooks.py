"""PayPal's webhooks through the whole engine: signed by the fake, verified offline, applied once in any order."""

from __future__ import annotations

from typing import Any

import pytest

from agentpay.errors import WebhookInvalid
from agentpay.ledger import service as ledger
from agentpay.ledger.postings import PAYOUTS
from agentpay.webhooks.models import WebhookReceipt
from integration.paypal.conftest import Shop


def told(shop: Shop, kind: str, event: dict[str, Any] | None = None) -> WebhookReceipt:
    """The newest event of a kind, delivered."""
    delivery = shop.fake.delivered(event or shop.fake.event(kind))
    return shop.bench.manager.receive_webhook("paypal", delivery.body, delivery.headers)


def changes(receipt: WebhookReceipt) -> list[str]:
    return [one.change for one in receipt.changed]


def test_an_approval_that_is_told_is_captured_at_once_and_only_once(shop: Shop) -> None:
    waiting = shop.charge("ana", "order-1")
    shop.fake.approve(shop.fake.newest_order())
    first = told(shop, "CHECKOUT.ORDER.APPROVED")
    assert changes(first) == ["payment.pending", "payment.succeeded"]
    for kind in ("CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.COMPLETED"):
        assert changes(told(shop, kind)) == []
    paid = shop.bench.manager.get_payment(waiting.id)
    assert (paid.status, paid.late, shop.moved()) == ("succeeded", False, 1)


def test_an_approval_of_a_halted_agents_payment_waits(shop: Shop) -> None:
    waiting = shop.as_agent("ana", "order-1")
    shop.bench.manager.halt("bot", reason="look at it first")
    shop.fake.approve(shop.fake.newest_order())
    assert changes(told(shop, "CHECKOUT.ORDER.APPROVED")) == ["payment.pending"]
    assert shop.moved() == 0
    shop.bench.manager.resume("bot")
    assert shop.bench.manager.continue_payment(waiting.id).status == "succeeded"


def test_what_our_own_calls_lost_is_told(shop: Shop) -> None:
    """A capture, a charge of a saved method and a payout: each answer lost, each found by its webhook."""
    first = shop.charge("ana", "order-1")
    shop.fake.approve(shop.fake.newest_order())
    shop.fake.fault("capture", "drop_after")
    assert shop.bench.manager.continue_payment(first.id).status == "unknown"
    assert changes(told(shop, "PAYMENT.CAPTURE.COMPLETED")) == ["payment.succeeded"]

    shop.link("ana")
    shop.fake.fault("charge", "error_after")
    second = shop.charge("ana", "order-2", "11.00")
    assert second.status == "unknown"
    assert changes(told(shop, "PAYMENT.CAPTURE.COMPLETED")) == ["payment.succeeded"]

    shop.fake.fault("payout", "drop_after")
    third = shop.charge("ana", "out-1", "3.00", payee="paypal:ana@example.com")
    assert third.status == "unknown"
    assert changes(told(shop, "PAYMENT.PAYOUTSBATCH.PROCESSING")) == ["payment.pending"]
    shop.fake.books.end_payout(next(reversed(shop.fake.books.payouts)), "SUCCESS")
    assert changes(told(shop, "PAYMENT.PAYOUTS-ITEM.SUCCEEDED")) == ["payment.succeeded"]
    statuses = [shop.bench.manager.get_payment(one.id) for one in (first, second, third)]
    assert [(one.status, one.late) for one in statuses] == [("succeeded", False)] * 3


def test_what_happens_at_paypal_without_us_is_told(shop: Shop) -> None:
    shop.charge("ana", "order-0")
    shop.link("ana")
    paid = shop.charge("ana", "order-1")
    capture = next(reversed(shop.fake.books.captures))
    ours = shop.refund(paid, "4.00", "back-1")
    assert changes(told(shop, "PAYMENT.CAPTURE.REFUNDED")) == [] and ours.status == "succeeded"
    shop.fake.dispute(capture)
    assert changes(told(shop, "CUSTOMER.DISPUTE.CREATED")) == ["dispute.open"]
    shop.fake.dispute(capture, outcome="RESOLVED_SELLER_FAVOUR")
    shop.bench.later(seconds=1)
    assert changes(told(shop, "CUSTOMER.DISPUTE.RESOLVED")) == ["dispute.won"]
    gone = shop.charge("ana", "order-2", "11.00")
    shop.fake.reverse(next(reversed(shop.fake.books.captures)))
    assert changes(told(shop, "PAYMENT.CAPTURE.REVERSED")) == ["reversal.reversed"]
    assert shop.status(gone) == "succeeded"


@pytest.mark.parametrize("claimed", [True, False])
def test_a_payout_that_comes_back_is_told(shop: Shop, claimed: bool) -> None:
    """Of one that had succeeded the money is back in the books; one that had not was never paid."""
    sent = shop.charge("ana", "out-1", "3.00", payee="paypal:ana@example.com")
    batch = next(reversed(shop.fake.books.payouts))
    before = payouts(shop)
    if claimed:
        shop.fake.books.end_payout(batch, "SUCCESS")
        assert changes(told(shop, "PAYMENT.PAYOUTS-ITEM.SUCCEEDED")) == ["payment.succeeded"]
        assert payouts(shop) == before + 300
    shop.fake.books.end_payout(batch, "REFUNDED")
    receipt = told(shop, "PAYMENT.PAYOUTS-ITEM.REFUNDED")
    assert not receipt.waiting
    assert changes(receipt) == ["reversal.reversed" if claimed else "payment.declined"]
    assert changes(told(shop, "PAYMENT.PAYOUTS-ITEM.REFUNDED")) == []
    assert shop.status(sent) == ("succeeded" if claimed else "declined")
    assert payouts(shop) == before
    (batch_item,) = shop.fake.books.payouts[batch]["items"]
    again = shop.fake.books.tell("PAYMENT.PAYOUTS-ITEM.REFUNDED", batch_item)
    assert changes(told(shop, "", again)) == [] and payouts(shop) == before


def payouts(shop: Shop) -> int:
    return shop.bench.engine.store.read(lambda tx: ledger.balance(tx, PAYOUTS, "USD"))


def test_an_approval_that_expired_is_told(shop: Shop) -> None:
    waiting = shop.charge("ana", "order-1")
    order = shop.fake.newest_order()
    shop.fake.approve(order)
    shop.fake.expire(order)
    assert changes(told(shop, "CHECKOUT.PAYMENT-APPROVAL.REVERSED")) == ["payment.declined"]
    assert shop.status(waiting) == "declined"


def test_what_is_not_believed_changes_nothing(shop: Shop) -> None:
    waiting = shop.charge("ana", "order-1")
    shop.fake.approve(shop.fake.newest_order())
    event = shop.fake.event("CHECKOUT.ORDER.APPROVED")
    forged = shop.fake.signing.signed(event, webhook_id="8PT597110X687430X", at=shop.fake.clock.now())
    with pytest.raises(WebhookInvalid):
        shop.bench.manager.receive_webhook("paypal", forged.body, forged.headers)
    assert shop.status(waiting) == "requires_action" and shop.moved() == 0
    assert shop.bench.manager.continue_payment(waiting.id).status == "succeeded"


def test_events_whose_delivery_failed_are_asked_for(shop: Shop) -> None:
    waiting = shop.charge("ana", "order-1")
    shop.fake.approve(shop.fake.newest_order())
    webhooks = shop.bench.engine.webhooks
    for _ in range(2):
        webhooks.apply_events("paypal", shop.paypal.poll(shop.fake.clock.now()))
    assert shop.status(waiting) == "succeeded"
    assert shop.moved() == 1
