"""Bills: the rows, and what their payment means to them."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from agentpay.billing.tables import BillRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.usage.bills import credit_next_bill, release_claimed, settle_claimed
from agentpay_policies.money import nanos_per_minor

_BILLS = table(BillRow)


def of_payment(tx: Tx, payment_id: str) -> Row:
    """The bill that a payment is for."""
    return tx.all(sa.select(_BILLS).where(_BILLS.c.payment_id == payment_id))[0]


def settled(tx: Tx, payment: Row, now: datetime) -> None:
    """The bill's payment changed: paid, or ended without money, so that its usage is unbilled again.

    What was not sent stays claimed: the same key bills it again. What was paid after its usage was let go comes off
    the next bill.
    """
    bill = of_payment(tx, payment.id)
    if payment.status == "succeeded" and bill.status != "paid":
        if bill.status == "failed":
            nanos = bill.amount_minor * nanos_per_minor(bill.currency)
            credit_next_bill(tx, bill.customer_id, bill.currency, nanos)
        else:
            settle_claimed(tx, bill.id)
        _set(tx, bill.id, "paid", now)
    elif payment.status in ("declined", "refused", "canceled") and bill.status == "open":
        release_claimed(tx, bill.id)
        _set(tx, bill.id, "failed", now)


def _set(tx: Tx, bill_id: str, status: str, now: datetime) -> None:
    tx.execute(sa.update(_BILLS).where(_BILLS.c.id == bill_id).values(status=status, settled_at=now))
