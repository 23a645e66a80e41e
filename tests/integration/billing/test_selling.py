"""Top-ups become credit as far as their money is still with us: not what was disputed, nor what is being refunded."""

from __future__ import annotations

import pytest

from agentpay.billing.paid import Selling, Unpaid, tariff
from agentpay.ids import RandomIds
from agentpay.payments.models import Payment
from agentpay.providers.mock_webhooks import SignedEvent
from agentpay_policies.money import Money
from support.bench import Bench

SOLD = tariff("search", feature=None, plan=None, price="0.05 USD", top_up="1.00 USD")


@pytest.fixture
def selling(bench: Bench) -> Selling:
    done, back = "https://shop.example/done", "https://shop.example/back"
    make = bench.manager.create_checkout
    return Selling(bench.manager, make, ids=RandomIds(), success_url=done, cancel_url=back)


@pytest.fixture
def paid(bench: Bench, selling: Selling) -> Payment:
    """A top-up that was paid after its call was answered with the offer: no call has looked since."""
    offer = selling.hold(SOLD, "acme", 1)
    assert isinstance(offer, Unpaid) and offer.payment is not None
    bench.mock.customer_acts(reference(bench, offer.payment.id))
    payment = bench.manager.verify_payment(offer.payment.id)
    assert (payment.status, bench.moved()) == ("succeeded", 100)
    return payment


def reference(bench: Bench, payment_id: str) -> str:
    return str(bench.attempts(payment_id)[-1].reference)


def told(bench: Bench, object_id: str) -> None:
    event: SignedEvent = bench.mock.webhook(object_id)
    bench.manager.receive_webhook("mock", event.body, event.headers)


def balance(bench: Bench) -> list[str]:
    return [str(money) for money in bench.manager.credits_of("acme")]


def test_a_top_up_that_was_disputed_before_it_was_credit_is_none(bench: Bench, selling: Selling, paid: Payment) -> None:
    dispute = bench.mock.elsewhere.dispute(reference(bench, paid.id), Money("1.00", "USD"))
    told(bench, dispute)
    assert isinstance(selling.hold(SOLD, "acme", 1), Unpaid), "served for money that the bank took back"
    assert balance(bench) in ([], ["0.00 USD"])
    bench.later(seconds=1)
    bench.mock.elsewhere.decide(dispute, "won")
    told(bench, dispute)
    assert not isinstance(selling.hold(SOLD, "acme", 1), Unpaid)
    assert balance(bench) == ["1.00 USD"]


def test_what_is_being_refunded_of_a_top_up_is_no_credit(bench: Bench, selling: Selling, paid: Payment) -> None:
    bench.mock.force("timeout-after")
    assert bench.manager.refund(paid.id, "0.60", reason="half", idempotency_key="r").status == "unknown"
    assert not isinstance(selling.hold(SOLD, "acme", 1), Unpaid)
    assert balance(bench) == ["0.40 USD"], "credit for money that goes back"
