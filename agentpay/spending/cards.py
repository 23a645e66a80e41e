"""The card by which a person decides: what an approval is about, why it is asked, what the agent spent and has left.

Whatever the agent wrote stands in it with hidden characters as escapes: nothing on it acts on who reads it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

import sqlalchemy as sa

from agentpay.spending import active
from agentpay.spending.models import Approval, ApprovalStatus
from agentpay.spending.standing import Standing, standings
from agentpay.spending.tables import ApprovalRow, ApprovalVoteRow, HoldRow
from agentpay.storage import texts
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay_policies.decisions import Request
from agentpay_policies.explain import rule_said
from agentpay_policies.money import Money
from agentpay_policies.names import Direction, Operation
from agentpay_policies.policy import ApprovalRule, Policy
from agentpay_policies.text import escaped
from agentpay_policies.windows import Window

_APPROVALS = table(ApprovalRow)
_VOTES = table(ApprovalVoteRow)
_HOLDS = table(HoldRow)
_H = _HOLDS.c

_SPENT: Final = ("charge", "subscribe")


@dataclass(frozen=True)
class Effect:
    """What approving does, as the payment or refund says it: the request, and through which account it goes."""

    request: Request
    account: str
    mode: str
    refund_of: str | None = None


@dataclass(frozen=True)
class Asking:
    """A rule that asks: in a sentence as the active policy has it (empty where it has it no more), whom, how many of
    them, and who approved already."""

    rule: str
    sentence: str
    members: tuple[str, ...]
    quorum: int
    approved_by: tuple[str, ...]


@dataclass(frozen=True)
class Today:
    """What the agent charged and subscribed since midnight in the policy's time zone, in the currency of the card.
    `waiting` is held and not moved yet; the money of the card itself stands in none of them."""

    since: datetime
    collected: Money
    sent: Money
    waiting: Money


@dataclass(frozen=True)
class Card:
    """Everything to decide an approval by. `limits` and `today` are as of now, without what the card is about;
    `policy_changed` says that another policy is active than when it was asked: that one decides when it runs."""

    id: str
    status: ApprovalStatus
    operation: Operation
    direction: Direction
    agent: str
    customer: str
    payee: str
    payee_is_new: bool
    amount: Decimal
    currency: str
    provider: str
    account: str
    mode: str
    method: str | None
    plan: str | None
    description: str | None
    memo: str | None
    payment_id: str
    refund_of: str | None
    created_at: datetime
    expires_at: datetime
    votes: int
    needed: int
    asked_by: tuple[Asking, ...]
    limits: tuple[Standing, ...]
    today: Today
    policy_changed: bool

    def as_data(self) -> dict[str, object]:
        """The card as JSON holds it: amounts as decimal strings, times in ISO 8601."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def card(tx: Tx, approval: Approval, effect: Effect) -> Card:
    """The card of an approval, as of now."""
    row = tx.all(sa.select(_APPROVALS).where(_APPROVALS.c.id == approval.id))[0]
    policy, request, now = active.policy(tx), effect.request, tx.now()
    own = tx.first(sa.select(_HOLDS).where(_H.owner_id == approval.payment_id, _H.state == "held"))
    return Card(
        id=approval.id,
        status=approval.status,
        operation=approval.operation,
        direction=approval.direction,
        agent=approval.agent,
        customer=escaped(approval.customer),
        payee=approval.payee,
        payee_is_new=approval.payee_is_new,
        amount=approval.amount,
        currency=approval.currency,
        provider=approval.provider,
        account=effect.account,
        mode=effect.mode,
        method=None if request.method is None else escaped(request.method),
        plan=request.plan,
        description=None if approval.description is None else escaped(approval.description),
        memo=texts.text_of(tx, approval.payment_id, "memo"),
        payment_id=approval.payment_id,
        refund_of=effect.refund_of,
        created_at=approval.created_at,
        expires_at=approval.expires_at,
        votes=approval.votes,
        needed=approval.needed,
        asked_by=_asking(tx, row, policy),
        limits=standings(tx, policy, request, now, own=own),
        today=_today(tx, policy, approval, now),
        policy_changed=policy is not None and policy.hash != row.policy_hash,
    )


def _asking(tx: Tx, row: Row, policy: Policy | None) -> tuple[Asking, ...]:
    votes = sa.select(_VOTES.c.approver).where(_VOTES.c.approval_id == row.id, _VOTES.c.verdict == "approved")
    approving = {vote.approver for vote in tx.all(votes)}
    entry = policy.agent(row.principal_id) if policy else None
    rules = {rule.id: rule for rule in entry.approvals} if entry else {}
    return tuple(
        Asking(
            rule=need["rule"],
            sentence=_sentence(policy, rules.get(need["rule"])),
            members=tuple(need["members"]),
            quorum=need["quorum"],
            approved_by=tuple(sorted(approving.intersection(need["members"]))),
        )
        for need in json.loads(row.needs)
    )


def _sentence(policy: Policy | None, rule: ApprovalRule | None) -> str:
    return "" if policy is None or rule is None else rule_said(policy, rule)


def _today(tx: Tx, policy: Policy | None, approval: Approval, now: datetime) -> Today:
    since = Window(kind="calendar", unit="day", tz=policy.timezone if policy else "UTC").start(now)
    assert since is not None, "a day has a beginning"
    rows = tx.all(
        sa.select(_H.direction, _H.state, sa.func.sum(_H.amount_minor).label("minor"))
        .where(_H.agent == approval.agent, _H.currency == approval.currency, _H.operation.in_(_SPENT))
        .where(_H.state.in_(("held", "captured")), _H.held_at >= since, _H.owner_id != approval.payment_id)
        .group_by(_H.direction, _H.state)
    )

    def money(found: Sequence[Row]) -> Money:
        return Money.from_minor(sum(int(row.minor) for row in found), approval.currency)

    return Today(
        since=since,
        collected=money([row for row in rows if (row.state, row.direction) == ("captured", "collect")]),
        sent=money([row for row in rows if (row.state, row.direction) == ("captured", "send")]),
        waiting=money([row for row in rows if row.state == "held"]),
    )


def _plain(value: object) -> object:
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case dict():
            return {str(name): _plain(one) for name, one in value.items()}
        case tuple() | list():
            return [_plain(one) for one in value]
    return value
