"""All SQL of payments, refunds and attempts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from agentpay.errors import NotFound
from agentpay.payments.tables import AttemptRow, PaymentRow, RefundRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table

PAYMENTS = table(PaymentRow)
REFUNDS = table(RefundRow)
ATTEMPTS = table(AttemptRow)
_P, _R, _A = PAYMENTS.c, REFUNDS.c, ATTEMPTS.c

OPEN_OUTCOMES = ("sent", "unknown", "pending", "requires_action")
"""Outcomes of an attempt after which money may still move."""


def payment(tx: Tx, payment_id: str, *, lock: bool = False) -> Row:
    """A payment's row.

    Raises:
        NotFound: there is none.
    """
    statement = sa.select(PAYMENTS).where(_P.id == payment_id)
    rows = tx.lock(statement) if lock else tx.all(statement)
    if not rows:
        raise NotFound(f"There is no payment {str(payment_id)[:60]!r}.")
    return rows[0]


def refund(tx: Tx, refund_id: str, *, lock: bool = False) -> Row:
    """A refund's row.

    Raises:
        NotFound: there is none.
    """
    statement = sa.select(REFUNDS).where(_R.id == refund_id)
    rows = tx.lock(statement) if lock else tx.all(statement)
    if not rows:
        raise NotFound(f"There is no refund {str(refund_id)[:60]!r}.")
    return rows[0]


def update_payment(tx: Tx, payment_id: str, **values: Any) -> None:
    """Change columns of a payment."""
    tx.execute(sa.update(PAYMENTS).where(_P.id == payment_id).values(**values))


def update_refund(tx: Tx, refund_id: str, **values: Any) -> None:
    """Change columns of a refund."""
    tx.execute(sa.update(REFUNDS).where(_R.id == refund_id).values(**values))


def update_attempt(tx: Tx, attempt_id: str, **values: Any) -> None:
    """Change columns of an attempt."""
    tx.execute(sa.update(ATTEMPTS).where(_A.id == attempt_id).values(**values))


def attempt(tx: Tx, attempt_id: str, *, lock: bool = False) -> Row:
    """An attempt's row, which must be there."""
    statement = sa.select(ATTEMPTS).where(_A.id == attempt_id)
    return (tx.lock(statement) if lock else tx.all(statement))[0]


def attempts(tx: Tx, subject_id: str) -> Sequence[Row]:
    """The attempts of a payment or refund, the first first."""
    return tx.all(sa.select(ATTEMPTS).where(_A.subject_id == subject_id).order_by(_A.number))


def due(tx: Tx, now: datetime | None, limit: int, providers: Sequence[str]) -> Sequence[Row]:
    """The attempts at these providers to look up by now (None: every open one), the longest due first.

    One whose answer nobody wrote down is always due; one that a later step replaced never is.
    """
    is_due: sa.ColumnElement[bool] = _A.next_check_at.is_not(None)
    if now is not None:
        is_due = sa.or_(_A.next_check_at <= now, sa.and_(_A.outcome == "sent", is_due))
    return tx.all(
        sa.select(ATTEMPTS)
        .where(_A.outcome.in_(OPEN_OUTCOMES), is_due, _A.provider.in_(providers))
        .order_by(_A.next_check_at, _A.id)
        .limit(limit)
    )


def oldest_unknown(tx: Tx) -> datetime | None:
    """Since when the oldest payment or refund with an unknown outcome has been so."""
    found: datetime | None = tx.scalar(sa.select(sa.func.min(_A.sent_at)).where(_A.outcome == "unknown"))
    return found


def look_alike(tx: Tx, row: Row, *, since: datetime) -> Row | None:
    """The newest other payment of the same agent that is alive or succeeded and the same but for its key."""
    alike = (_P.principal_id, _P.customer_id, _P.payee, _P.amount_minor, _P.currency)
    return tx.first(
        sa.select(_P.id, _P.status, _P.created_at)
        .where(
            _P.id != row.id,
            _P.principal_kind == "agent",
            _P.operation == "charge",
            *(column == getattr(row, column.key) for column in alike),
            _P.created_at >= since,
            _P.status.in_(("approval_required", "pending", "requires_action", "unknown", "succeeded")),
        )
        .order_by(_P.created_at.desc(), _P.id.desc())
        .limit(1)
    )


def of_customer(
    tx: Tx, customer_id: str, *, agent: str | None, limit: int | None, before: tuple[datetime, str] | None
) -> Sequence[Row]:
    """A customer's payments, the newest first; an agent's own only, where one is named."""
    statement = sa.select(PAYMENTS).where(_P.customer_id == customer_id).order_by(_P.created_at.desc(), _P.id.desc())
    if agent is not None:
        statement = statement.where(_P.principal_kind == "agent", _P.principal_id == agent)
    if before is not None:
        at, last = before
        earlier = sa.and_(_P.created_at == at, _P.id < last)  # no tuple: its parts would lose the column's own type
        statement = statement.where(sa.or_(_P.created_at < at, earlier))
    return tx.all(statement if limit is None else statement.limit(limit))


def newest(tx: Tx, limit: int, status: str | None = None) -> Sequence[Row]:
    """The newest payments of all customers."""
    statement = sa.select(PAYMENTS).order_by(_P.created_at.desc(), _P.id.desc()).limit(limit)
    return tx.all(statement if status is None else statement.where(_P.status == status))


def refunds_of(tx: Tx, payment_id: str) -> Sequence[Row]:
    """The refunds of a payment, the first first."""
    return tx.all(sa.select(REFUNDS).where(_R.payment_id == payment_id).order_by(_R.created_at, _R.id))


def unsent(tx: Tx, operation: str, limit: int) -> Sequence[Row]:
    """The payments of an operation that were never sent, the oldest first."""
    return tx.all(
        sa.select(PAYMENTS)
        .where(_P.status == "not_sent", _P.operation == operation)
        .order_by(_P.created_at, _P.id)
        .limit(limit)
    )
