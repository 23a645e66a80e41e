"""Enrolled agents: where a pattern of the policy says `each: true`, an id that nobody enrolled is nobody."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from agentpay.audit import log
from agentpay.principal import Principal
from agentpay.spending.tables import EnrolmentRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table

_ENROLMENTS = table(EnrolmentRow)
_E = _ENROLMENTS.c


def enrolled(tx: Tx, agent: str) -> frozenset[str]:
    """The agent itself where it is enrolled, else nothing: what a decision about it needs to know."""
    return frozenset(row.agent for row in tx.all(sa.select(_E.agent).where(_E.agent == agent)))


def listed(tx: Tx) -> tuple[str, ...]:
    """Every enrolled agent."""
    return tuple(row.agent for row in tx.all(sa.select(_E.agent).order_by(_E.agent)))


def enrol(tx: Tx, agent: str, principal: Principal, now: datetime) -> bool:
    """Enrol an agent. False where it was already."""
    new = tx.insert_new(EnrolmentRow, agent=agent, enrolled_by=str(principal), enrolled_at=now)
    if new:
        log.record(tx, principal=principal, action="agent.enrolled", object_id=f"agent:{agent}", data={}, at=now)
    return new


def withdraw(tx: Tx, agent: str, principal: Principal, now: datetime) -> bool:
    """Take an agent's enrolment back. What it spent stays counted. False where it had none."""
    gone = tx.first(sa.delete(_ENROLMENTS).where(_E.agent == agent).returning(_E.agent)) is not None
    if gone:
        log.record(tx, principal=principal, action="agent.withdrawn", object_id=f"agent:{agent}", data={}, at=now)
    return gone
