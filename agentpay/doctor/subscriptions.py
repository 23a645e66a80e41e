"""Invariant 7: one live subscription a customer and group, whose periods follow each other by the true calendar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import sqlalchemy as sa

from agentpay.doctor.model import Check
from agentpay.doctor.payments import OPEN
from agentpay.payments.tables import PaymentRow
from agentpay.plans import queries as plans
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.subscriptions import periods
from agentpay.subscriptions.tables import SubscriptionPeriodRow, SubscriptionRow

_SUBSCRIPTIONS = table(SubscriptionRow)
_PERIODS = table(SubscriptionPeriodRow)
_PAYMENTS = table(PaymentRow)
_S, _T, _P = _SUBSCRIPTIONS.c, _PERIODS.c, _PAYMENTS.c

_ENDED: Final = ("canceled", "expired")


def _live_twice(tx: Tx) -> list[str]:
    return _twice(tx, "live", ("active", "past_due"))


def _incomplete_twice(tx: Tx) -> list[str]:
    return _twice(tx, "incomplete", ("incomplete",))


def _twice(tx: Tx, what: str, statuses: Sequence[str]) -> list[str]:
    rows = tx.all(
        sa.select(_S.customer_id, _S.plan_group, sa.func.count().label("n"))
        .where(_S.status.in_(statuses))
        .group_by(_S.customer_id, _S.plan_group)
        .having(sa.func.count() > 1)
    )
    return [f"customer {row.customer_id}: {row.n} {what} subscriptions of the group {row.plan_group}" for row in rows]


def _ends(tx: Tx) -> list[str]:
    rows = tx.all(sa.select(_S.id, _S.status).where(_S.ended_at.is_not(None) != _S.status.in_(_ENDED)))
    return [f"subscription {row.id}: {row.status}, and its end is wrong" for row in rows]


def _periods(tx: Tx) -> list[str]:
    query = sa.select(
        _S.id, _S.plan_id, _S.plan_version, _S.started_at, _S.period_number, _S.paid_until,
        _T.number, _T.starts_at, _T.ends_at,
    ).outerjoin(_PERIODS, _T.subscription_id == _S.id)  # fmt: skip
    rows = tx.all(query.order_by(_S.id, _T.number))
    return [line for _, found in groupby(rows, key=lambda row: row.id) for line in _period_faults(tx, list(found))]


def _period_faults(tx: Tx, rows: Sequence[Row]) -> Iterator[str]:
    """What is wrong with the periods of one subscription: each is computed anew from the anchor."""
    first, last = rows[0], rows[-1]
    if first.started_at is None:
        if first.number is not None or first.period_number or first.paid_until is not None:
            yield f"subscription {first.id}: it never began and has periods"
        return
    plan = plans.one(tx, first.plan_id, first.plan_version)
    if plan is None:
        yield f"subscription {first.id}: its plan {first.plan_id}@{first.plan_version} is missing"
        return
    for expected, row in enumerate(rows, start=1):
        due = periods.nth(first.started_at, plan.billing_period, expected)
        if (row.number, row.starts_at, row.ends_at) != (expected, due.start, due.end):
            yield (
                f"subscription {row.id}: period {row.number} from {row.starts_at} to {row.ends_at},"
                f" it should be {expected} from {due.start} to {due.end}"
            )
    if (last.number, last.ends_at) != (last.period_number, last.paid_until):
        yield (
            f"subscription {last.id}: paid until {last.paid_until} by period {last.period_number},"
            f" its last period is {last.number}, to {last.ends_at}"
        )


def _unpaid_periods(tx: Tx) -> list[str]:
    """Periods without a payment that succeeded, where the plan is not free."""
    query = (
        sa.select(_T.subscription_id, _T.number, _T.payment_id, _P.status)
        .join(_SUBSCRIPTIONS, _S.id == _T.subscription_id)
        .outerjoin(_PAYMENTS, _P.id == _T.payment_id)
        .where(
            sa.or_(
                sa.and_(_T.payment_id.is_(None), _S.free.is_(False)),
                sa.and_(_T.payment_id.is_not(None), sa.func.coalesce(_P.status, "") != "succeeded"),
                _P.customer_id != _S.customer_id,
            )
        )
    )
    return [
        f"subscription {row.subscription_id}: period {row.number} by payment {row.payment_id}, {row.status}"
        for row in tx.all(query)
    ]


def _payment_twice(tx: Tx) -> list[str]:
    query = sa.select(_T.payment_id, sa.func.count().label("n")).where(_T.payment_id.is_not(None))
    rows = tx.all(query.group_by(_T.payment_id).having(sa.func.count() > 1))
    return [f"payment {row.payment_id}: it pays {row.n} periods" for row in rows]


def _waiting_for_nothing(tx: Tx) -> list[str]:
    """Incomplete subscriptions, and renewals under way, without a payment that may still come."""
    renewal = _S.id + "/" + sa.cast(_S.renewing, sa.String)
    purpose = sa.case((_S.status == "incomplete", _S.id), else_=renewal)
    alive = sa.exists().where(_P.purpose_id == purpose, _P.status.in_((*OPEN, "not_sent")))
    waits = sa.or_(_S.status == "incomplete", _S.renewing.is_not(None))
    rows = tx.all(sa.select(_S.id, _S.status, _S.renewing).where(waits, ~alive))
    return [f"subscription {row.id}: {row.status}, renewing {row.renewing}, and no payment may come" for row in rows]


CHECKS: Final = (
    Check(7, "a customer has at most one live subscription of a group", _live_twice),
    Check(7, "a customer has at most one subscription of a group that waits for its first payment", _incomplete_twice),
    Check(7, "a subscription that has ended says when, and no other does", _ends),
    Check(7, "periods are half-open, contiguous and computed from the anchor", _periods),
    Check(7, "every period of a plan that costs something is paid", _unpaid_periods, across=True),
    Check(7, "a payment pays for one period", _payment_twice),
    Check(7, "what waits for a payment has one that may still come", _waiting_for_nothing, across=True),
)
