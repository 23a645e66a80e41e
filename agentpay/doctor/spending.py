"""Invariant 2, of what stands now: counters, holds, and the approvals that let payments through."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from agentpay.doctor.model import Check
from agentpay.doctor.payments import OPEN
from agentpay.payments.tables import PaymentRow, RefundRow
from agentpay.spending import active
from agentpay.spending.counters import MOST, buckets
from agentpay.spending.holds import value
from agentpay.spending.tables import ApprovalRow, ApprovalVoteRow, CounterRow, HoldRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.usage.tables import UsageEventRow
from agentpay_policies.decisions import COUNT, CounterKey

_HOLDS = table(HoldRow)
_COUNTERS = table(CounterRow)
_APPROVALS = table(ApprovalRow)
_VOTES = table(ApprovalVoteRow)
_PAYMENTS = table(PaymentRow)
_REFUNDS = table(RefundRow)
_EVENTS = table(UsageEventRow)
_H, _C, _A = _HOLDS.c, _COUNTERS.c, _APPROVALS.c

_LIVE: Final = ("held", "captured")
_FACTS: Final = (
    "agent", "operation", "direction", "customer_id", "payee", "provider", "currency", "path", "approved"
)  # fmt: skip


def _counters(tx: Tx) -> list[str]:
    """Every counter of every grain, against the holds that the active policy counts in it."""
    policy = active.policy(tx)
    expected = Counter[tuple[CounterKey, str, object]]()
    keys_of: dict[tuple[object, ...], tuple[CounterKey, ...]] = {}
    for hold in tx.all(sa.select(_HOLDS).where(_H.state != "void")):
        facts = tuple(getattr(hold, name) for name in _FACTS)
        if facts not in keys_of:
            keys_of[facts] = active.keys_under(policy, hold)
        for key in keys_of[facts]:
            amount = value(hold, key.unit) if key.unit == COUNT or hold.state in _LIVE else 0
            for grain, bucket in buckets(hold.held_at).items():
                expected[key, grain, bucket] += amount
    kept = Counter[tuple[CounterKey, str, object]]()
    for row in tx.all(sa.select(_COUNTERS)):
        kept[CounterKey(row.subject, row.operation, row.direction, row.unit), row.grain, row.bucket] = int(row.value)
    return [
        f"counter of {key.subject}, {key.operation}, {key.direction}, {key.unit}, {grain} {bucket}:"
        f" {kept[key, grain, bucket]}, the holds add up to {expected[key, grain, bucket]}"
        for key, grain, bucket in sorted(expected.keys() | kept.keys(), key=str)
        if kept[key, grain, bucket] != min(expected[key, grain, bucket], MOST)
    ]


def _holds_of_owners(tx: Tx) -> list[str]:
    """Agents' payments and refunds against their live holds: one for what moved or may move, none for the rest."""
    p, r = _PAYMENTS.c, _REFUNDS.c
    subjects = sa.union_all(
        sa.select(p.id, p.status, p.principal_kind, p.amount_minor, p.currency),
        sa.select(r.id, r.status, r.principal_kind, r.amount_minor, r.currency),
    ).subquery()
    s = subjects.c
    live = sa.select(_HOLDS).where(_H.state.in_(_LIVE), _H.operation != "record_usage").subquery()
    query = sa.select(
        sa.func.coalesce(s.id, live.c.owner_id).label("id"), s.status, s.principal_kind, s.amount_minor, s.currency,
        live.c.id.label("hold"), live.c.state, live.c.amount_minor.label("held"), live.c.currency.label("held_in"),
    ).select_from(subjects.join(live, live.c.owner_id == s.id, full=True))  # fmt: skip
    rows = tx.all(query.order_by(sa.func.coalesce(s.id, live.c.owner_id)))
    times = Counter(row.id for row in rows)
    return [
        f"{row.id}: {row.status or 'there is none'}, {row.amount_minor} {row.currency};"
        f" hold {row.hold or 'missing'}, {row.state}, {row.held} {row.held_in}"
        for row in rows
        if times[row.id] > 1 or not _fits(row)
    ]


def _fits(row: Row) -> bool:
    expected = {"succeeded": "captured"} | dict.fromkeys(OPEN, "held")
    due = expected.get(row.status) if row.principal_kind == "agent" else None
    if due is None or row.hold is None:
        return due is None and row.hold is None
    return bool(row.state == due and (row.held, row.held_in) == (row.amount_minor, row.currency))


