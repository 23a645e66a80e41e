"""What a decision that lets something through writes: itself with every cap, the hold, the counters, the notices."""

from __future__ import annotations

import json
from datetime import datetime

from agentpay.ids import Ids
from agentpay.spending import holds, requests
from agentpay.spending.counters import EPOCH
from agentpay.spending.models import Ask
from agentpay.spending.tables import DecisionRow, HoldRow, NoticeRow
from agentpay.storage import outbox
from agentpay.storage.transaction import Tx
from agentpay.storage.types import to_micros
from agentpay_policies.decisions import Decision, Notice, Request
from agentpay_policies.limits import figure, weight
from agentpay_policies.policy import Policy


def hold(
    tx: Tx,
    ids: Ids,
    policy: Policy,
    ask: Ask,
    decision: Decision,
    now: datetime,
    *,
    approved: bool,
    parked: bool,
) -> None:
    """Take the hold of a payment or refund, and count it."""
    money = ask.request.money
    assert money is not None, "only money is held"
    _taken(
        tx,
        HoldRow(
            id=ids.new("hld"),
            owner_id=ask.owner_id,
            decision_id=_decided(tx, ids, policy, ask.request, ask.owner_id, decision, now),
            agent=ask.agent,
            path="\n".join(decision.path),
            operation=ask.operation,
            direction=ask.request.direction,
            customer_id=ask.customer_id,
            payee=str(ask.request.payee),
            provider=ask.provider,
            currency=money.currency,
            amount_minor=money.minor,
            weight_minor=weight(policy.agent(ask.agent), ask.request),
            approved=approved,
            restores=decision.restores_budget,
            kind="approval" if parked else "attempt",
            state="held",
            held_at=now,
        ),
        decision,
        now,
    )


def count_usage(
    tx: Tx,
    ids: Ids,
    policy: Policy,
    request: Request,
    owner_id: str,
    customer_id: str,
    decision: Decision,
    now: datetime,
) -> None:
    """Count recorded usage: it is spent with the decision."""
    cost = request.cost
    _taken(
        tx,
        HoldRow(
            id=ids.new("hld"),
            owner_id=owner_id,
            decision_id=_decided(tx, ids, policy, request, owner_id, decision, now),
            agent=request.agent,
            path="\n".join(decision.path),
            operation="record_usage",
            direction=request.direction,
            customer_id=customer_id,
            payee=str(request.payee),
            currency=cost.currency if cost else "",
            amount_minor=0,
            weight_minor=0,
            cost_nanos=cost.nanos if cost else 0,
            kind="usage",
            state="captured",
            held_at=now,
            ended_at=now,
        ),
        decision,
        now,
    )


def _taken(tx: Tx, row: HoldRow, decision: Decision, now: datetime) -> None:
    holds.take(tx, row)
    for notice in decision.notices:
        _tell(tx, row.agent, notice, now)


def _decided(
    tx: Tx, ids: Ids, policy: Policy, request: Request, owner_id: str, decision: Decision, now: datetime
) -> str:
    """Write down the decision with every cap that it was held against."""
    decision_id = ids.new("dec")
    checks = [
        {
            "rule": check.pointer,
            "subject": holds.opaque(tx, check.subject),
            "unit": check.unit,
            "cap": str(check.cap),
            "total": str(check.total),
            "attempted": str(check.attempted),
            "from": None if check.window_start is None else str(to_micros(check.window_start)),
        }
        for check in decision.checks
    ]
    tx.insert(
        DecisionRow,
        id=decision_id,
        owner_id=owner_id,
        agent=request.agent,
        operation=request.tool,
        outcome=decision.outcome,
        policy_hash=policy.hash,
        checks=json.dumps(checks),
        decided_at=now,
    )
    requests.keep(tx, request, decision, policy.hash, now, owner_id=owner_id)
    return decision_id


def _tell(tx: Tx, agent: str, notice: Notice, now: datetime) -> None:
    """Let people hear that a part of a limit is full: once for each limit, window and threshold."""
    subject = holds.opaque(tx, notice.subject)
    new = tx.insert_new(
        NoticeRow,
        rule=notice.pointer,
        subject=subject,
        unit=notice.unit,
        threshold=str(notice.threshold),
        window_start=notice.window_start or EPOCH,
        told_at=now,
    )
    if new:
        data = {
            "rule": notice.pointer,
            "agent": agent,
            "subject": subject,
            "threshold": str(notice.threshold),
            "used": figure(notice.used, notice.unit),
            "cap": figure(notice.cap, notice.unit),
        }
        outbox.tell(tx, "policy.notice", notice.pointer, data, now)
