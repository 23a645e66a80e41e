"""Invariant 9: what stands in the tables is what the audit says happened last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, get_args

import sqlalchemy as sa

from agentpay.audit.tables import AuditRow
from agentpay.doctor.model import Check
from agentpay.payments.models import PaymentStatus
from agentpay.payments.tables import PaymentRow, RefundRow
from agentpay.spending.tables import ApprovalRow, ApprovalVoteRow, ApproverRow, HaltRow, PolicyRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table
from agentpay.subscriptions.tables import SubscriptionRow
from agentpay.usage.tables import UsageEventRow

_LOG = table(AuditRow)
_APPROVALS = table(ApprovalRow)
_VOTES = table(ApprovalVoteRow)
_APPROVERS = table(ApproverRow)
_HALTS = table(HaltRow)
_POLICIES = table(PolicyRow)
_EVENTS = table(UsageEventRow)

_STATUSES: Final = get_args(PaymentStatus)
_SUBSCRIPTION: Final = {
    "subscription.begun": "incomplete",
    "subscription.reopened": "incomplete",
    "subscription.activated": "active",
    "subscription.renewed": "active",
    "subscription.past_due": "past_due",
    "subscription.canceled": "canceled",
    "subscription.expired": "expired",
}
_APPROVAL: Final = {"denied": "approval.denied", "approved": "approval.approved", "consumed": "approval.consumed"}


def _payments(tx: Tx) -> list[str]:
    return _not_as_told(tx, table(PaymentRow), _told_of("payment"))


def _refunds(tx: Tx) -> list[str]:
    return _not_as_told(tx, table(RefundRow), _told_of("refund"))


def _subscriptions(tx: Tx) -> list[str]:
    return _not_as_told(tx, table(SubscriptionRow), _SUBSCRIPTION)


def _told_of(kind: str) -> Mapping[str, str]:
    """The actions after which a payment or refund is in a state."""
    return {f"{kind}.opened": "pending"} | {f"{kind}.{status}": status for status in _STATUSES}


def _told_of_nothing(tx: Tx) -> list[str]:
    """What the audit tells of and is in no table: rows are never removed."""
    kinds = (
        (table(PaymentRow), _told_of("payment")),
        (table(RefundRow), _told_of("refund")),
        (table(SubscriptionRow), _SUBSCRIPTION),
    )
    found: list[str] = []
    for subjects, told in kinds:
        there = sa.exists().where(subjects.c.id == _LOG.c.object_id)
        query = sa.select(_LOG.c.object_id, _LOG.c.action).where(_LOG.c.action.in_(list(told)), ~there)
        found += [f"{row.object_id}: missing, the audit says {row.action}" for row in tx.all(query)]
    return found


def _not_as_told(tx: Tx, subjects: sa.Table, told: Mapping[str, str]) -> list[str]:
    """Rows whose state is not that of their newest audit row which tells of one."""
    newest = (
        sa.select(_LOG.c.object_id, sa.func.max(_LOG.c.seq).label("seq"))
        .where(_LOG.c.action.in_(list(told)))
        .group_by(_LOG.c.object_id)
        .subquery()
    )
    rows = (
        sa.select(newest.c.object_id, _LOG.c.action)
        .select_from(newest.join(_LOG, _LOG.c.seq == newest.c.seq))
        .subquery()
    )  # fmt: skip
    query = sa.select(subjects.c.id, subjects.c.status, rows.c.action)
    query = query.select_from(subjects.outerjoin(rows, rows.c.object_id == subjects.c.id))
    return [
        f"{row.id}: it is {row.status}, the audit says {row.action or 'nothing'}"
        for row in tx.all(query)
        if row.action is None or told[row.action] != row.status
    ]


def _approvals(tx: Tx) -> list[str]:
    """Approvals that nobody is said to have asked for, or that do not stand as the audit says."""
    actions = _actions(tx, "approval.")
    found: list[str] = []
    for row in tx.all(sa.select(_APPROVALS.c.id, _APPROVALS.c.status)):
        said = actions.get(row.id, set())
        if "approval.asked" not in said or _APPROVAL.get(row.status, "approval.asked") not in said:
            found.append(
                f"approval {row.id}: it is {row.status}, the audit says {', '.join(sorted(said)) or 'nothing'}"
            )
    return found


def _votes(tx: Tx) -> list[str]:
    """Votes without the approver's own audit row, and audit rows of votes that are not there."""
    said = {
        (row.object_id, row.principal.partition(":")[2], row.action.removeprefix("approval."))
        for row in tx.all(
            sa.select(_LOG.c.object_id, _LOG.c.principal, _LOG.c.action).where(
                _LOG.c.action.in_(("approval.approved", "approval.denied"))
            )
        )
    }
    given = {(row.approval_id, row.approver, row.verdict) for row in tx.all(sa.select(_VOTES))}
    return [f"approval {vote[0]}: {vote[1]} is only said to have it {vote[2]}" for vote in sorted(said - given)] + [
        f"approval {vote[0]}: no audit row says that {vote[1]} has it {vote[2]}" for vote in sorted(given - said)
    ]


