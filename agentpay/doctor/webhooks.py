"""Invariant 6: an event is stored once, and what it is said to have done stands."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from agentpay.audit.tables import AuditRow
from agentpay.customers.tables import CustomerRow
from agentpay.doctor.model import Check
from agentpay.ledger.tables import LedgerTransactionRow
from agentpay.payments.tables import DisputeRow, PaymentRow, RefundRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table
from agentpay.webhooks.tables import WebhookEventRow, WebhookNewsRow

_EVENTS = table(WebhookEventRow)
_NEWS = table(WebhookNewsRow)
_LOG = table(AuditRow)
_POSTED = table(LedgerTransactionRow)
_DISPUTES = table(DisputeRow)
_E, _N, _D = _EVENTS.c, _NEWS.c, _DISPUTES.c
_OBJECTS: Final = (table(PaymentRow), table(RefundRow), _DISPUTES, table(CustomerRow))


def _once(tx: Tx) -> list[str]:
    same = (_E.provider, _E.account, _E.event_id)
    times = sa.func.count().label("times")
    rows = tx.all(sa.select(*same, times).group_by(*same).having(sa.or_(sa.func.count() > 1, _E.event_id == "")))
    return [f"event {row.event_id} of {row.provider} {row.account}: stored {row.times} times" for row in rows]


def _statuses(tx: Tx) -> list[str]:
    """An event waits while something of it does, and is ignored where it tells nothing."""
    waiting = sa.func.coalesce(sa.func.sum(sa.case((_N.status == "waiting", 1), else_=0)), 0).label("waiting")
    told = sa.func.count(_N.position).label("told")
    joined = _EVENTS.outerjoin(_NEWS, _N.event_id == _E.id)
    rows = tx.all(sa.select(_E.id, _E.status, waiting, told).select_from(joined).group_by(_E.id, _E.status))
    return [
        f"event {row.id}: {row.status}, and {row.waiting} of {row.told} pieces of news wait"
        for row in rows
        if row.status not in _allowed(int(row.waiting), int(row.told))
    ]


def _allowed(waiting: int, told: int) -> set[str]:
    if told == 0:
        return {"ignored"}
    return {"waiting", "expired"} if waiting else {"applied"}


def _effects(tx: Tx) -> list[str]:
    """What news are said to have changed: the object is there, and a success that was told is one."""
    objects = [sa.select(one.c.id, _status_of(one).label("stands")) for one in _OBJECTS]
    strays = sa.select(_POSTED.c.object_id.label("id"), sa.literal("there").label("stands"))
    known = sa.union_all(*objects, strays.where(_POSTED.c.event == "stray.received")).subquery()
    missing = sa.and_(_N.object_id.is_not(None), known.c.id.is_(None))
    success = _N.change.in_(("payment.succeeded", "refund.succeeded"))
    undone = sa.and_(success, known.c.stands != "succeeded")
    joined = _NEWS.outerjoin(known, known.c.id == _N.object_id)
    query = sa.select(_N.event_id, _N.object_id, _N.change, known.c.stands).select_from(joined)
    nothing = sa.and_(_N.status == "applied", _N.object_id.is_(None))
    return [
        f"event {row.event_id}: {row.change or 'news'} of {row.object_id or 'nothing'}, which is"
        f" {row.stands or 'missing'}"
        for row in tx.all(query.where(sa.or_(missing, undone, nothing)))
    ]


def _status_of(one: sa.Table) -> sa.ColumnElement[str]:
    return one.c.status if "status" in one.c else sa.literal("there")


def _disputes_told(tx: Tx) -> list[str]:
    """A dispute stands as its newest audit row says, and somebody told of it."""
    told = [
        f"{kind}.{status}"
        for kind, ends in (("dispute", ("open", "won", "lost")), ("reversal", ("reversed", "restored")))
        for status in ends
    ]
    newest = sa.select(_LOG.c.object_id, sa.func.max(_LOG.c.seq).label("seq")).where(_LOG.c.action.in_(told))
    rows = newest.group_by(_LOG.c.object_id).subquery()
    joined = _DISPUTES.outerjoin(rows, rows.c.object_id == _D.id).outerjoin(_LOG, _LOG.c.seq == rows.c.seq)
    query = sa.select(_D.id, (_D.kind + "." + _D.status).label("stands"), _LOG.c.action).select_from(joined)
    return [
        f"dispute {row.id}: {row.stands}, the audit says {row.action or 'nothing'}"
        for row in tx.all(query)
        if row.action != row.stands
    ]


CHECKS: Final = (
    Check(6, "a webhook event is stored once by its provider, account and id", _once),
    Check(6, "an event waits while something of it waits, and only then", _statuses),
    Check(6, "what applied events are said to have changed is there", _effects, across=True),
    Check(9, "the state of every dispute and reversal is that of its newest audit row", _disputes_told),
)
