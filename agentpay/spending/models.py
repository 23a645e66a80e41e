"""What the gate takes and gives: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from agentpay_policies.decisions import Request, Violation
from agentpay_policies.names import Direction, Operation

ApprovalStatus = Literal["pending", "approved", "denied", "expired", "consumed"]


@dataclass(frozen=True)
class Ask:
    """An agent's request for money, resolved. `owner_id` is the payment or refund that the hold will stand for."""

    request: Request
    owner_id: str
    operation: Operation
    key: str
    digest: str
    customer_id: str
    provider: str

    @property
    def agent(self) -> str:
        """The agent that asks."""
        return self.request.agent


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
    """No, for these reasons."""

    violations: tuple[Violation, ...]


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
