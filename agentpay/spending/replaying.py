"""What agents asked for in the past, as `policy backtest` replays it."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from agentpay.customers.tables import CustomerRow
from agentpay.errors import ValidationError
from agentpay.spending import enrolments
from agentpay.spending.tables import ApprovalRow, DecisionRequestRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay_policies.backtest import Recorded
from agentpay_policies.decisions import Halt, Request, State
from agentpay_policies.money import Money, Price
from agentpay_policies.payees import Payee

MOST: Final = 100_000
"""How many requests are replayed at once: more would not fit into memory."""

_REQUESTS = table(DecisionRequestRow)
_R = _REQUESTS.c
_APPROVALS = table(ApprovalRow)
_CUSTOMERS = table(CustomerRow)


def recorded(tx: Tx, since: datetime | None = None, *, most: int = MOST) -> list[Recorded]:
    """Every request for money from `since` on, in the order of time; what was decided again and again is one request.

    Raises:
        ValidationError: there are more than `most`, or the moment has no time zone.
    """
    if since is not None and since.tzinfo is None:
        raise ValidationError("The moment to begin with has no time zone.")
    rows = _rows(tx, since, most + 1)
    if len(rows) > most:
        raise ValidationError(
            f"There are more than {most} recorded requests.", next_step="Name a later moment to begin with: --since"
        )
    approved = _approved(tx, since)
    by_owner: dict[str, list[Row]] = {}
    for row in rows:
        by_owner.setdefault(_owner(row), []).append(row)
    known = frozenset(enrolments.listed(tx))
    return [_recorded(decisions, approved, known) for decisions in by_owner.values()]


def _owner(row: Row) -> str:
    """What a row is about. What has no owner was never tried again: it stands alone."""
    return str(row.owner_id or f"denied {row.seq}")


def _rows(tx: Tx, since: datetime | None, limit: int) -> Sequence[Row]:
    statement = (
        sa.select(_REQUESTS, _CUSTOMERS.c.external_id)
        .join_from(_REQUESTS, _CUSTOMERS, _CUSTOMERS.c.id == _R.customer_id, isouter=True)
        .order_by(_R.decided_at, _R.seq)
        .limit(limit)
    )
    return tx.all(statement if since is None else statement.where(_R.decided_at >= since))


def _approved(tx: Tx, since: datetime | None) -> frozenset[str]:
    """The payments and refunds that people approved, whatever became of them then."""
    statement = sa.select(_APPROVALS.c.owner_id).where(_APPROVALS.c.status.in_(("approved", "consumed")))
    if since is not None:
        statement = statement.where(_APPROVALS.c.created_at >= since)
    return frozenset(row.owner_id for row in tx.all(statement))


def _recorded(rows: Sequence[Row], approved: Container[str], enrolled: frozenset[str]) -> Recorded:
    """One request from all decisions about it: asked at the first; that it was denied in the end, the last one says."""
    first, last = rows[0], rows[-1]
    return Recorded(
        request=_request(first),
        at=first.decided_at,
        outcome=first.outcome,
        approved=first.owner_id in approved and last.outcome != "deny",
        state=State(halts=_halts(first), enrolled=enrolled, look_alike=first.look_alike),
    )


def _halts(row: Row) -> tuple[Halt, ...]:
    """Who was halted then stays so: no policy would have let it through."""
    halted = any(violation["code"] == "HALTED" for violation in json.loads(row.violations))
    return (Halt(f"agent:{row.agent}", "halted then"),) if halted else ()


def _request(row: Row) -> Request:
    """The request of a row. A customer who is not known, as after a first request that was denied, is a new one."""
    nobody = row.customer_id or _owner(row)
    currency, minor, nanos = row.currency, row.amount_minor, row.cost_nanos
    return Request(
        tool=row.operation,
        agent=row.agent,
        operation=row.operation,
        customer=row.external_id or nobody,
        payee=Payee.parse(row.payee),
        direction=row.direction,
        provider=row.provider,
        method=row.method,
        money=None if currency is None or minor is None else Money.from_minor(minor, currency),
        plan=row.plan,
        quantity=row.quantity,
        cost=None if currency is None or nanos is None else Price.from_nanos(nanos, currency),
        own_charge=row.own_charge,
        customer_ref=nobody,
        period=row.period,
        term=row.term,
    )
