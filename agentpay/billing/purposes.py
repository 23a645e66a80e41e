"""What a payment means to a subscription or to a bill: functions that run in settle's own transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from agentpay.audit import log
from agentpay.billing import bills
from agentpay.errors import AlreadySubscribed, Conflict
from agentpay.payments.asks import Purpose
from agentpay.principal import SYSTEM
from agentpay.storage.transaction import Row, Tx
from agentpay.subscriptions import lifecycle, renewals

SUBSCRIPTION: Final = "subscription"
RENEWAL: Final = "renewal"
BILL: Final = "bill"

_ENDED: Final = ("declined", "refused", "canceled")


def purposes() -> Mapping[str, Purpose]:
    """Every purpose that a payment can have, by name. A payment for nothing but itself has none here."""
    return {
        SUBSCRIPTION: Purpose(settled=_subscription_settled, again=_subscription_again),
        RENEWAL: Purpose(settled=_renewal_settled, again=_renewal_again),
        BILL: Purpose(settled=bills.settled),
    }


def renewal_id(subscription_id: str, number: int) -> str:
    """What the payment of a period is for."""
    return f"{subscription_id}/{number}"


def subscription_of(purpose_id: str) -> str:
    """The subscription that a payment is for, its first one or a renewal."""
    return purpose_id.partition("/")[0]


def _subscription_settled(tx: Tx, payment: Row, now: datetime) -> None:
    if payment.status == "succeeded":
        if not lifecycle.activate(tx, payment.purpose_id, payment.id, now):
            _unused(tx, payment, now)
    elif payment.status in (*_ENDED, "not_sent"):
        lifecycle.fail(tx, payment.purpose_id, now)


def _subscription_again(tx: Tx, payment: Row, now: datetime) -> None:
    if not lifecycle.reopen(tx, payment.purpose_id, now):
        raise AlreadySubscribed(
            "Another subscription of the customer has begun since.", subscription_id=payment.purpose_id
        )


def _renewal_settled(tx: Tx, payment: Row, now: datetime) -> None:
    subscription_id, _, number = payment.purpose_id.partition("/")
    if payment.status == "succeeded":
        used = renewals.renew(tx, subscription_id, int(number), payment.id, now)
        if not used or renewals.is_over(tx, subscription_id, now):
            _unused(tx, payment, now)
    elif payment.status == "canceled":
        renewals.renewal_dropped(tx, subscription_id, int(number), now)
    elif payment.status in _ENDED:
        renewals.renewal_failed(tx, subscription_id, int(number), now)


def _renewal_again(tx: Tx, payment: Row, now: datetime) -> None:
    subscription_id, _, number = payment.purpose_id.partition("/")
    if not renewals.still_wanted(tx, subscription_id, int(number), now):
        raise Conflict("The subscription is not to be renewed for that period any more.")


def _unused(tx: Tx, payment: Row, now: datetime) -> None:
    """Money came for something that can no longer be given: a person decides, and the doctor lists it."""
    data = {"for": payment.purpose_id}
    log.record(tx, principal=SYSTEM, action="payment.unused", object_id=payment.id, data=data, at=now)
