"""All SQL about subscriptions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from agentpay.errors import NotFound
from agentpay.plans.queries import parsed
from agentpay.plans.tables import PlanFeatureRow, PlanVersionRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.subscriptions.entitlement import Terms
from agentpay.subscriptions.models import Held
from agentpay.subscriptions.tables import SubscriptionPeriodRow, SubscriptionRow, SubscriptionSlotRow

_SLOTS = table(SubscriptionSlotRow)
_SUBSCRIPTIONS = table(SubscriptionRow)
_PERIODS = table(SubscriptionPeriodRow)
_VERSIONS = table(PlanVersionRow)
_FEATURES = table(PlanFeatureRow)
_C = _SUBSCRIPTIONS.c

_ENDS: Final = sa.and_(_C.cancel_at_period_end, _C.period_number >= _C.term)
"""Whether the period that runs, or ran last, is the one with which an agreed end comes."""
_IS_LIVE: Final = _C.status.in_(["active", "past_due"])
_VERSION: Final = sa.and_(_VERSIONS.c.plan_id == _C.plan_id, _VERSIONS.c.version == _C.plan_version)
_HELD: Final = (
    sa.select(
        _C.id,
        _C.status,
        _C.free,
        _ENDS.label("ends"),
        _C.paid_until,
        _C.lapses_at,
        _C.quota_anchor,
        _VERSIONS.c.version,
        _VERSIONS.c.body,
    )
    .join(_VERSIONS, _VERSION)
    .where(_C.customer_id == sa.bindparam("customer"), _IS_LIVE)
    .order_by(_C.id)
)
_STATUS_WITH: Final = (
    sa.select(_C.status)
    .join(_FEATURES, sa.and_(_FEATURES.c.plan_id == _C.plan_id, _FEATURES.c.version == _C.plan_version))
    .where(
        _C.customer_id == sa.bindparam("customer"),
        _FEATURES.c.feature == sa.bindparam("feature"),
        _C.started_at.is_not(None),
    )
)
_PAYMENT: Final = (
    sa.select(_PERIODS.c.payment_id)
    .where(_PERIODS.c.subscription_id == _C.id, _PERIODS.c.number == _C.period_number)
    .scalar_subquery()
)


def held_by(tx: Tx, customer_id: str) -> list[Held]:
    """The live subscriptions of a customer, each with the plan version that it keeps. Part of every hot path."""
    rows = tx.execute(_HELD, [{"customer": customer_id}]).all()
    return [
        Held(
            subscription_id=row.id,
            plan=parsed(row.version, row.body),
            terms=Terms(row.status, bool(row.free), bool(row.ends), row.paid_until),
            lapses_at=row.lapses_at,
            quota_anchor=row.quota_anchor,
        )
        for row in rows
    ]


def statuses_with(tx: Tx, customer_id: str, feature: str) -> set[str]:
    """The statuses of the customer's subscriptions that ever began and whose plan version names the feature."""
    return {row.status for row in tx.execute(_STATUS_WITH, [{"customer": customer_id, "feature": feature}]).all()}


def lock_slot(tx: Tx, customer_id: str, group: str) -> None:
    """Lock the customer's slot in a group until the end of the write; it is made where it is missing."""
    tx.insert_new(SubscriptionSlotRow, customer_id=customer_id, plan_group=group)
    tx.lock(sa.select(_SLOTS.c.plan_group).where(_SLOTS.c.customer_id == customer_id, _SLOTS.c.plan_group == group))


def locked(tx: Tx, subscription_id: str) -> SubscriptionRow:
    """A subscription, read after its slot is locked.

    Raises:
        NotFound: there is none of that id.
    """
    place = tx.first(sa.select(_C.customer_id, _C.plan_group).where(_C.id == subscription_id))
    if place is None:
        raise NotFound(f"There is no subscription {subscription_id[:60]!r}.")
    lock_slot(tx, place.customer_id, place.plan_group)
    return by_id(tx, subscription_id)


def by_id(tx: Tx, subscription_id: str) -> SubscriptionRow:
    """A subscription by its id.

    Raises:
        NotFound: there is none.
    """
    found = _all(tx, _C.id == subscription_id)
    if not found:
        raise NotFound(f"There is no subscription {subscription_id[:60]!r}.")
    return found[0]


def in_group(tx: Tx, customer_id: str, group: str) -> list[SubscriptionRow]:
    """What holds the slot: the live one and the incomplete one, where there are such."""
    taken = _C.status.in_(["active", "past_due", "incomplete"])
    return _all(tx, _C.customer_id == customer_id, _C.plan_group == group, taken)


