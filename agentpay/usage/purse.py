"""A customer's credits in one currency, below a minor unit too.

The ledger knows whole minor units. What was drawn and not posted is carried, what reservations hold is set aside; so
what is available is the ledger's balance less both. Whole minor units are posted as soon as the carry holds one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agentpay.ids import Ids
from agentpay.ledger import service as ledger
from agentpay.ledger.postings import credits_used
from agentpay.storage.transaction import Tx
from agentpay.usage import queries
from agentpay_policies.money import nanos_per_minor, whole_minor


@dataclass(frozen=True)
class Purse:
    """The credits as they stand under lock, in 10⁻⁹ of the currency."""

    customer_id: str
    currency: str
    carry: int
    available: int


def peek(tx: Tx, customer_id: str, currency: str, *, freed: int = 0) -> int:
    """What is available, read without a lock; `freed` is held by reservations whose time is over."""
    credit = ledger.credit_available(tx, customer_id, currency) * nanos_per_minor(currency)
    carry = queries.carry(tx, customer_id, currency) if credit > 0 else None
    return max(0, credit if carry is None else credit - carry.credit_nanos - carry.held_nanos + freed)


def locked(tx: Tx, customer_id: str, currency: str) -> Purse | None:
    """The purse, locked until the end of the write; None where the customer has no credits in that currency."""
    if ledger.credit_available(tx, customer_id, currency) <= 0:
        return None
    row = queries.lock_carry(tx, customer_id, currency)
    credit = ledger.lock_credit(tx, customer_id, currency) * nanos_per_minor(currency)
    return Purse(customer_id, currency, row.credit_nanos, max(0, credit - row.credit_nanos - row.held_nanos))


def draw(tx: Tx, purse: Purse, nanos: int, event_id: str, *, ids: Ids, now: datetime) -> None:
    """Pay so much of an event from a locked purse; at most what is available. At most once an event and write."""
    if not 0 < nanos <= purse.available:
        raise ValueError(f"{nanos} are not to be drawn from {purse.available}")
    minor, rest = whole_minor(purse.carry + nanos, purse.currency)
    queries.change_carry(tx, purse.customer_id, purse.currency, credit=rest - purse.carry)
    if minor:
        entries = credits_used(purse.customer_id, minor, purse.currency)
        ledger.post(tx, event="usage.credits_used", object_id=event_id, entries=entries, at=now, ids=ids)
