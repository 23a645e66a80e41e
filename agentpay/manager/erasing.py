"""Erasing a customer: who they are goes, what was paid stays.

The application's id stands in one row, where a hash of it takes its place; free text, stored requests, the bodies of
webhooks, addresses to pay at and links to providers are removed. Books and audit hold our own ids and amounts alone:
they stay as they are, and verify. Idempotency keys stay, since a key names one operation for ever: an application keeps
names out of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from agentpay.audit import log
from agentpay.audit.hashes import salted
from agentpay.customers import service as customers
from agentpay.errors import Conflict, NotFound
from agentpay.manager.wiring import Engine
from agentpay.payments import queries as payments
from agentpay.principal import OPERATOR
from agentpay.storage import texts
from agentpay.storage.tables import InstallationRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table
from agentpay.subscriptions import queries as subscriptions
from agentpay.webhooks import queries as webhooks

_INSTALLATION = table(InstallationRow)
_HELD = ("incomplete", "active", "past_due")


@dataclass(frozen=True)
class Erasure:
    """What was erased: our id of the customer, which stays, and how many texts went. `already` says that the id was
    erased before."""

    customer_id: str
    already: bool
    texts: int


def erase(engine: Engine, customer: str) -> Erasure:
    """Erase a customer. Again changes nothing, but removes what came meanwhile.

    Raises:
        NotFound: there is no such customer.
        Conflict: a subscription is alive, or a payment or refund is open; it says what to do. Nothing was erased.
    """
    return engine.store.write(lambda tx: _erase(engine, tx, customer))


def _erase(engine: Engine, tx: Tx, customer: str) -> Erasure:
    mark = salted(str(tx.scalar(sa.select(_INSTALLATION.c.secret))), f"customer:{customer}")
    found = customers.known(tx, customer)
    customer_id = found.id if found is not None else customers.erased_as(tx, mark)
    if customer_id is None:
        raise NotFound(f"There is no customer {customer[:60]!r}.", next_step="Check the id: agentpay customers list")
    customers.lock(tx, customer_id)
    _check_nothing_moves(tx, customer_id)
    for payment_id in payments.unsent_of(tx, customer_id):
        engine.payments.settling.abandon(tx, payment_id, OPERATOR)
    _check_nothing_lives(tx, customer_id)
    everything = payments.all_of(customer_id)
    gone = texts.erase(tx, everything) + texts.erase(tx, webhooks.about(everything))
    payments.forget_requests(tx, customer_id)
    if found is not None:
        customers.erase(tx, customer_id, mark)
        now = tx.now()
        log.record(tx, principal=OPERATOR, action="customer.erased", object_id=customer_id, data={}, at=now)
    return Erasure(customer_id, found is None, gone)


def _check_nothing_moves(tx: Tx, customer_id: str) -> None:
    open_one = payments.open_subject_of(tx, customer_id)
    if open_one is not None:
        is_payment = open_one.id == open_one.payment_id
        how = f"agentpay payments verify {open_one.id}" if is_payment else "agentpay reconcile"
        end = f"Bring it to its end ({how}; answer what waits for approval)"
        if open_one.origin != "agentpay":
            end = (
                "It was made at the provider, whose webhook ends it: wait for that, or have the provider send it again"
            )
        raise Conflict(
            f"{open_one.id} of the customer is {open_one.status}: money may still move.",
            next_step=f"{end}, then erase again.",
        )


def _check_nothing_lives(tx: Tx, customer_id: str) -> None:
    alive = [row for row in subscriptions.newest_first(tx, customer_id) if row.status in _HELD]
    if alive:
        raise Conflict(
            f"The customer's subscription to {alive[0].plan_id} is {alive[0].status}.",
            next_step="End it with cancel_subscription(customer, at_period_end=False), then erase again.",
        )
