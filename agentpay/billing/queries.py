"""All SQL that joins subscriptions with the payments of their periods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from agentpay.payments.tables import PaymentRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table
from agentpay.subscriptions import queries
from agentpay.subscriptions.tables import SubscriptionPeriodRow, SubscriptionRow

_PERIODS, _SUBSCRIPTIONS = table(SubscriptionPeriodRow), table(SubscriptionRow)
_S, _T, _P = _SUBSCRIPTIONS.c, _PERIODS.c, table(PaymentRow).c

PAID_WITH: Final = (
    sa.select(_P.provider)
    .join(_PERIODS, _T.payment_id == _P.id)
    .where(_T.subscription_id == _S.id, _T.number == _S.period_number)
    .correlate(_SUBSCRIPTIONS)
    .scalar_subquery()
)
"""The provider with which a subscription's last period was paid; null where it needed no payment."""


def paid_with(tx: Tx, subscription_id: str) -> str | None:
    """The provider with which the last period was paid; None where it needed no payment."""
    found: str | None = tx.scalar(sa.select(PAID_WITH).select_from(_SUBSCRIPTIONS).where(_S.id == subscription_id))
    return found


def paid_at(providers: Collection[str]) -> sa.ColumnElement[bool]:
    """Whether a subscription's last period was paid with one of these, or needed no payment."""
    return sa.or_(PAID_WITH.is_(None), PAID_WITH.in_(providers))


def due_elsewhere(tx: Tx, now: datetime, providers: Collection[str]) -> Counter[str]:
    """How much is due that was paid with providers that are not among these, by provider."""
    query = sa.select(PAID_WITH.label("provider")).select_from(_SUBSCRIPTIONS)
    rows = tx.all(query.where(queries.is_due(now), PAID_WITH.not_in(providers)))
    return Counter(row.provider for row in rows)
