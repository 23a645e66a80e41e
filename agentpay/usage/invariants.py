"""For the doctor: what must hold of usage in every database. Each function gives the rows that break it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.usage.tables import (
    UsageAllocationRow,
    UsageCarryRow,
    UsageClaimRow,
    UsageCounterRow,
    UsageEventRow,
    UsageHoldRow,
    UsageReservationRow,
)

_COUNTERS = table(UsageCounterRow)
_EVENTS = table(UsageEventRow)
_ALLOCATIONS = table(UsageAllocationRow)
_RESERVATIONS = table(UsageReservationRow)
_HOLDS = table(UsageHoldRow)
_CARRIES = table(UsageCarryRow)
_CLAIMS = table(UsageClaimRow)
_OPEN = _RESERVATIONS.c.state == "open"


def wrong_used(tx: Tx) -> Sequence[Row]:
    """Counters whose `used` is not the sum of what events took from them."""
    owner = _ALLOCATIONS.join(_EVENTS, _EVENTS.c.id == _ALLOCATIONS.c.event_id)
    return _wrong_counters(tx, sa.select().select_from(owner), _EVENTS.c.customer_id, _ALLOCATIONS.c, _COUNTERS.c.used)


def wrong_held(tx: Tx) -> Sequence[Row]:
    """Counters whose `held` is not the sum of what open reservations hold in them."""
    owner = _HOLDS.join(_RESERVATIONS, _RESERVATIONS.c.id == _HOLDS.c.reservation_id)
    return _wrong_counters(
        tx, sa.select().select_from(owner).where(_OPEN), _RESERVATIONS.c.customer_id, _HOLDS.c, _COUNTERS.c.held
    )


def wrong_allocations(tx: Tx) -> Sequence[Row]:
    """Events whose units are not those of their allocations."""
    total = sa.func.coalesce(sa.func.sum(_ALLOCATIONS.c.quantity), 0)
    query = sa.select(_EVENTS.c.id, _EVENTS.c.quantity, total.label("allocated"))
    query = query.outerjoin(_ALLOCATIONS, _ALLOCATIONS.c.event_id == _EVENTS.c.id)
    return tx.all(query.group_by(_EVENTS.c.id, _EVENTS.c.quantity).having(total != _EVENTS.c.quantity))


def wrong_credit_holds(tx: Tx) -> Sequence[Row]:
    """Carries whose held credits are not those of the open reservations."""
    c = _CARRIES.c
    same = sa.and_(_RESERVATIONS.c.customer_id == c.customer_id, _RESERVATIONS.c.currency == c.currency, _OPEN)
    total = sa.func.coalesce(sa.func.sum(_RESERVATIONS.c.held_nanos), 0)
    query = sa.select(c.customer_id, c.currency, c.held_nanos, total.label("reserved")).outerjoin(_RESERVATIONS, same)
    return tx.all(query.group_by(c.customer_id, c.currency, c.held_nanos).having(total != c.held_nanos))


def wrong_claims(tx: Tx) -> Sequence[Row]:
    """Bills, not given back, that say another sum of usage than their events."""
    c = _CLAIMS.c
    total = sa.func.coalesce(sa.func.sum(_EVENTS.c.unbilled_nanos), 0)
    query = sa.select(c.bill_id, c.events_nanos, total.label("events")).outerjoin(
        _EVENTS, _EVENTS.c.bill_id == c.bill_id
    )
    query = query.where(c.state != "released").group_by(c.bill_id, c.events_nanos)
    return tx.all(query.having(total != c.events_nanos))


def _wrong_counters(
    tx: Tx, source: sa.Select[Any], customer: Any, parts: Any, counted: sa.ColumnElement[int]
) -> Sequence[Row]:
    """Counters that differ from the sum of their parts, and parts that have no counter."""
    keys = (customer, parts.plan_id, parts.pool, parts.window_start)
    sums = source.add_columns(
        customer.label("customer_id"),
        parts.plan_id,
        parts.pool,
        parts.window_start,
        sa.func.sum(parts.quantity).label("units"),
    )
    summed = sums.group_by(*keys).subquery()
    k = _COUNTERS.c
    same = sa.and_(
        k.customer_id == summed.c.customer_id,
        k.plan_id == summed.c.plan_id,
        k.pool == summed.c.pool,
        k.window_start == summed.c.window_start,
    )
    query = sa.select(k.customer_id, k.plan_id, k.pool, counted, summed.c.units)
    query = query.select_from(_COUNTERS.join(summed, same, full=True))
    return tx.all(query.where(sa.func.coalesce(counted, 0) != sa.func.coalesce(summed.c.units, 0)))
