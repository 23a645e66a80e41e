"""All SQL about reservations and what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.usage.allowances import Pool
from agentpay.usage.burn import Part
from agentpay.usage.tables import UsageHoldRow, UsageReservationRow

_RESERVATIONS = table(UsageReservationRow)
_HOLDS = table(UsageHoldRow)
_R = _RESERVATIONS.c

_EXPIRED: Final = (
    sa.select(_R.id, _R.currency, _R.held_nanos)
    .where(
        _R.customer_id == sa.bindparam("customer"),
        _R.state == sa.literal_column("'open'"),
        _R.expires_at <= sa.bindparam("now"),
    )
    .order_by(_R.id)
)
_EXPIRED_LOCKED: Final = _EXPIRED.with_for_update()


def lock(tx: Tx, reservation_id: str) -> Row | None:
    """A reservation, locked until the end of the write; None where there is none."""
    found = tx.lock(sa.select(_RESERVATIONS).where(_R.id == reservation_id))
    return found[0] if found else None


def one(tx: Tx, reservation_id: str) -> Row | None:
    """A reservation, without a lock."""
    return tx.first(sa.select(_RESERVATIONS).where(_R.id == reservation_id))


def expired(tx: Tx, customer_id: str, now: datetime) -> Sequence[Row]:
    """The customer's open reservations whose time is over, without a lock."""
    return tx.execute(_EXPIRED, [{"customer": customer_id, "now": now}]).all()


def lock_expired(tx: Tx, customer_id: str, now: datetime) -> Sequence[Row]:
    """The same, locked in the order of their ids. Who commits one of them at this moment is waited for."""
    statement = _EXPIRED_LOCKED if tx.dialect == "postgresql" else _EXPIRED
    return tx.execute(statement, [{"customer": customer_id, "now": now}]).all()


def holds(tx: Tx, reservation_ids: Iterable[str]) -> Sequence[Row]:
    """What reservations hold, in the order in which it will be used."""
    query = sa.select(_HOLDS).where(_HOLDS.c.reservation_id.in_(list(reservation_ids)))
    return tx.all(query.order_by(_HOLDS.c.reservation_id, _HOLDS.c.position))


def pool_of(hold: Row) -> Pool:
    """The pool in which a hold is."""
    return Pool(hold.plan_id, hold.pool, hold.window_start)


def insert(tx: Tx, **values: Any) -> None:
    """Insert a reservation."""
    tx.insert(UsageReservationRow, **values)


def change(tx: Tx, reservation_id: str, **values: Any) -> None:
    """Write columns of a locked reservation."""
    tx.execute(sa.update(_RESERVATIONS).where(_R.id == reservation_id).values(**values))


def replace_holds(tx: Tx, reservation_id: str, parts: Sequence[Part]) -> None:
    """Say what a reservation holds now."""
    tx.execute(sa.delete(_HOLDS).where(_HOLDS.c.reservation_id == reservation_id))
    for position, part in enumerate(parts):
        allowance = part.allowance
        tx.insert(
            UsageHoldRow,
            reservation_id=reservation_id,
            position=position,
            plan_id=allowance.pool.plan_id,
            plan_version=allowance.plan_version,
            pool=allowance.pool.name,
            window_start=allowance.pool.window_start,
            quantity=part.quantity,
            unit_nanos=allowance.unit_nanos,
            currency=allowance.currency if allowance.unit_nanos else None,
        )
