"""What the engine asks the policy, and what it answers: plain frozen values, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from agentpay_policies.money import Money, Price
from agentpay_policies.names import Direction, Operation, ToolName
from agentpay_policies.payees import SELF, Payee

Outcome = Literal["allow", "approve", "deny"]

COUNT: Final = "count"
"""The unit of a counter that counts attempts instead of money."""


@dataclass(frozen=True)
class Violation:
    """One reason for a refusal, as the agent may read it.

    `rule` points into the policy file. The figures are texts such as `"150.00 USD"` or `"10"`; they stand only where
    the limit is the agent's own, never where it is a shared budget's. Nothing here names an entry of an allow list,
    another agent, or what another agent spent.
    """

    code: str
    message: str
    rule: str = ""
    limit: str | None = None
    used: str | None = None
    held: str | None = None
    attempted: str | None = None
    remaining: str | None = None
    retry_at: datetime | None = None
    next_step: str = ""


@dataclass(frozen=True)
class Request:
    """What an agent wants to do, resolved by the engine.

    `operation` is None for a tool that has no section of its own. `customer` is the application's id, matched against
    `customers.allow`; `customer_ref` is our internal id, which stands in the counters. `own_charge` says of a refund
    whether the agent made the charge itself.
    """

    tool: ToolName
    agent: str
    operation: Operation | None = None
    customer: str | None = None
    payee: Payee = SELF
    direction: Direction = "collect"
    provider: str | None = None
    method: str | None = None
    money: Money | None = None
    plan: str | None = None
    quantity: int = 1
    cost: Price | None = None
    own_charge: bool = True
    customer_ref: str | None = None


@dataclass(frozen=True, order=True)
class CounterKey:
    """One counter that holds are summed in.

    `subject` is `agent:shopper` or `budget:research`, alone or with one dimension: `|agent:…`, `|customer:…`,
    `|payee:…`, `|provider:…`. `unit` is a currency, or `count`.
    """

    subject: str
    operation: str
    direction: str
    unit: str


@dataclass(frozen=True)
class Reading:
    """The sum of some counters from `start` (on a whole minute; None: ever) until now."""

    keys: tuple[CounterKey, ...]
    start: datetime | None


@dataclass(frozen=True)
class Sum:
    """What a reading gave. `total` includes `held`. `buckets` are (start, end, value), oldest first, and only needed
    to say when enough is free again."""

    total: int
    held: int = 0
    buckets: tuple[tuple[datetime, datetime, int], ...] = ()


@dataclass(frozen=True)
class Halt:
    """A stop that the operator gave: `scope` is `all` or `agent:<id>`."""

    scope: str
    reason: str


@dataclass(frozen=True)
class State:
    """What is true at this moment, read inside the transaction that decides.

    `approved_rules` are the ids of the approval rules that people already approved for this very payment.
    """

    sums: Mapping[Reading, Sum] = field(default_factory=dict)
    halts: tuple[Halt, ...] = ()
    pending_approvals: int = 0
    approved_rules: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LimitCheck:
    """One limit as it was checked: stored with the decision, and what `doctor` holds the books to.

    `total` is the sum before this request, in the unit's minor units (or attempts).
    """

    pointer: str
    subject: str
    unit: str
    cap: int
    total: int
    attempted: int
    window_start: datetime | None


@dataclass(frozen=True)
class ApprovalNeed:
    """An approval that the policy asks for: by which rule, of whom, how many of them, and for how long."""

    rule: str
    pointer: str
    group: str
    members: tuple[str, ...]
    quorum: int
    expires: timedelta


@dataclass(frozen=True)
class Decision:
    """The policy's answer. `violations` stand only in a denial, `needs` only where people must approve first.

    `agent_entry` is the entry of the file that matched; `path` are the subjects whose counters a hold counts in.
    """

    outcome: Outcome
    violations: tuple[Violation, ...] = ()
    needs: tuple[ApprovalNeed, ...] = ()
    checks: tuple[LimitCheck, ...] = ()
    agent_entry: str | None = None
    path: tuple[str, ...] = ()
    payee_is_new: bool = False
