"""Reserving usage: units, and credits for them, are held before they are used, then committed or released.

A reservation whose time is over is refused, whether or not its part was given back already. Its key stays bound to it:
asking again with the same key after it was released or expired holds the units anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agentpay.audit.log import record as audit
from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.errors import AgentPayError, NotFound, ReservationClosed, ValidationError
from agentpay.ids import Ids
from agentpay.plans.models import units
from agentpay.principal import Principal
from agentpay.storage.transaction import Row, Tx
from agentpay.usage import events, purse, queries
from agentpay.usage import reservation_queries as reservations
from agentpay.usage.events import NewEvent, Taken
from agentpay.usage.models import UsageRecord
from agentpay.usage.recording import key_of, remaining, replay
from agentpay.usage.taking import Asked, Taking, take
from agentpay_policies.money import Price

OPERATION: Final = "reserve_usage"
LONGEST: Final = timedelta(days=7)


@dataclass(frozen=True)
class Reserved:
    """A reservation as it stands: `open`, `committed`, `released` or `expired`."""

    id: str
    customer: str
    feature: str
    quantity: int
    state: str
    expires_at: datetime
    replayed: bool


def checked_life(expires_in: object) -> timedelta:
    """How long a reservation is to live, checked.

    Raises:
        ValidationError: no positive duration of at most 7 days.
    """
    if not isinstance(expires_in, timedelta) or not timedelta(0) < expires_in <= LONGEST:
        raise ValidationError("expires_in is a duration of more than nothing and at most 7 days.")
    return expires_in


def reserve(
    tx: Tx,
    wanted: Asked,
    *,
    idempotency_key: str,
    expires_in: timedelta,
    principal: Principal,
    ids: Ids,
    default_plan: str | None = None,
) -> Reserved | AgentPayError:
    """Hold a quantity, or return why it is refused; a refusal holds nothing and does not use the key.

    Raises:
        IdempotencyConflict: the key names another reservation.
    """
    customer = customers.ensure(tx, wanted.customer, ids=ids, now=tx.now())
    cap = {} if wanted.cap is None else {"limit": str(wanted.cap.limit), "per": wanted.cap.per}
    key = key_of(principal, OPERATION, idempotency_key, customer, wanted, **cap)
    if (known := key.find(tx)) is not None:
        return _again(tx, known, customer, wanted, expires_in, default_plan)
    taking = take(tx, customer, wanted, default_plan=default_plan)
    reservation_id = ids.new("res")
    if not isinstance(taking, AgentPayError) and key.claim(tx, reservation_id, taking):
        reservations.insert(
            tx,
            id=reservation_id,
            customer_id=customer.id,
            feature=wanted.feature,
            quantity=wanted.quantity,
            state="open",
            principal_kind=principal.kind,
            principal_id=principal.id,
            expires_at=taking.now,
            created_at=taking.now,
            updated_at=taking.now,
        )
        return _hold(tx, reservation_id, customer, wanted, taking, expires_in)
    # The same key may have been used while we waited for its counters, and hold what we now miss.
    known = key.find(tx)
    if known is not None:
        return _again(tx, known, customer, wanted, expires_in, default_plan)
    assert isinstance(taking, AgentPayError)
    return taking


def commit(
    tx: Tx,
    reservation_id: str,
    quantity: int | None,
    *,
    principal: Principal,
    ids: Ids,
    default_plan: str | None = None,
) -> UsageRecord:
    """Record what was reserved, or less of it; the rest is given back. The same again is answered as it stands.

    Credits that were held are there. Where they were taken away by other means meanwhile, what they do not pay is for a
    bill: the work is done.

    Raises:
        ReservationClosed: it was released, has expired, or was committed with another quantity. Nothing is recorded.
        ValidationError: more than was reserved, or nothing.
        NotFound: there is no such reservation.
    """
    row = _locked(tx, reservation_id)
    count = row.quantity if quantity is None else units(quantity, "quantity", least=1)
    if count > row.quantity:
        raise ValidationError(f"{row.quantity} are reserved: {count} cannot be committed.")
    customer = customers.by_id(tx, row.customer_id)
    if row.state == "committed" and queries.event(tx, row.event_id).quantity == count:
        return replay(tx, customer, row.event_id, default_plan)
    now = tx.now()
    if row.state != "open" or row.expires_at <= now:
        raise ReservationClosed(f"The reservation is {_state(row, now)}: nothing was recorded.")
    event_id = ids.new("use")
    taken, cost, version = _use(tx, row, count)
    _give_back_credits(tx, row)
    opened = None if cost is None else purse.locked(tx, customer.id, cost.currency)
    event = NewEvent(
        id=event_id,
        customer_id=customer.id,
        feature=row.feature,
        taken=taken,
        plan_version=version,
        cost=cost,
        principal=principal,
        now=now,
        reservation_id=row.id,
    )
    events.write(tx, event, opened, ids=ids)
    reservations.change(tx, row.id, state="committed", event_id=event_id, held_nanos=0, updated_at=now)
    return events.made(event, customer, remaining(tx, customer, row.feature, default_plan))


def release(tx: Tx, reservation_id: str, *, principal: Principal) -> None:
    """Give back what is reserved. Releasing what is released or has expired does nothing.

    Raises:
        ReservationClosed: it was committed.
        NotFound: there is no such reservation.
    """
    row = _locked(tx, reservation_id)
    if row.state == "committed":
        raise ReservationClosed("The reservation is committed: it cannot be released.")
    if row.state != "open":
        return
    holds = reservations.holds(tx, [row.id])
    queries.lock_counters(tx, row.customer_id, [reservations.pool_of(hold) for hold in holds])
    for hold in holds:
        queries.move(tx, row.customer_id, reservations.pool_of(hold), used=0, held=-hold.quantity)
    _give_back_credits(tx, row)
    now = tx.now()
    reservations.change(tx, row.id, state="released", held_nanos=0, updated_at=now)
    audit(tx, principal=principal, action="usage.released", object_id=row.id, data={}, at=now)


def _again(
    tx: Tx, reservation_id: str, customer: Customer, wanted: Asked, expires_in: timedelta, default_plan: str | None
) -> Reserved | AgentPayError:
    """The reservation as it stands; one that was released or has expired holds its units anew, where they are left."""
    row = _locked(tx, reservation_id)
    now = tx.now()
    if _state(row, now) in ("open", "committed"):
        return _shown(row, customer, now, replayed=True)
    taking = take(tx, customer, wanted, default_plan=default_plan)  # it frees this one too, where its time is over
    if isinstance(taking, AgentPayError):
        return taking
    return _hold(tx, row.id, customer, wanted, taking, expires_in)


def _hold(
    tx: Tx, reservation_id: str, customer: Customer, wanted: Asked, taking: Taking, expires_in: timedelta
) -> Reserved:
    """Let a reservation, whose row is there, hold what was taken."""
    for part in taking.parts:
        queries.accept(tx, customer.id, part.allowance.pool, held=part.quantity, limit=part.allowance.limit)
    if taking.prepaid_nanos and taking.purse is not None:
        queries.change_carry(tx, customer.id, taking.purse.currency, held=taking.prepaid_nanos)
    reservations.replace_holds(tx, reservation_id, taking.parts)
    reservations.change(
        tx,
        reservation_id,
        state="open",
        currency=None if taking.purse is None else taking.purse.currency,
        held_nanos=taking.prepaid_nanos,
        expires_at=taking.now + expires_in,
        updated_at=taking.now,
    )
    row = _known(reservations.one(tx, reservation_id))
    principal = Principal(row.principal_kind, row.principal_id)
    data = {"customer": customer.id, "plan": taking.source.pool.plan_id, "quantity": str(wanted.quantity)}
    audit(tx, principal=principal, action="usage.reserved", object_id=reservation_id, data=data, at=taking.now)
    return _shown(row, customer, taking.now, replayed=False)


def _use(tx: Tx, row: Row, count: int) -> tuple[list[Taken], Price | None, int | None]:
    """Turn the first `count` units of what is held into use, and give the rest back: units, cost, plan version."""
    holds = reservations.holds(tx, [row.id])
    queries.lock_counters(tx, row.customer_id, [reservations.pool_of(hold) for hold in holds])
    taken: list[Taken] = []
    nanos, currency, version, left = 0, "", None, count
    for hold in holds:
        part = min(left, hold.quantity)
        queries.move(tx, row.customer_id, reservations.pool_of(hold), used=part, held=-hold.quantity)
        if part:
            taken.append(Taken(reservations.pool_of(hold), part, hold.unit_nanos))
            nanos, currency, version = nanos + part * hold.unit_nanos, hold.currency or currency, hold.plan_version
            left -= part
    return taken, Price.from_nanos(nanos, currency) if nanos else None, version


def _give_back_credits(tx: Tx, row: Row) -> None:
    if row.held_nanos:
        queries.change_carry(tx, row.customer_id, row.currency, held=-row.held_nanos)


def _locked(tx: Tx, reservation_id: str) -> Row:
    return _known(reservations.lock(tx, reservation_id))


def _known(row: Row | None) -> Row:
    if row is None:
        raise NotFound("There is no such reservation.")
    return row


def _state(row: Row, now: datetime) -> str:
    over = row.state == "open" and row.expires_at <= now
    return "expired" if over else str(row.state)


def _shown(row: Row, customer: Customer, now: datetime, *, replayed: bool) -> Reserved:
    return Reserved(
        id=row.id,
        customer=customer.external_id,
        feature=row.feature,
        quantity=row.quantity,
        state=_state(row, now),
        expires_at=row.expires_at,
        replayed=replayed,
    )
