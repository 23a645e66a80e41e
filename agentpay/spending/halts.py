"""Halts: an operator's stop, for one agent or for all. It takes effect with the next decision."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from agentpay.audit import log
from agentpay.principal import Principal
from agentpay.spending.tables import HaltRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table
from agentpay_policies.decisions import Halt

_HALTS = table(HaltRow)

EVERYBODY = "all"


def scope_of(agent: str | None) -> str:
    """The scope of a halt: one agent's, or everybody's."""
    return EVERYBODY if agent is None else f"agent:{agent}"


def halts(tx: Tx) -> tuple[Halt, ...]:
    """Every halt in force."""
    return tuple(Halt(scope=row.scope, reason=row.reason) for row in tx.all(sa.select(_HALTS).order_by(_HALTS.c.scope)))


def is_halted(tx: Tx, agent: str) -> bool:
    """Whether an agent is halted, alone or with all."""
    return any(one.scope in (EVERYBODY, scope_of(agent)) for one in halts(tx))


def everybody_is_halted(tx: Tx) -> bool:
    """Whether all are halted, not only some agents."""
    return tx.first(sa.select(_HALTS.c.scope).where(_HALTS.c.scope == EVERYBODY)) is not None


def halt(tx: Tx, agent: str | None, reason: str, principal: Principal, now: datetime) -> None:
    """Stop an agent, or all of them. Halting twice is one halt."""
    scope = scope_of(agent)
    if tx.insert_new(HaltRow, scope=scope, halted_by=str(principal), reason=reason, halted_at=now):
        log.record(tx, principal=principal, action="spending.halted", object_id=f"halt:{scope}", data={}, at=now)


def resume(tx: Tx, agent: str | None, principal: Principal, now: datetime) -> bool:
    """Let an agent, or all of them, go on. False where there was no such halt."""
    scope = scope_of(agent)
    gone = tx.first(sa.delete(_HALTS).where(_HALTS.c.scope == scope).returning(_HALTS.c.scope)) is not None
    if gone:
        log.record(tx, principal=principal, action="spending.resumed", object_id=f"halt:{scope}", data={}, at=now)
    return gone
