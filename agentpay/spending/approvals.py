"""Approvals: a single-use, expiring question to people about exactly one payment or refund.

An approval is found by (principal, operation, key) through its owner, and bound to what it was asked for by a digest.
Only an approver with a secret of their own can answer; no tool can.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from agentpay.audit import log
from agentpay.customers import service as customers
from agentpay.errors import ApproverRefused, Conflict, NotFound
from agentpay.ids import Ids
from agentpay.principal import SYSTEM, Principal, agent
from agentpay.spending import holds
from agentpay.spending.models import Approval, ApprovalStatus, Ask, Parked
from agentpay.spending.tables import ApprovalRow, ApprovalVoteRow
from agentpay.storage import texts
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay_policies.decisions import Decision
from agentpay_policies.money import Money
from agentpay_policies.text import identifier

_APPROVALS = table(ApprovalRow)
_A = _APPROVALS.c
_VOTES = table(ApprovalVoteRow)

OPEN = ("pending", "approved")


@dataclass(frozen=True)
class Given:
    """An approval that people gave: it may be used once. `rules` asked for it, and `approving` gave it."""

    id: str
    rules: frozenset[str]
    approving: frozenset[str]


@dataclass(frozen=True)
class Answer:
    """What an approver's word did: the approval it was about, its owner, and how the approval stands now."""

    approval_id: str
    owner_id: str
    status: ApprovalStatus


def park(tx: Tx, ask: Ask, decision: Decision, policy_hash: str, now: datetime, ids: Ids) -> Parked:
    """Ask people. The row binds the resolved effect; the policy's hash and the expiry stand beside it."""
    money = ask.request.money
    assert money is not None
    approval_id = ids.new("apr")
    expires_at = now + min(need.expires for need in decision.needs)
    earlier = tx.scalar(sa.select(sa.func.count()).where(_A.owner_id == ask.owner_id))
    needs = [{"rule": need.rule, "members": list(need.members), "quorum": need.quorum} for need in decision.needs]
    tx.insert(
        ApprovalRow,
        id=approval_id,
        owner_id=ask.owner_id,
        number=earlier + 1,
        principal_id=ask.agent,
        operation=ask.operation,
        idempotency_key=ask.key,
        digest=ask.digest,
        policy_hash=policy_hash,
        needs=json.dumps(needs),
        direction=ask.request.direction,
        customer_id=ask.customer_id,
        payee=str(ask.request.payee),
        payee_is_new=decision.payee_is_new,
        provider=ask.provider,
        amount_minor=money.minor,
        currency=money.currency,
        status="pending",
        created_at=now,
        expires_at=expires_at,
    )
    data = {"owner": ask.owner_id, "digest": ask.digest, "rules": [need.rule for need in decision.needs]}
    log.record(tx, principal=agent(ask.agent), action="approval.asked", object_id=approval_id, data=data, at=now)
    return Parked(approval_id, expires_at)


def given(tx: Tx, ask: Ask, now: datetime) -> Given | None:
    """The approval that people gave for this very owner and effect, if it can still be used."""
    row = tx.first(
        sa.select(_APPROVALS).where(_A.owner_id == ask.owner_id, _A.status == "approved").order_by(_A.number.desc())
    )
    if row is None or row.expires_at <= now or row.digest != ask.digest:
        return None
    return Given(row.id, frozenset(need["rule"] for need in json.loads(row.needs)), _approving(tx, row.id))


def used(tx: Tx, ask: Ask, now: datetime) -> Given | None:
    """The approval that this very owner and effect used up, while its time has not run out."""
    row = tx.first(
        sa.select(_APPROVALS).where(_A.owner_id == ask.owner_id, _A.status == "consumed").order_by(_A.number.desc())
    )
    if row is None or row.expires_at <= now or row.digest != ask.digest:
        return None
    return Given(row.id, frozenset(need["rule"] for need in json.loads(row.needs)), _approving(tx, row.id))


def give_back(tx: Tx, owner_id: str, now: datetime) -> None:
    """The attempt that used an approval was never sent: it may be used again until it expires."""
    given = tx.all(
        sa.update(_APPROVALS)
        .where(_A.owner_id == owner_id, _A.status == "consumed", _A.expires_at > now)
        .values(status="approved")
        .returning(_A.id)
    )
    for row in given:
        data = {"owner": owner_id}
        log.record(tx, principal=SYSTEM, action="approval.given_back", object_id=row.id, data=data, at=now)