def _policies(tx: Tx) -> list[str]:
    """Versions of the policy and the audit rows of their becoming active, one for one."""
    applied = [json.loads(row.body) for row in tx.all(sa.select(_LOG.c.body).where(_LOG.c.action == "policy.applied"))]
    said = {(str(body["object"]), str(body["data"].get("version")), str(body["data"].get("hash"))) for body in applied}
    p = _POLICIES.c
    rows = tx.all(sa.select(p.version, p.policy_id, p.hash))
    kept = {(f"policy:{row.policy_id}", str(row.version), row.hash) for row in rows}
    return [f"{what[0]}, version {what[1]}, {what[2][:12]}: in the audit only" for what in sorted(said - kept)] + [
        f"{what[0]}, version {what[1]}, {what[2][:12]}: no audit row says so" for what in sorted(kept - said)
    ]


def _approvers(tx: Tx) -> list[str]:
    said = {object_id for object_id, actions in _actions(tx, "approver.").items() if "approver.enrolled" in actions}
    kept = {f"approver:{row.name}" for row in tx.all(sa.select(_APPROVERS.c.name))}
    return [f"{name}: enrolled only in {'the audit' if name in said else 'the table'}" for name in sorted(said ^ kept)]


def _halts(tx: Tx) -> list[str]:
    """Halts that are in force without having been given, or given and neither in force nor resumed."""
    query = sa.select(_LOG.c.object_id, _LOG.c.action).order_by(_LOG.c.seq)
    rows = tx.all(query.where(_LOG.c.action.in_(("spending.halted", "spending.resumed"))))
    newest = {row.object_id: row.action for row in rows}
    said = {object_id for object_id, action in newest.items() if action == "spending.halted"}
    kept = {f"halt:{row.scope}" for row in tx.all(sa.select(_HALTS.c.scope))}
    return [f"{name}: in force only by {'the audit' if name in said else 'the table'}" for name in sorted(said ^ kept)]


def _usage(tx: Tx) -> list[str]:
    told = sa.exists().where(_LOG.c.object_id == _EVENTS.c.id, _LOG.c.action == "usage.recorded")
    return [f"usage {row.id}: no audit row tells of it" for row in tx.all(sa.select(_EVENTS.c.id).where(~told))]


def _actions(tx: Tx, prefix: str) -> dict[str, set[str]]:
    """What the audit says of each object, by the beginning of the actions."""
    found: dict[str, set[str]] = {}
    query = sa.select(_LOG.c.object_id, _LOG.c.action).where(_LOG.c.action.startswith(prefix, autoescape=True))
    rows: Sequence[sa.Row[tuple[str, str]]] = tx.all(query)
    for row in rows:
        found.setdefault(row.object_id, set()).add(row.action)
    return found


CHECKS: Final = (
    Check(9, "every payment is in the state that the audit says last", _payments),
    Check(9, "every refund is in the state that the audit says last", _refunds),
    Check(9, "every subscription is in the state that the audit says last", _subscriptions),
    Check(9, "every payment, refund and subscription that the audit tells of is there", _told_of_nothing, across=True),
    Check(9, "every approval was asked for and answered as the audit says", _approvals),
    Check(9, "every vote of an approver is in the audit, and the other way round", _votes),
    Check(9, "every version of the policy is in the audit, and the other way round", _policies),
    Check(9, "every approver was enrolled by the audit, and the other way round", _approvers),
    Check(9, "who is halted is who the audit says", _halts),
    Check(9, "every use that is counted is in the audit", _usage),
)
