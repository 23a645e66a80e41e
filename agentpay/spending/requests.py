"""What agents asked for, allowed or not: what another policy is tried on, and where people read why one was denied."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

from agentpay.spending.tables import DecisionRequestRow
from agentpay.storage.transaction import Tx
from agentpay_policies.decisions import Decision, OperatorViolation, Request, Shadowed


def keep(
    tx: Tx,
    request: Request,
    decision: Decision,
    policy_hash: str | None,
    now: datetime,
    *,
    owner_id: str | None = None,
) -> None:
    """Write a request down with its answer, in the operator's view. No agent reads it."""
    tx.insert(
        DecisionRequestRow,
        agent=request.agent,
        operation=request.tool,
        direction=request.direction,
        customer_id=request.customer_ref,
        payee=str(request.payee),
        provider=request.provider,
        method=request.method,
        currency=request.money.currency if request.money else request.cost.currency if request.cost else None,
        amount_minor=request.money.minor if request.money else None,
        plan=request.plan,
        quantity=request.quantity,
        cost_nanos=request.cost.nanos if request.cost else None,
        own_charge=request.own_charge,
        period=request.period,
        term=request.term,
        look_alike=decision.look_alike,
        outcome=decision.outcome,
        violations=json.dumps([_plain(one) for one in decision.for_operator]),
        shadow=json.dumps([_shadowed(one) for one in decision.shadow]),
        owner_id=owner_id,
        policy_hash=policy_hash,
        decided_at=now,
    )


def _plain(violation: OperatorViolation) -> dict[str, object]:
    facts = asdict(violation)
    facts["retry_at"] = violation.retry_at.isoformat() if violation.retry_at else None
    return {name: fact for name, fact in facts.items() if fact not in (None, "", (), [])}


def _shadowed(shadow: Shadowed) -> dict[str, object]:
    reason = {} if shadow.violation is None else {"violation": _plain(shadow.violation)}
    return {"rule": shadow.pointer, "outcome": shadow.outcome, **reason}