def close(tx: Tx, approval_id: str, status: ApprovalStatus, now: datetime) -> None:
    """Let an approval end."""
    tx.execute(sa.update(_APPROVALS).where(_A.id == approval_id).values(status=status, decided_at=now))


def use(tx: Tx, given: Given, ask: Ask, now: datetime, *, up: bool) -> None:
    """Use an approval up for the decision that allows its payment; or, where the policy asks anew, replace it."""
    close(tx, given.id, "consumed" if up else "expired", now)
    action = "approval.consumed" if up else "approval.superseded"
    data = {"owner": ask.owner_id}
    log.record(tx, principal=agent(ask.agent), action=action, object_id=given.id, data=data, at=now)


def supersede(tx: Tx, owner_id: str, now: datetime) -> None:
    """What an approval was asked for has become something else: it is of no use any more, and frees what it held."""
    _supersede(tx, owner_id, ("approved", "consumed"), now)


def supersede_open(tx: Tx, owner_id: str, now: datetime) -> None:
    """An approval that is open is of no use: what it was asked for is asked anew, or has happened already."""
    _supersede(tx, owner_id, OPEN, now)


def _supersede(tx: Tx, owner_id: str, statuses: tuple[str, ...], now: datetime) -> None:
    ended = tx.all(
        sa.update(_APPROVALS)
        .where(_A.owner_id == owner_id, _A.status.in_(statuses))
        .values(status="expired", decided_at=now)
        .returning(_A.id)
    )
    for row in ended:
        data = {"owner": owner_id}
        log.record(tx, principal=SYSTEM, action="approval.superseded", object_id=row.id, data=data, at=now)
    holds.void(tx, owner_id, now)


def pending_of(tx: Tx, agent_id: str) -> int:
    """How many of an agent's requests wait for people."""
    found: int = tx.scalar(sa.select(sa.func.count()).where(_A.principal_id == agent_id, _A.status == "pending"))
    return found


def due(tx: Tx, now: datetime, limit: int) -> Sequence[Row]:
    """Open approvals whose time has run out: (id, owner_id)."""
    return tx.all(
        sa.select(_A.id, _A.owner_id)
        .where(_A.status.in_(OPEN), _A.expires_at <= now)
        .order_by(_A.expires_at)
        .limit(limit)
    )


def expire(tx: Tx, approval_id: str, principal: Principal) -> Answer | None:
    """End an approval whose time has run out, and free what it held. Lock its owner first. None: it had ended."""
    row = _locked(tx, approval_id)
    now = tx.now(row.created_at)
    if row.status not in OPEN or row.expires_at > now:
        return None
    close(tx, approval_id, "expired", now)
    holds.void(tx, row.owner_id, now)
    log.record(tx, principal=principal, action="approval.expired", object_id=approval_id, data={}, at=now)
    return Answer(approval_id, row.owner_id, "expired")


def owner_of(tx: Tx, approval_id: str) -> str:
    """The payment or refund that an approval is about.

    Raises:
        NotFound: there is no such approval.
    """
    owner: str | None = tx.scalar(sa.select(_A.owner_id).where(_A.id == identifier(approval_id, "approval_id")))
    if owner is None:
        raise NotFound(f"There is no approval {approval_id[:60]!r}.")
    return owner


def vote(tx: Tx, approval_id: str, approver: str, verdict: str) -> Answer:
    """Enter what an approver, whose secret was checked, said. One denial ends it; the last approval needed opens it.

    Lock the owner first. Saying the same again changes nothing.

    Raises:
        ApproverRefused: no rule of this approval asks that person, or it is the one who asks.
        Conflict: it was decided or has expired, or the person said the opposite before.
    """
    row = _locked(tx, approval_id)
    now = tx.now(row.created_at)
    needs = json.loads(row.needs)
    if approver == row.principal_id:
        raise ApproverRefused("Nobody approves what they ask for themselves.")
    if not any(approver in need["members"] for need in needs):
        raise ApproverRefused(f"{approver} is not asked for this approval.")
    if row.status != "pending" or row.expires_at <= now:
        stands = "expired" if row.status == "pending" else row.status
        raise Conflict(f"The approval is {stands} already.", next_step="Nothing can be decided about it any more.")
    if not tx.insert_new(ApprovalVoteRow, approval_id=approval_id, approver=approver, verdict=verdict, voted_at=now):
        raise Conflict(f"{approver} has answered already.")
    log.record(
        tx, principal=Principal("operator", approver), action=f"approval.{verdict}", object_id=approval_id,
        data={"digest": row.digest}, at=now,
    )  # fmt: skip
    status: ApprovalStatus = "pending"
    if verdict == "denied":
        status = "denied"
        holds.void(tx, row.owner_id, now)
    elif _enough(needs, _approving(tx, approval_id)):
        status = "approved"
    if status != "pending":
        close(tx, approval_id, status, now)
    return Answer(approval_id, row.owner_id, status)


