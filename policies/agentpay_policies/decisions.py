"""What the engine asks the policy, and what it answers: plain frozen values, no behaviour.

What the engine supplies, and what it does with the answer, inside the one transaction that decides:

1. `Request`, resolved: who, what, for whom, to whom, how much; of a subscription also `period` and `term`.
2. `State`: a `Sum` for each `Reading` that `readings(policy, request, now)` names, the halts, how many approvals of the
   agent wait, which rules people approved for this payment, and where the policy uses them `enrolled` and `look_alike`.
3. `evaluate(request, policy, state, now)` gives a `Decision`. Where it is no denial, the hold counts
   `amounts_counted(policy, request, approved=…)`: so much in each counter. `counted` gives the counters alone.
4. `violations` go to the agent, `for_operator`, `shadow` and `notices` to the operator's log and never to an agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from agentpay_policies.memo import MemoRule
from agentpay_policies.money import Money, Price
from agentpay_policies.names import Direction, Operation, ToolName
from agentpay_policies.payees import SELF, Payee
from agentpay_policies.terms import Period

Outcome = Literal["allow", "approve", "deny"]

COUNT: Final = "count"
"""The unit of a counter that counts attempts instead of money."""

NANO: Final = "nano:"
"""What the unit of a counter of recorded cost begins with: `nano:USD` counts 10⁻⁹ of a dollar."""

UNAPPROVED: Final = "unapproved"
"""The part of an agent's subject that counts what passed without any approval: `agent:shopper|unapproved`."""


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
class OperatorViolation:
    """The same reason as the operator reads it: every figure, of shared budgets too, and both sides of a comparison.

    `subject` is the counter's; `asked` what the request had, `allowed` what the policy has in that place. It is a type
    of its own so that it cannot stand where an agent's view is due.
    """

    code: str
    message: str
    rule: str = ""
    subject: str = ""
    asked: str = ""
    allowed: tuple[str, ...] = ()
    limit: str | None = None
    used: str | None = None
    held: str | None = None
    attempted: str | None = None
    remaining: str | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True)
class Finding:
    """One reason in its two views."""

    agent: Violation
    operator: OperatorViolation


@dataclass(frozen=True)
class Request:
    """What an agent wants to do, resolved by the engine.

    `operation` is None for a tool that has no section of its own. `customer` is the application's id, matched against
    `customers`; `customer_ref` is our internal id, which stands in the counters. `own_charge` says of a refund whether
    the agent made the charge itself. Of a subscription `money` is the price of one `period` and `term` the number of
    periods that it commits the customer to: 1 where it can be canceled at the end of each. There is no category here:
    it comes from the operator's map, never from what is asked.
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
    period: Period | None = None
    term: int = 1


@dataclass(frozen=True, order=True)
class CounterKey:
    """One counter that holds are summed in.

    `subject` is `agent:shopper` or `budget:research`, alone or with one dimension: `|agent:…`, `|customer:…`,
    `|payee:…`, `|provider:…`, `|category:…` (`|category:-` for payees without one), or of an agent `|unapproved`.
    `unit` is a currency, `count`, or of recorded cost `nano:` and a currency.
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

    `approved_rules` are the ids of the approval rules that people already approved for this very payment. `enrolled`
    are the agents that the operator enrolled; only patterns with `each: true` ask. `look_alike` is the id of the newest
    payment of the duplicate window that looks the same, unless the caller named it as distinct.
    """

    sums: Mapping[Reading, Sum] = field(default_factory=dict)
    halts: tuple[Halt, ...] = ()
    pending_approvals: int = 0
    approved_rules: frozenset[str] = frozenset()
    enrolled: frozenset[str] = frozenset()
    look_alike: str | None = None


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
class Shadowed:
    """What a candidate rule (`shadow: true`) would have done: denied, with the reason, or asked people."""

    pointer: str
    outcome: Literal["deny", "approve"]
    violation: OperatorViolation | None = None
    need: ApprovalNeed | None = None


@dataclass(frozen=True)
class Notice:
    """A part of a limit that this decision fills: people are to be told, once for each limit, window and threshold.

    `used` and `cap` are in the unit's minor units; `used` counts this request.
    """

    pointer: str
    subject: str
    unit: str
    threshold: Decimal
    used: int
    cap: int
    window_start: datetime | None


@dataclass(frozen=True)
class Decision:
    """The policy's answer. `violations` stand only in a denial, `needs` only where people must approve first.

    `agent_entry` is the entry of the file that matched; `path` are the subjects whose counters a hold counts in.
    `for_operator` are the violations in full, one for one. `memo` is how the text for the payee is made, `look_alike`
    the payment that this one looks like where the policy only notes that, and `restores_budget` says of a refund that
    it gives its charge's budget back.
    """

    outcome: Outcome
    violations: tuple[Violation, ...] = ()
    needs: tuple[ApprovalNeed, ...] = ()
    checks: tuple[LimitCheck, ...] = ()
    agent_entry: str | None = None
    path: tuple[str, ...] = ()
    payee_is_new: bool = False
    for_operator: tuple[OperatorViolation, ...] = ()
    shadow: tuple[Shadowed, ...] = ()
    notices: tuple[Notice, ...] = ()
    memo: MemoRule | None = None
    look_alike: str | None = None
    restores_budget: bool = False
