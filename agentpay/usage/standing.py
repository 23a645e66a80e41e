"""How the allowances of a customer stand: read for a check, or locked for a write, with what is over set free."""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agentpay.audit.log import record as audit
from agentpay.principal import SYSTEM
from agentpay.storage.transaction import Row, Tx
from agentpay.usage import queries
from agentpay.usage import reservation_queries as reservations
from agentpay.usage.allowances import Allowance, Offer, Pool
from agentpay.usage.burn import Level, ordered


@dataclass(frozen=True)
class Over:
    """What reservations whose time is over still hold: units by pool, credits by currency."""

    ids: tuple[str, ...] = ()
    units: Mapping[Pool, int] = field(default_factory=dict)
    nanos: Mapping[str, int] = field(default_factory=dict)


def allowances(offers: Iterable[Offer], feature: str, now: datetime) -> list[Allowance]:
    """Every allowance of a feature."""
    return [allowance for offer in offers for allowance in offer.allowances(feature, now)]


def read(tx: Tx, customer_id: str | None, found: list[Allowance], now: datetime) -> tuple[list[Level], Over]:
    """Where the allowances stand, in the order of use, on the snapshot of a read."""
    if customer_id is None:
        return ordered(Level(allowance) for allowance in found), Over()
    counters = queries.counters(tx, customer_id, [allowance.pool for allowance in found])
    over = Over()
    if any(counter.held for counter in counters.values()):
        over = _over(tx, reservations.expired(tx, customer_id, now))
    return _levels(found, counters, over), over


def locked(tx: Tx, customer_id: str, found: list[Allowance], now: datetime) -> list[Level]:
    """Where the allowances stand, in the order of use, with their counters locked until the end of the write.

    Reservations of the customer whose time is over are ended first: they are locked before the counters, as is who
    commits one.
    """
    over = _over(tx, reservations.lock_expired(tx, customer_id, now))
    pools = {allowance.pool for allowance in found}
    counters = queries.lock_counters(tx, customer_id, pools | over.units.keys())
    _free(tx, customer_id, over, now)
    return _levels(found, counters, over)


def _levels(found: list[Allowance], counters: Mapping[Pool, queries.Counter], over: Over) -> list[Level]:
    nothing = queries.Counter()
    levels = []
    for allowance in found:
        counter = counters.get(allowance.pool, nothing)
        levels.append(Level(allowance, counter.used, counter.held - over.units.get(allowance.pool, 0)))
    return ordered(levels)


def _over(tx: Tx, expired: Iterable[Row]) -> Over:
    rows = list(expired)
    if not rows:
        return Over()
    units: Sums[Pool] = Sums()
    nanos: Sums[str] = Sums()
    for hold in reservations.holds(tx, [row.id for row in rows]):
        units[reservations.pool_of(hold)] += hold.quantity
    for row in rows:
        if row.held_nanos:
            nanos[row.currency] += row.held_nanos
    return Over(tuple(row.id for row in rows), units, nanos)


def _free(tx: Tx, customer_id: str, over: Over, now: datetime) -> None:
    """Give back what ended reservations hold; their counters are locked."""
    for reservation_id in over.ids:
        reservations.change(tx, reservation_id, state="expired", held_nanos=0, updated_at=now)
        audit(tx, principal=SYSTEM, action="usage.reservation_expired", object_id=reservation_id, data={}, at=now)
    for pool, units in sorted(over.units.items()):
        queries.move(tx, customer_id, pool, used=0, held=-units)
    for currency, nanos in sorted(over.nanos.items()):
        queries.change_carry(tx, customer_id, currency, held=-nanos)