def _quorum(tx: Tx) -> list[str]:
    """Approvals that opened without the people whom every rule of theirs asks."""
    votes: dict[str, set[str]] = {}
    for vote in tx.all(sa.select(_VOTES).where(_VOTES.c.verdict == "approved")):
        votes.setdefault(vote.approval_id, set()).add(vote.approver)
    rows = tx.all(sa.select(_A.id, _A.needs, _A.status).where(_A.status.in_(("approved", "consumed"))))
    return [
        f"approval {row.id}: {row.status}, by {', '.join(sorted(votes.get(row.id, ()))) or 'nobody'}"
        for row in rows
        if not _enough(row.needs, votes.get(row.id, set()))
    ]


def _enough(needs: str, votes: set[str]) -> bool:
    try:
        asked = [(set(need["members"]), int(need["quorum"])) for need in json.loads(needs)]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(asked) and all(len(votes & members) >= max(quorum, 1) for members, quorum in asked)


def _holds_of_usage(tx: Tx) -> list[str]:
    """What is held for recorded usage, against the usage: the same cost, of the same agent, once."""
    e = _EVENTS.c
    query = sa.select(_H.id, _H.owner_id).select_from(_HOLDS.outerjoin(_EVENTS, e.id == _H.owner_id))
    wrong = sa.or_(
        e.id.is_(None),
        sa.func.coalesce(e.cost_nanos, 0) != _H.cost_nanos,
        e.principal_id != _H.agent,
        e.principal_kind != "agent",
        _H.state != "captured",
    )
    found = tx.all(query.where(_H.operation == "record_usage", wrong))
    twice = sa.select(_H.owner_id).where(_H.operation == "record_usage").group_by(_H.owner_id)
    return [f"hold {row.id}: {row.owner_id} is not what it stands for" for row in found] + [
        f"{row.owner_id}: several holds" for row in tx.all(twice.having(sa.func.count() > 1))
    ]


def _approvals_bound(tx: Tx) -> list[str]:
    """Approvals that are not about exactly the payment or refund whose id they bear. What one that has expired was
    asked for may have become something else since."""
    p, r = _PAYMENTS.c, _REFUNDS.c
    subjects = sa.union_all(
        sa.select(p.id, p.digest, p.amount_minor, p.currency), sa.select(r.id, r.digest, r.amount_minor, r.currency)
    ).subquery()
    s = subjects.c
    another = sa.and_(_A.status != "expired", s.digest != _A.digest)
    wrong = sa.or_(s.id.is_(None), another, s.amount_minor != _A.amount_minor, s.currency != _A.currency)
    query = sa.select(_A.id, _A.owner_id).outerjoin(subjects, s.id == _A.owner_id).where(wrong)
    return [f"approval {row.id}: {row.owner_id} is not what it was asked for" for row in tx.all(query)]


def _open_approvals(tx: Tx) -> list[str]:
    """Payments and refunds with several open approvals, or that wait for one that is not there."""
    opened = sa.select(_A.owner_id, sa.func.count().label("n")).where(_A.status.in_(("pending", "approved")))
    counts = {row.owner_id: int(row.n) for row in tx.all(opened.group_by(_A.owner_id))}
    p, r = _PAYMENTS.c, _REFUNDS.c
    waiting: Sequence[Row] = tx.all(
        sa.union_all(
            sa.select(p.id).where(p.status == "approval_required"),
            sa.select(r.id).where(r.status == "approval_required"),
        )
    )
    several = [f"{owner}: {count} open approvals" for owner, count in counts.items() if count > 1]
    return several + [
        f"{row.id}: approval_required, and no approval is open" for row in waiting if row.id not in counts
    ]


CHECKS: Final = (
    Check(2, "every counter is the sum of the holds that the active policy counts in it", _counters),
    Check(2, "every payment and refund of an agent has exactly the hold that its state asks for", _holds_of_owners),
    Check(2, "every hold for recorded usage has its use, and the same cost", _holds_of_usage),
    Check(2, "every approval that was given has the people whom its rules ask", _quorum),
    Check(2, "every approval is about exactly one payment or refund", _approvals_bound),
    Check(2, "what waits for people has one open approval", _open_approvals),
)
