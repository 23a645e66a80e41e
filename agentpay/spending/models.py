"""What the gate takes and gives: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from agentpay_policies.decisions import Decision, Request, Violation
from agentpay_policies.memo import MemoRule
from agentpay_policies.names import Direction, Operation
from agentpay_policies.policy import Duplicates

ApprovalStatus = Literal["pending", "approved", "denied", "expired", "consumed"]


@dataclass(frozen=True)
class Ask:
    """An agent's request for money, resolved. `owner_id` is the payment or refund that the hold will stand for, and
    `look_alike` a payment that looks the same, unless the caller named it as distinct."""

    request: Request
    owner_id: str
    operation: Operation
    key: str
    digest: str
    customer_id: str
    provider: str
    look_alike: str | None = None

    @property
    def agent(self) -> str:
        """The agent that asks."""
        return self.request.agent


@dataclass(frozen=True)
class Rules:
    """What the active policy says of an agent's charges beside the decision: how long a look-alike is suspected and
    what is done about it, and how the text for the payee is made (None: none is sent)."""

    duplicate_window: timedelta = timedelta(0)
    duplicates: Duplicates = "deny"
    memo: MemoRule | None = None


@dataclass(frozen=True)
class Allowed:
    """Go: the hold is taken."""


@dataclass(frozen=True)
class Parked:
    """People must approve first; the hold is taken until the approval expires."""

    approval_id: str
    expires_at: datetime


@dataclass(frozen=True)
class Denied:
    """No: the decision says why, in the agent's view and in the operator's."""

    request: Request
    decision: Decision
    policy_hash: str | None

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Every reason, in the agent's view."""
        return self.decision.violations


Verdict = Allowed | Parked | Denied


@dataclass(frozen=True)
class Approval:
    """An approval as it stands, for the agent that asked and for the people who decide."""

    id: str
    status: ApprovalStatus
    payment_id: str
    operation: Operation
    direction: Direction
    customer: str
    amount: Decimal
    currency: str
    payee: str
    payee_is_new: bool
    provider: str
    agent: str
    created_at: datetime
    expires_at: datetime
    votes: int
    needed: int
    next_step: str
    approvers: tuple[str, ...] = ()
    description: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class ActivePolicy:
    """The policy by which this database decides. `loosened` says what it allows more than the one before."""

    version: int
    id: str
    hash: str
    applied_by: str
    applied_at: datetime
    loosened: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changed: bool = False


@dataclass(frozen=True)
class Approver:
    """A person who may approve."""

    name: str
    enrolled_by: str
    enrolled_at: datetime
    locked_until: datetime | None