def of_customer(tx: Tx, customer_id: str) -> Sequence[Row]:
    """Every subscription of a customer, newest first, with its plan's body and the payment of its last period."""
    return tx.all(_shown().where(_C.customer_id == customer_id).order_by(_C.created_at.desc(), _C.id.desc()))


def newest_first(tx: Tx, customer_id: str) -> list[SubscriptionRow]:
    """Every subscription of a customer, newest first."""
    return _all(tx, _C.customer_id == customer_id, newest=True)


def shown_by_id(tx: Tx, subscription_id: str) -> Row | None:
    """One subscription as `of_customer` gives them."""
    return tx.first(_shown().where(_C.id == subscription_id))


def newest_started(tx: Tx, customer_id: str, plan_id: str, but: str) -> SubscriptionRow | None:
    """The customer's newest subscription to a plan that ever began, apart from one."""
    found = _all(
        tx, _C.customer_id == customer_id, _C.plan_id == plan_id, _C.id != but, _C.started_at.is_not(None), newest=True
    )
    return found[0] if found else None


def is_due(now: datetime) -> sa.ColumnElement[bool]:
    """Whether a subscription is active, its paid time is over, and it goes on."""
    open_ = (_C.status == "active", ~_ENDS, _C.renewing.is_(None))
    return sa.and_(*open_, _C.paid_until <= now, sa.or_(_C.free, _C.lapses_at > now))


def due(tx: Tx, now: datetime, limit: int, *more: sa.ColumnElement[bool]) -> list[SubscriptionRow]:
    """The subscriptions that are due, and for which `more` holds: the longest due first."""
    query = sa.select(_SUBSCRIPTIONS).where(is_due(now), *more)
    return _rows(tx, query.order_by(_C.paid_until, _C.id).limit(limit))


def ended(tx: Tx, now: datetime, limit: int) -> list[SubscriptionRow]:
    """Live subscriptions that are over: an agreed end has come, or nothing is left to renew. In the order of locks."""
    agreed = sa.and_(_ENDS, _C.paid_until <= now)
    lapsed = sa.and_(~_C.free, _C.lapses_at <= now)
    query = sa.select(_SUBSCRIPTIONS).where(_IS_LIVE, _C.renewing.is_(None), sa.or_(agreed, lapsed))
    return _rows(tx, query.order_by(_C.customer_id, _C.plan_group).limit(limit))


def insert(tx: Tx, row: SubscriptionRow) -> None:
    """Insert a subscription."""
    tx.insert(SubscriptionRow, **row.model_dump())


def change(tx: Tx, subscription_id: str, **values: Any) -> None:
    """Write columns of a subscription whose slot is locked."""
    tx.execute(sa.update(_SUBSCRIPTIONS).where(_C.id == subscription_id).values(**values))


def insert_period(tx: Tx, **values: Any) -> None:
    """Insert a period; one that is there already is a fault of the caller, and the key refuses it."""
    tx.insert(SubscriptionPeriodRow, **values)


def payment_of(tx: Tx, subscription_id: str, number: int) -> Row | None:
    """The period's row, with the payment that paid it; None where the period is not there."""
    return tx.first(
        sa.select(_PERIODS.c.payment_id).where(
            _PERIODS.c.subscription_id == subscription_id, _PERIODS.c.number == number
        )
    )


def periods_of(tx: Tx, subscription_id: str) -> Sequence[Row]:
    """The periods of a subscription in order."""
    return tx.all(sa.select(_PERIODS).where(_PERIODS.c.subscription_id == subscription_id).order_by(_PERIODS.c.number))


def _shown() -> sa.Select[Any]:
    return sa.select(_SUBSCRIPTIONS, _VERSIONS.c.body, _PAYMENT.label("payment_id")).join(_VERSIONS, _VERSION)


def _all(tx: Tx, *conditions: sa.ColumnElement[bool], newest: bool = False) -> list[SubscriptionRow]:
    order = (_C.created_at.desc(), _C.id.desc()) if newest else (_C.created_at, _C.id)
    return _rows(tx, sa.select(_SUBSCRIPTIONS).where(*conditions).order_by(*order))


def _rows(tx: Tx, query: sa.Select[Any]) -> list[SubscriptionRow]:
    return [SubscriptionRow(**row._mapping) for row in tx.all(query)]
