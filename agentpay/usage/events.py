"""Writing an event: its cost from credits as far as they go, the rest unbilled; its allocations; its audit row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agentpay.audit.log import record as audit
from agentpay.customers.models import Customer
from agentpay.ids import Ids
from agentpay.principal import Principal
from agentpay.storage.transaction import Row, Tx
from agentpay.usage import purse, queries
from agentpay.usage.allowances import Pool
from agentpay.usage.models import UsageRecord
from agentpay.usage.purse import Purse
from agentpay_policies.money import Price


@dataclass(frozen=True)
class Taken:
    """Units of an event from one pool."""

    pool: Pool
    quantity: int
    unit_nanos: int


@dataclass(frozen=True)
class NewEvent:
    """What is to be written. Its plan is that of the last unit; none where no plan has the feature."""

    id: str
    customer_id: str
    feature: str
    taken: Sequence[Taken]
    plan_version: int | None
    cost: Price | None
    principal: Principal
    now: datetime
    reservation_id: str | None = None

    @property
    def quantity(self) -> int:
        """The units of all pools."""
        return sum(one.quantity for one in self.taken)


def write(tx: Tx, event: NewEvent, opened: Purse | None, *, ids: Ids) -> None:
    """Write the event. The counters are changed by the caller, and the purse, where there is one, is locked."""
    nanos = 0 if event.cost is None else event.cost.nanos
    drawn = 0 if opened is None else min(nanos, opened.available)
    queries.insert_event(
        tx,
        id=event.id,
        customer_id=event.customer_id,
        feature=event.feature,
        quantity=event.quantity,
        plan_id=event.taken[-1].pool.plan_id or None,
        plan_version=event.plan_version,
        cost_nanos=None if event.cost is None else nanos,
        currency=None if event.cost is None else event.cost.currency,
        credit_nanos=drawn,
        unbilled_nanos=nanos - drawn,
        reservation_id=event.reservation_id,
        principal_kind=event.principal.kind,
        principal_id=event.principal.id,
        recorded_at=event.now,
    )
    for one in event.taken:
        queries.insert_allocation(tx, event.id, one.pool, one.quantity, one.unit_nanos)
    _audit(tx, event)
    if opened is not None and drawn:
        purse.draw(tx, opened, drawn, event.id, ids=ids, now=event.now)


def _audit(tx: Tx, event: NewEvent) -> None:
    """The feature is left out: where no plan names it, it is whatever an agent wrote."""
    data = {
        "customer": event.customer_id,
        "plan": event.taken[-1].pool.plan_id,
        "quantity": str(event.quantity),
        "cost": "" if event.cost is None else str(event.cost),
        "reservation": event.reservation_id or "",
    }
    audit(tx, principal=event.principal, action="usage.recorded", object_id=event.id, data=data, at=event.now)


def made(event: NewEvent, customer: Customer, remaining: int | None) -> UsageRecord:
    """The event that was written just now, as its reader sees it."""
    return UsageRecord(
        id=event.id,
        customer=customer.external_id,
        feature=event.feature,
        quantity=event.quantity,
        cost=None if event.cost is None else event.cost.amount,
        currency=None if event.cost is None else event.cost.currency,
        plan=event.taken[-1].pool.plan_id or None,
        remaining=remaining,
        recorded_at=event.now,
    )


def found(row: Row, customer: Customer, remaining: int | None) -> UsageRecord:
    """An event that was there already, as its reader sees it."""
    priced = row.cost_nanos is not None
    return UsageRecord(
        id=row.id,
        customer=customer.external_id,
        feature=row.feature,
        quantity=row.quantity,
        cost=Price.from_nanos(row.cost_nanos, row.currency).amount if priced else None,
        currency=row.currency,
        plan=row.plan_id,
        remaining=remaining,
        recorded_at=row.recorded_at,
        replayed=True,
    )
