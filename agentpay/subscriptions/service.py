"""Reading subscriptions: inside a write of the flows, and for everyone through `SubscriptionManager`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.errors import NotFound, PaymentRequired, SubscriptionExpired
from agentpay.plans.queries import parsed
from agentpay.storage import Store, Tx
from agentpay.storage.transaction import Row
from agentpay.subscriptions import periods, queries
from agentpay.subscriptions.entitlement import Terms, ending, entitled, shown_status
from agentpay.subscriptions.models import Subscription
from agentpay.subscriptions.periods import Period
from agentpay.subscriptions.states import LIVE, known

_MOMENT: Final = timedelta(microseconds=1)


def by_id(tx: Tx, subscription_id: str, now: datetime) -> Subscription:
    """A subscription by its own id.

    Raises:
        NotFound: there is none.
    """
    row = queries.shown_by_id(tx, subscription_id)
    if row is None:
        raise NotFound(f"There is no subscription {subscription_id[:60]!r}.")
    return _shown(row, customers.by_id(tx, row.customer_id), now)


def list_for(tx: Tx, customer: Customer, now: datetime) -> list[Subscription]:
    """Every subscription of a customer: those that live first, then the newest."""
    shown = [_shown(row, customer, now) for row in queries.of_customer(tx, customer.id)]
    return sorted(shown, key=lambda one: one.status not in LIVE)


def get(tx: Tx, customer: Customer, plan_id: str | None, now: datetime) -> Subscription:
    """The customer's subscription, to a plan where one is named: the one that lives, else the newest.

    Raises:
        NotFound: the customer never had one.
    """
    for one in list_for(tx, customer, now):
        if plan_id is None or one.plan == plan_id:
            return one
    raise NotFound("The customer has no such subscription.", next_step="Offer a plan: see list_plans, then subscribe.")


def is_subscribed(tx: Tx, customer_id: str, plan_id: str | None, now: datetime) -> bool:
    """Whether a subscription gives the customer access now, to that plan or to any."""
    return any(
        entitled(held.terms, now)
        for held in queries.held_by(tx, customer_id)
        if plan_id is None or held.plan.id == plan_id
    )


class SubscriptionManager:
    """The subscriptions of one store, to read. Subscribing, renewing and canceling are verbs of the manager."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, customer: str, plan: str | None = None) -> Subscription:
        """The customer's subscription, to a plan where one is named: the one that lives, else the newest.

        Raises:
            NotFound: the customer is not known or never had one.
        """

        def read(tx: Tx) -> Subscription:
            return get(tx, _known(tx, customer), plan, tx.now())

        return self._store.read(read)

    def list_for(self, customer: str) -> tuple[Subscription, ...]:
        """Every subscription of a customer: those that live first, then the newest. Nobody knows them: nothing."""

        def read(tx: Tx) -> tuple[Subscription, ...]:
            found = customers.known(tx, customer)
            return () if found is None else tuple(list_for(tx, found, tx.now()))

        return self._store.read(read)

    def is_subscribed(self, customer: str, plan: str | None = None) -> bool:
        """Whether a subscription gives the customer access now, to that plan or to any."""

        def read(tx: Tx) -> bool:
            found = customers.known(tx, customer)
            return found is not None and is_subscribed(tx, found.id, plan, tx.now())

        return self._store.read(read)

    def require(self, customer: str, plan: str | None = None) -> None:
        """Nothing where a subscription gives the customer access now, to that plan or to any.

        Raises:
            SubscriptionExpired: the customer had one.
            PaymentRequired: the customer never had one.
        """

        def read(tx: Tx) -> PaymentRequired | None:
            found = customers.known(tx, customer)
            if found is not None and is_subscribed(tx, found.id, plan, tx.now()):
                return None
            had = found is not None and any(
                row.started_at is not None and plan in (None, row.plan_id) for row in queries.newest_first(tx, found.id)
            )
            if had:
                return SubscriptionExpired("The customer's subscription has ended.", customer=customer)
            return PaymentRequired("The customer has no such subscription.", customer=customer)

        refusal = self._store.read(read)
        if refusal is not None:
            raise refusal


def _known(tx: Tx, customer: str) -> Customer:
    found = customers.known(tx, customer)
    if found is None:
        raise NotFound("The customer has no subscription.", next_step="Offer a plan: see list_plans, then subscribe.")
    return found


def _shown(row: Row, customer: Customer, now: datetime) -> Subscription:
    agreed = ending(row.cancel_at_period_end, row.period_number, row.term)
    terms = Terms(known(row.status), row.free, agreed, row.paid_until)
    period = _period(row, terms, now)
    return Subscription(
        id=row.id,
        customer=customer.external_id,
        plan=row.plan_id,
        status=shown_status(terms, row.lapses_at, now),
        group=row.plan_group,
        period_start=None if period is None else period.start,
        period_end=None if period is None else period.end,
        cancel_at_period_end=row.cancel_at_period_end,
        created_at=row.created_at,
        term=row.term,
        ends_at=_agreed_end(row),
        plan_version=row.plan_version,
        payment_id=row.payment_id,
    )


def _agreed_end(row: Row) -> datetime | None:
    """The end that was agreed: of the period in which it was, or of the term."""
    if not row.cancel_at_period_end or row.started_at is None or row.ended_at is not None:
        return None
    length = parsed(row.plan_version, row.body).billing_period
    return periods.nth(row.started_at, length, max(row.period_number, row.term)).end


def _period(row: Row, terms: Terms, now: datetime) -> Period | None:
    """The period that runs now, or the last one that was paid."""
    if row.started_at is None:
        return None
    moment = row.ended_at or now
    if row.paid_until is not None and not entitled(terms, moment):
        moment = min(moment, row.paid_until - _MOMENT)
    return periods.at(row.started_at, parsed(row.plan_version, row.body).billing_period, moment)
