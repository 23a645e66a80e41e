"""For the doctor: what must hold of subscriptions in every database. Each function gives the rows that break it."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.subscriptions.tables import SubscriptionPeriodRow, SubscriptionRow

_SUBSCRIPTIONS = table(SubscriptionRow)
_PERIODS = table(SubscriptionPeriodRow)


def second_live(tx: Tx) -> Sequence[Row]:
    """Customers and plan groups with more than one live, or more than one incomplete, subscription."""
    c = _SUBSCRIPTIONS.c
    kind = sa.case((c.status == "incomplete", "incomplete"), else_="live")
    query = sa.select(c.customer_id, c.plan_group, kind.label("kind"), sa.func.count().label("count"))
    query = query.where(c.status.in_(["active", "past_due", "incomplete"]))
    return tx.all(query.group_by(c.customer_id, c.plan_group, kind).having(sa.func.count() > 1))


def gaps(tx: Tx) -> Sequence[Row]:
    """Periods that do not begin at the moment at which the one before ended, or that follow none."""
    before = _PERIODS.alias("before")
    previous = sa.and_(before.c.subscription_id == _PERIODS.c.subscription_id, before.c.number == _PERIODS.c.number - 1)
    query = sa.select(_PERIODS.c.subscription_id, _PERIODS.c.number, before.c.ends_at, _PERIODS.c.starts_at)
    query = query.outerjoin(before, previous).where(_PERIODS.c.number > 1)
    return tx.all(query.where(sa.or_(before.c.ends_at.is_(None), before.c.ends_at != _PERIODS.c.starts_at)))


def wrong_ends(tx: Tx) -> Sequence[Row]:
    """Subscriptions that say another number or end of their last period than its row."""
    c = _SUBSCRIPTIONS.c
    newest = (
        sa.select(_PERIODS.c.subscription_id, sa.func.max(_PERIODS.c.number).label("number"))
        .group_by(_PERIODS.c.subscription_id)
        .subquery()
    )
    last = sa.and_(_PERIODS.c.subscription_id == newest.c.subscription_id, _PERIODS.c.number == newest.c.number)
    query = sa.select(c.id, c.period_number, newest.c.number, c.paid_until, _PERIODS.c.ends_at)
    query = query.outerjoin(newest, newest.c.subscription_id == c.id).outerjoin(_PERIODS, last)
    number = sa.func.coalesce(newest.c.number, 0) != c.period_number
    end = sa.func.coalesce(_PERIODS.c.ends_at, -1) != sa.func.coalesce(c.paid_until, -1)
    return tx.all(query.where(sa.or_(number, end)))
