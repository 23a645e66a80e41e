"""How a subscription goes on: each period is paid once, and each begins at the moment the one before ends."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from agentpay.audit.log import record
from agentpay.errors import Conflict
from agentpay.plans.service import plan_of
from agentpay.principal import SYSTEM, Principal
from agentpay.storage.transaction import Tx
from agentpay.subscriptions import periods, queries
from agentpay.subscriptions.lifecycle import append_period, ends, status_of
from agentpay.subscriptions.states import LIVE, after
from agentpay.subscriptions.tables import SubscriptionRow


def renewal_due(tx: Tx, now: datetime, limit: int, *more: sa.ColumnElement[bool]) -> list[SubscriptionRow]:
    """Active subscriptions whose paid time is over at that moment, and for which `more` holds: the longest due first.

    Pass a moment a little ahead to renew before access ends. Those that are past_due are not here: a person, or the
    customer's next try, renews them. Those of price 0 are, and need no payment.
    """
    return queries.due(tx, now, limit, *more)


def begin_renewal(
    tx: Tx, subscription_id: str, now: datetime, *, wanted: int | None = None, principal: Principal = SYSTEM
) -> int:
    """Take the next period for a payment, and return its number. It is taken until `renew` or `renewal_failed`.

    `wanted` is its number as the caller knew it: who meant a period that was paid since does not pay the one after it.

    Raises:
        Conflict: the subscription has ended or is to end, its plan has no periods, its next period is paid already, or
            a payment for it is under way. Nothing is written.
        NotFound: there is no such subscription.
    """
    row = queries.locked(tx, subscription_id)
    number = row.period_number + 1
    why = _not_renewable(tx, row, now)
    if not why and wanted not in (None, number):
        why = f"Period {wanted} is paid already."
    if why:
        raise Conflict(why)
    queries.change(tx, row.id, renewing=number, updated_at=now)
    _audit(tx, "renewal_begun", row, now, principal, number=number)
    return number


def renew(
    tx: Tx, subscription_id: str, number: int, payment_id: str | None, now: datetime, *, principal: Principal = SYSTEM
) -> bool:
    """The period of that number is paid: it is appended, and what was past due is active again.

    Repeating it with the same payment changes nothing. False, and nothing is written, where the payment cannot be used:
    the period was paid by another one, or the subscription has ended. A person then decides about the money.
    """
    row = queries.locked(tx, subscription_id)
    paid = queries.payment_of(tx, row.id, number)
    if paid is not None:
        return bool(paid.payment_id == payment_id)
    if number != row.period_number + 1 or after(status_of(row), "renew") is None:
        return False
    append_period(tx, row, number, payment_id, now)
    _audit(tx, "renewed", row, now, principal, number=number, payment=payment_id or "")
    return True


def is_over(tx: Tx, subscription_id: str, now: datetime) -> bool:
    """Whether what is paid is over: a renewal whose outcome was not known for as long gave the customer nothing."""
    paid_until = queries.by_id(tx, subscription_id).paid_until
    return paid_until is not None and paid_until <= now


def renewal_failed(tx: Tx, subscription_id: str, number: int, now: datetime, *, principal: Principal = SYSTEM) -> bool:
    """The payment for the period of that number ended without money: the subscription is past due.

    Access goes on until the end of what is paid. False where that period was not waiting for a payment.
    """
    row = queries.locked(tx, subscription_id)
    status = after(status_of(row), "renewal_failed")
    if row.renewing != number or status is None:
        return False
    queries.change(tx, row.id, status=status, renewing=None, updated_at=now)
    _audit(tx, status, row, now, principal, number=number)
    return True


def still_wanted(tx: Tx, subscription_id: str, number: int, now: datetime, *, lock: bool = True) -> bool:
    """Whether the payment for a period may still be tried: the subscription goes on, and waits for that very period."""
    row = (queries.locked if lock else queries.by_id)(tx, subscription_id)
    lapsed = row.lapses_at is not None and row.lapses_at <= now
    return row.renewing == number and status_of(row) in LIVE and not ends(row) and not lapsed


def renewal_dropped(tx: Tx, subscription_id: str, number: int, now: datetime) -> None:
    """The payment for a period is given up: nothing waits for it any more."""
    row = queries.locked(tx, subscription_id)
    if row.renewing == number:
        queries.change(tx, row.id, renewing=None, updated_at=now)
        _audit(tx, "renewal_dropped", row, now, SYSTEM, number=number)


def _not_renewable(tx: Tx, row: SubscriptionRow, now: datetime) -> str:
    if status_of(row) not in LIVE:
        return f"The subscription is {row.status}."
    if ends(row):
        return "The subscription is to end with its period."
    if row.paid_until is None or row.started_at is None:
        return "The plan has no billing period: there is nothing to renew."
    if row.renewing is not None:
        return f"A payment for period {row.renewing} is under way."
    if not row.free and row.lapses_at is not None and row.lapses_at <= now:
        return "The period to renew is over too: subscribe again."
    length = plan_of(tx, row.plan_id, row.plan_version).billing_period
    if periods.nth(row.started_at, length, row.period_number).start > now:
        return "The next period is paid already."
    return ""


def _audit(tx: Tx, what: str, row: SubscriptionRow, now: datetime, principal: Principal, **data: object) -> None:
    record(tx, principal=principal, action=f"subscription.{what}", object_id=row.id, data=data, at=now)
