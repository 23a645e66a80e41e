"""All SQL about counters, events and carries; that of reservations and of bills is beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.usage.allowances import Pool
from agentpay.usage.tables import UsageAllocationRow, UsageCarryRow, UsageCounterRow, UsageEventRow

_COUNTERS = table(UsageCounterRow)
_EVENTS = table(UsageEventRow)
_CARRIES = table(UsageCarryRow)
_K = _COUNTERS.c

_AMONG: Final = (
    sa.select(_K.plan_id, _K.pool, _K.window_start, _K.used, _K.held)
    .where(
        _K.customer_id == sa.bindparam("customer"),
        _K.plan_id.in_(sa.bindparam("plans", expanding=True)),
        _K.pool.in_(sa.bindparam("pools", expanding=True)),
        _K.window_start.in_(sa.bindparam("starts", expanding=True)),
    )
    .order_by(_K.plan_id, _K.pool, _K.window_start)
)
_AMONG_LOCKED: Final = _AMONG.with_for_update()
_ONE_COUNTER: Final = (
    sa.update(_COUNTERS)
    .where(
        _K.customer_id == sa.bindparam("customer"),
        _K.plan_id == sa.bindparam("plan"),
        _K.pool == sa.bindparam("name"),
        _K.window_start == sa.bindparam("start"),
    )
    .values(used=_K.used + sa.bindparam("more_used"), held=_K.held + sa.bindparam("more_held"))
)
_ACCEPT: Final = _ONE_COUNTER.values(limit_units=sa.bindparam("within"))
_NEW_EVENT: Final = sa.insert(_EVENTS)
_NEW_ALLOCATION: Final = sa.insert(table(UsageAllocationRow))
_EVENT: Final = sa.select(_EVENTS).where(_EVENTS.c.id == sa.bindparam("event"))


@dataclass(frozen=True)
class Counter:
    """Where a pool stands."""

    used: int = 0
    held: int = 0


def counters(tx: Tx, customer_id: str, pools: Iterable[Pool]) -> dict[Pool, Counter]:
    """Where pools stand; those that nobody used yet are not there."""
    return _counters(tx, _AMONG, customer_id, list(pools))


def lock_counters(tx: Tx, customer_id: str, pools: Iterable[Pool]) -> dict[Pool, Counter]:
    """The same, each made where it is missing and locked until the end of the write, in one order for everyone."""
    wanted = sorted(set(pools))
    locking = _AMONG_LOCKED if tx.dialect == "postgresql" else _AMONG
    found = _counters(tx, locking, customer_id, wanted)
    missing = [pool for pool in wanted if pool not in found]
    if not missing:
        return found
    for pool in missing:
        tx.insert_new(
            UsageCounterRow,
            customer_id=customer_id,
            plan_id=pool.plan_id,
            pool=pool.name,
            window_start=pool.window_start,
        )
    return _counters(tx, locking, customer_id, wanted)  # a statement of its own: it sees whoever was faster


def accept(tx: Tx, customer_id: str, pool: Pool, *, used: int = 0, held: int = 0, limit: int | None) -> None:
    """Add to a locked counter what was found to fit into the limit; the table's CHECK says so again."""
    tx.execute(_ACCEPT, [{**_key(customer_id, pool), "more_used": used, "more_held": held, "within": limit}])


def move(tx: Tx, customer_id: str, pool: Pool, *, used: int, held: int) -> None:
    """Change a counter by what was held already: nothing is accepted by it."""
    tx.execute(_ONE_COUNTER, [{**_key(customer_id, pool), "more_used": used, "more_held": held}])


def insert_event(tx: Tx, **values: object) -> None:
    """Insert an event: every column but `bill_id`."""
    tx.execute(_NEW_EVENT, [values])


def insert_allocation(tx: Tx, event_id: str, pool: Pool, quantity: int, unit_nanos: int) -> None:
    """Say from which pool units of an event were taken."""
    values = {
        "event_id": event_id,
        "plan_id": pool.plan_id,
        "pool": pool.name,
        "window_start": pool.window_start,
        "quantity": quantity,
        "unit_nanos": unit_nanos,
    }
    tx.execute(_NEW_ALLOCATION, [values])


def event(tx: Tx, event_id: str) -> Row:
    """An event by its id; it must be there."""
    return tx.execute(_EVENT, [{"event": event_id}]).one()


def recorded(
    tx: Tx, customer_id: str, feature: str | None, since: datetime | None, until: datetime | None
) -> Mapping[str, int]:
    """The units of each feature that the customer used, from a moment on and before another."""
    query = sa.select(_EVENTS.c.feature, sa.func.sum(_EVENTS.c.quantity).label("units"))
    query = query.where(_EVENTS.c.customer_id == customer_id).group_by(_EVENTS.c.feature)
    if feature is not None:
        query = query.where(_EVENTS.c.feature == feature)
    if since is not None:
        query = query.where(_EVENTS.c.recorded_at >= since)
    if until is not None:
        query = query.where(_EVENTS.c.recorded_at < until)
    return {row.feature: int(row.units) for row in tx.all(query)}


def carry(tx: Tx, customer_id: str, currency: str) -> Row | None:
    """The carry of a customer and a currency, without a lock."""
    return tx.first(sa.select(_CARRIES).where(_is_carry(customer_id, currency)))


def carries(tx: Tx, customer_id: str) -> list[Row]:
    """Every carry of a customer, by currency."""
    query = sa.select(_CARRIES).where(_CARRIES.c.customer_id == customer_id)
    return list(tx.all(query.order_by(_CARRIES.c.currency)))


def lock_carry(tx: Tx, customer_id: str, currency: str) -> Row:
    """The carry, made where it is missing and locked until the end of the write."""
    tx.insert_new(UsageCarryRow, customer_id=customer_id, currency=currency)
    (row,) = tx.lock(sa.select(_CARRIES).where(_is_carry(customer_id, currency)))
    return row


def change_carry(tx: Tx, customer_id: str, currency: str, *, credit: int = 0, held: int = 0, bill: int = 0) -> None:
    """Change a carry; it must be there."""
    c = _CARRIES.c
    changed = sa.update(_CARRIES).where(_is_carry(customer_id, currency))
    tx.execute(
        changed.values(
            credit_nanos=c.credit_nanos + credit, held_nanos=c.held_nanos + held, bill_nanos=c.bill_nanos + bill
        )
    )


def _is_carry(customer_id: str, currency: str) -> sa.ColumnElement[bool]:
    return sa.and_(_CARRIES.c.customer_id == customer_id, _CARRIES.c.currency == currency)


def _key(customer_id: str, pool: Pool) -> dict[str, object]:
    return {"customer": customer_id, "plan": pool.plan_id, "name": pool.name, "start": pool.window_start}


def _counters(tx: Tx, statement: sa.Select[Any], customer_id: str, pools: list[Pool]) -> dict[Pool, Counter]:
    """The counters of the pools. The statement may find others of the same plans and windows: they are left out."""
    if not pools:
        return {}
    parameters = {
        "customer": customer_id,
        "plans": sorted({pool.plan_id for pool in pools}),
        "pools": sorted({pool.name for pool in pools}),
        "starts": sorted({pool.window_start for pool in pools}),
    }
    wanted = set(pools)
    found = {
        Pool(row.plan_id, row.pool, row.window_start): Counter(row.used, row.held)
        for row in tx.execute(statement, [parameters]).all()
    }
    return {pool: counter for pool, counter in found.items() if pool in wanted}
