"""All SQL about what is not billed yet, and what bills have taken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.usage.tables import UsageCarryRow, UsageClaimRow, UsageEventRow
from agentpay_policies.money import NANO

_EVENTS = table(UsageEventRow)
_CARRIES = table(UsageCarryRow)
_CLAIMS = table(UsageClaimRow)
_E = _EVENTS.c


def unbilled_events(tx: Tx, customer_id: str) -> Sequence[Row]:
    """The unbilled sum of a customer's events, by currency; whole units and 10⁻⁹ apart, so that no sum overflows."""
    whole, rest = _E.unbilled_nanos // NANO, _E.unbilled_nanos % NANO
    query = sa.select(_E.currency, sa.func.sum(whole).label("whole"), sa.func.sum(rest).label("rest"))
    return tx.all(query.where(_E.customer_id == customer_id, *_unbilled()).group_by(_E.currency))


def customers_with_unbilled(tx: Tx, limit: int, after: str) -> list[str]:
    """Our ids of customers with unbilled events, in order, from behind one of them."""
    query = sa.select(_E.customer_id).where(*_unbilled(), _E.customer_id > after).distinct()
    return [row.customer_id for row in tx.all(query.order_by(_E.customer_id).limit(limit))]


def first_events(tx: Tx, customer_id: str, currency: str, most: int) -> tuple[list[str], int]:
    """As many of the unbilled events as come to no more than `most`, the first first, and what they come to."""
    query = sa.select(_E.id, _E.unbilled_nanos).where(_E.customer_id == customer_id, _E.currency == currency)
    ids, total = list[str](), 0
    for row in tx.all(query.where(*_unbilled()).order_by(_E.recorded_at, _E.id)):
        if total + row.unbilled_nanos > most:
            break
        ids.append(row.id)
        total += row.unbilled_nanos
    return ids, total


def claim_events(tx: Tx, customer_id: str, currency: str, bill_id: str, only: Sequence[str] | None = None) -> int:
    """Mark every unbilled event with the bill, or only some, and return the sum of exactly those; the carry is
    locked."""
    marked = sa.update(_EVENTS).where(_E.customer_id == customer_id, _E.currency == currency, *_unbilled())
    if only is not None:
        marked = marked.where(_E.id.in_(only))
    rows = tx.all(marked.values(bill_id=bill_id).returning(_E.unbilled_nanos))
    return sum(int(row.unbilled_nanos) for row in rows)


def free_events(tx: Tx, bill_id: str) -> None:
    """Take the mark of a bill off its events."""
    tx.execute(sa.update(_EVENTS).where(_E.bill_id == bill_id).values(bill_id=None))


def insert_claim(tx: Tx, **values: Any) -> None:
    """Insert what a bill has taken."""
    tx.insert(UsageClaimRow, **values)


def claim(tx: Tx, bill_id: str) -> Row | None:
    """What a bill has taken, without a lock."""
    return tx.first(sa.select(_CLAIMS).where(_CLAIMS.c.bill_id == bill_id))


def end_claim(tx: Tx, bill_id: str, state: str, now: datetime) -> bool:
    """Settle or release a claim that is open. False where it is not."""
    query = sa.update(_CLAIMS).where(_CLAIMS.c.bill_id == bill_id, _CLAIMS.c.state == "claimed")
    return tx.first(query.values(state=state, updated_at=now).returning(_CLAIMS.c.bill_id)) is not None


def _unbilled() -> tuple[sa.ColumnElement[bool], ...]:
    # Written out, not bound: only so do both databases see that the partial index fits.
    return (_E.bill_id.is_(None), _E.unbilled_nanos > sa.literal_column("0"))
