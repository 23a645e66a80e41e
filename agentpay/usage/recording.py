"""Recording usage, once a key: inside a write, so that a caller can do more in the same one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.errors import AgentPayError
from agentpay.ids import Ids
from agentpay.principal import Principal
from agentpay.storage import keys
from agentpay.storage.transaction import Tx
from agentpay.usage import burn, events, queries, standing
from agentpay.usage.events import NewEvent, Taken
from agentpay.usage.models import UsageRecord
from agentpay.usage.offers import serving
from agentpay.usage.taking import Asked, Taking, take
from agentpay_policies.money import Price

OPERATION: Final = "record_usage"


@dataclass(frozen=True)
class Use:
    """A new use as whoever permits it sees it: its id, our id of the customer, and what it costs."""

    id: str
    customer_id: str
    cost: Price | None


Permit = Callable[[Tx, Use], AgentPayError | None]
"""Says why a use may not be recorded, or None. What it writes is undone with the use."""


@dataclass(frozen=True)
class Key:
    """An idempotency key, for the body that it names or is to name."""

    principal: Principal
    operation: str
    key: str
    hashed: str

    def find(self, tx: Tx) -> str | None:
        """What the key names already.

        Raises:
            IdempotencyConflict: it names another body.
        """
        return keys.find(tx, self.principal, self.operation, self.key, self.hashed)

    def claim(self, tx: Tx, target_id: str, taking: Taking) -> bool:
        """Let the key name a target; False where somebody was faster."""
        return keys.claim(tx, self.principal, self.operation, self.key, self.hashed, target_id, taking.now)


def key_of(principal: Principal, operation: str, key: str, customer: Customer, wanted: Asked, **more: object) -> Key:
    """The key of an operation on usage. The body has our id of the customer: the hash outlives what he is called."""
    body = {
        "customer": customer.id,
        "feature": wanted.feature,
        "quantity": str(wanted.quantity),
        "cost": None if wanted.cost is None else f"{wanted.cost:f}",
        "currency": wanted.currency,
        **more,
    }
    return Key(principal, operation, key, keys.body_hash(operation, body))


def record(
    tx: Tx,
    wanted: Asked,
    *,
    idempotency_key: str,
    principal: Principal,
    ids: Ids,
    default_plan: str | None = None,
    permit: Permit | None = None,
) -> UsageRecord | AgentPayError:
    """Record a use, or return why it is refused; a refusal counts nothing and does not use the key.

    `permit` is asked about what a new use costs, its plan's price included, before anything else is written.

    Raises:
        IdempotencyConflict: the key names another use.
    """
    customer = customers.ensure(tx, wanted.customer, ids=ids, now=tx.now())
    key = key_of(principal, OPERATION, idempotency_key, customer, wanted)
    if (known := key.find(tx)) is not None:
        return replay(tx, customer, known, default_plan)
    taking = take(tx, customer, wanted, default_plan=default_plan)
    event_id = ids.new("use")
    if not isinstance(taking, AgentPayError):
        with tx.conn.begin_nested() as savepoint:
            if key.claim(tx, event_id, taking):
                refused = permit(tx, Use(event_id, customer.id, taking.cost)) if permit is not None else None
                if refused is None:
                    return _written(tx, event_id, customer, wanted, taking, principal=principal, ids=ids)
                savepoint.rollback()
                return refused
    # The same key may have been recorded while we waited for its counters, and have taken what we now miss.
    known = key.find(tx)
    if known is not None:
        return replay(tx, customer, known, default_plan)
    assert isinstance(taking, AgentPayError)
    return taking


def replay(tx: Tx, customer: Customer, event_id: str, default_plan: str | None) -> UsageRecord:
    """What was recorded already, with what is left now."""
    row = queries.event(tx, event_id)
    return events.found(row, customer, remaining(tx, customer, row.feature, default_plan))


def remaining(tx: Tx, customer: Customer, feature: str, default_plan: str | None) -> int | None:
    """What is left of a feature now."""
    now = tx.now()
    serves = serving(tx, customer, feature, default_plan=default_plan, now=now)
    levels, _ = standing.read(tx, customer.id, standing.allowances(serves.offers, feature, now), now)
    return burn.summary(levels).remaining if levels else None


def _written(
    tx: Tx, event_id: str, customer: Customer, wanted: Asked, taking: Taking, *, principal: Principal, ids: Ids
) -> UsageRecord:
    for part in taking.parts:
        queries.accept(tx, customer.id, part.allowance.pool, used=part.quantity, limit=part.allowance.limit)
    event = NewEvent(
        id=event_id,
        customer_id=customer.id,
        feature=wanted.feature,
        taken=[Taken(part.allowance.pool, part.quantity, part.allowance.unit_nanos) for part in taking.parts],
        plan_version=taking.source.plan_version,
        cost=taking.cost,
        principal=principal,
        now=taking.now,
    )
    events.write(tx, event, taking.purse, ids=ids)
    return events.made(event, customer, taking.remaining)
