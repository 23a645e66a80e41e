"""The answer of a verb that charges for a subscription: the subscription, with how its payment stands."""

from __future__ import annotations

from dataclasses import replace

from agentpay.billing.purposes import subscription_of
from agentpay.payments.models import Payment
from agentpay.payments.service import Payments
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx
from agentpay.subscriptions import service as subscriptions
from agentpay.subscriptions.models import Subscription


def with_payment(store: Store, payments: Payments, payment: Payment) -> Subscription:
    """The subscription that a payment is for, as it stands now, with that payment."""

    def read(tx: Tx) -> Subscription:
        return subscriptions.by_id(tx, subscription_of(payments.purpose_of(tx, payment.id)), tx.now())

    return replace(
        store.read(read),
        payment_id=payment.id,
        payment_status=payment.status,
        approval_id=payment.approval_id,
        url=payment.url,
        expires_at=payment.expires_at,
        next_step="" if payment.status == "succeeded" else payment.next_step,
        replayed=payment.replayed,
    )