def latest(tx: Tx, owner_id: str) -> Row | None:
    """The newest approval of a payment or refund."""
    return tx.first(sa.select(_APPROVALS).where(_A.owner_id == owner_id).order_by(_A.number.desc()).limit(1))


def get(tx: Tx, approval_id: str, *, agent_id: str | None) -> Approval:
    """An approval as it stands. An agent sees its own only.

    Raises:
        NotFound: there is none, or it is another agent's.
    """
    row = tx.first(sa.select(_APPROVALS).where(_A.id == identifier(approval_id, "approval_id")))
    if row is None or (agent_id is not None and row.principal_id != agent_id):
        raise NotFound(f"There is no approval {approval_id[:60]!r}.")
    return described(tx, row, tx.now())


def listed(tx: Tx, status: ApprovalStatus | None, limit: int) -> tuple[Approval, ...]:
    """Approvals, the newest first."""
    statement = sa.select(_APPROVALS).order_by(_A.created_at.desc(), _A.id).limit(limit)
    if status is not None:
        statement = statement.where(_A.status == status)
    now = tx.now()
    found = (described(tx, row, now) for row in tx.all(statement))
    return tuple(approval for approval in found if status is None or approval.status == status)


def described(tx: Tx, row: Row, now: datetime) -> Approval:
    """The row with what people need to decide by."""
    status: ApprovalStatus = "expired" if row.status in OPEN and row.expires_at <= now else row.status
    needs = json.loads(row.needs)
    approving = _approving(tx, row.id)
    money = Money.from_minor(row.amount_minor, row.currency)
    return Approval(
        id=row.id,
        status=status,
        payment_id=row.owner_id,
        operation=row.operation,
        direction=row.direction,
        customer=customers.by_id(tx, row.customer_id).external_id,
        amount=money.amount,
        currency=money.currency,
        payee=row.payee,
        payee_is_new=row.payee_is_new,
        provider=row.provider,
        agent=row.principal_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        votes=len(approving),
        needed=max((need["quorum"] for need in needs), default=0),
        next_step=_NEXT[status],
        approvers=tuple(sorted({member for need in needs for member in need["members"]})),
        description=texts.text_of(tx, row.owner_id, "description"),
    )


_NEXT: dict[ApprovalStatus, str] = {
    "pending": "Wait: a person has to decide. Then make the same call again with the same idempotency key.",
    "approved": "Make the same call again, with the same arguments and idempotency key: it runs once.",
    "denied": "A person said no. Do not ask for the same again.",
    "expired": "Nobody decided in time. Ask again with a new idempotency key if it is still wanted.",
    "consumed": "The payment was made by it; read the payment.",
}


def _locked(tx: Tx, approval_id: str) -> Row:
    rows = tx.lock(sa.select(_APPROVALS).where(_A.id == approval_id))
    if not rows:
        raise NotFound(f"There is no approval {approval_id[:60]!r}.")
    return rows[0]


def _approving(tx: Tx, approval_id: str) -> frozenset[str]:
    votes = sa.select(_VOTES.c.approver).where(_VOTES.c.approval_id == approval_id, _VOTES.c.verdict == "approved")
    return frozenset(row.approver for row in tx.all(votes))


def _enough(needs: Sequence[dict[str, object]], approving: frozenset[str]) -> bool:
    """Whether every rule has its quorum of distinct people from its own group."""
    return all(len(approving & frozenset(need["members"])) >= need["quorum"] for need in needs)  # type: ignore[operator,call-overload]
