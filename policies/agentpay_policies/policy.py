"""The parsed policy: frozen, with names resolved and lists sorted, so that two files that mean the same are equal.

It is made by `agentpay_policies.loader` only, which checks it; nothing here checks again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final, Literal

from agentpay_policies.globs import is_glob, most_specific
from agentpay_policies.money import Money, Price
from agentpay_policies.names import ALWAYS_ALLOWED, OPERATIONS, Direction, Operation, ToolName
from agentpay_policies.payees import Payee
from agentpay_policies.windows import Window

Per = Literal["agent", "customer", "payee", "provider"]
NewPayees = Literal["deny", "approve"]
Refundable = Literal["own_charges", "any"]

EVERY_PLAN: Final = "*"


def cap_in(amounts: tuple[Money, ...], currency: str) -> Money | None:
    """The amount of one currency out of a list with one a currency."""
    return next((money for money in amounts if money.currency == currency), None)


@dataclass(frozen=True)
class Limit:
    """A cap on a sum (`amounts`, one a currency) or on a number of attempts (`count`) within a window.

    `per` counts each agent, customer, payee or provider apart; None counts the node as one. Without `directions`
    collecting and sending are counted apart; with them they add up, and the limit is for requests of those only.
    """

    id: str
    window: Window
    amounts: tuple[Money, ...] = ()
    count: int | None = None
    per: Per | None = None
    directions: tuple[Direction, ...] = ()

    def applies(self, direction: Direction) -> bool:
        """Whether the limit is for requests of this direction."""
        return not self.directions or direction in self.directions

    def counts(self, direction: Direction) -> tuple[Direction, ...]:
        """The directions that add up when a request of this direction is checked."""
        return self.directions or (direction,)


@dataclass(frozen=True)
class Budget:
    """A pot that several agents share, within the pot of its parent."""

    id: str
    parent: str | None = None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class ChargeSection:
    """What an agent may charge. `minimum` and `maximum` hold for each payment, one amount a currency."""

    directions: tuple[Direction, ...] = ("collect",)
    minimum: tuple[Money, ...] = ()
    maximum: tuple[Money, ...] = ()
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class SubscribeSection:
    """To which plans an agent may subscribe customers (`*`: to all), and the most that a period may cost."""

    plans: tuple[str, ...]
    max_per_period: tuple[Money, ...] = ()


@dataclass(frozen=True)
class RecordUsageSection:
    """The most that an agent may record at once, in units and in cost."""

    max_quantity: int | None = None
    max_cost: tuple[Price, ...] = ()


@dataclass(frozen=True)
class RefundSection:
    """Whose charges an agent may refund, and how much of it."""

    allow: Refundable = "own_charges"
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class ApprovalRule:
    """When people must approve: all the conditions that are written, together."""

    id: str
    approvers: str
    expires: timedelta
    quorum: int = 1
    amount_over: tuple[Money, ...] = ()
    new_payee: bool = False


@dataclass(frozen=True)
class AgentEntry:
    """What one agent may do, or all agents that a pattern names, as one. What is empty or None allows nothing."""

    id: str
    budget: str | None = None
    tools: tuple[ToolName, ...] = ()
    providers: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    customers: tuple[str, ...] = ()
    payees: tuple[Payee, ...] = ()
    new_payees: NewPayees = "deny"
    charge: ChargeSection | None = None
    subscribe: SubscribeSection | None = None
    record_usage: RecordUsageSection | None = None
    refund: RefundSection | None = None
    approvals: tuple[ApprovalRule, ...] = ()

    @property
    def subject(self) -> str:
        """The entry's name in counters."""
        return f"agent:{self.id}"

    @property
    def pointer(self) -> str:
        """Where in the file the entry stands."""
        return f"agents.{self.id}"

    def has_section(self, operation: Operation) -> bool:
        """Whether the entry says anything about the operation."""
        return getattr(self, operation) is not None


@dataclass(frozen=True)
class ApproverGroup:
    """People who may approve."""

    id: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """A whole policy, checked. Equal policies have one `hash`, however their files were written."""

    id: str
    duplicate_window: timedelta
    timezone: str
    budgets: tuple[Budget, ...] = ()
    agents: tuple[AgentEntry, ...] = ()
    approvers: tuple[ApproverGroup, ...] = ()
    version: Literal[1] = 1

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, in hex."""
        return hashlib.sha256(self.to_json().encode("ascii")).hexdigest()

    def to_json(self) -> str:
        """The policy as canonical JSON: a policy file with everything written out, which `from_json` takes."""
        from agentpay_policies.canonical import mapping_of

        return json.dumps(mapping_of(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Policy:
        """The policy that `to_json` wrote, checked again as a file is.

        Raises:
            PolicyError: the text is no policy.
        """
        from agentpay_policies.loader import load_json

        return load_json(text)

    def agent(self, agent: str) -> AgentEntry | None:
        """The entry for an agent: its own before any pattern, else the pattern that leaves least open."""
        if not is_glob(agent) and (entry := self._entries.get(agent)) is not None:
            return entry
        pattern = most_specific(self._patterns, agent)
        return self._entries[pattern] if pattern is not None else None

    def budget(self, name: str) -> Budget:
        """A budget by its name, which must exist."""
        return self._budgets[name]

    def budgets_of(self, entry: AgentEntry) -> tuple[Budget, ...]:
        """The budgets over an entry, the nearest first."""
        return tuple(self._up(entry.budget))

    def path(self, agent: str) -> tuple[str, ...]:
        """The subjects in which what an agent spends is counted: its entry, then the budgets up the tree."""
        entry = self.agent(agent)
        if entry is None:
            return ()
        return (entry.subject, *(f"budget:{budget.id}" for budget in self.budgets_of(entry)))

    def tools_of(self, agent: str) -> frozenset[ToolName]:
        """The tools that an agent may call: what its entry lists, and what is always allowed."""
        entry = self.agent(agent)
        return ALWAYS_ALLOWED | frozenset(entry.tools if entry else ())

    def group(self, name: str) -> ApproverGroup:
        """A group of approvers by its name, which must exist."""
        return self._groups[name]

    def approver_names(self) -> frozenset[str]:
        """Everybody who stands in a group of approvers."""
        return frozenset(member for group in self.approvers for member in group.members)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed in a policy and yet hardly meant."""
        return tuple(warning for entry in self.agents for warning in _warnings(entry))

    @cached_property
    def _entries(self) -> dict[str, AgentEntry]:
        return {entry.id: entry for entry in self.agents}

    @cached_property
    def _patterns(self) -> tuple[str, ...]:
        return tuple(entry.id for entry in self.agents if is_glob(entry.id))

    @cached_property
    def _budgets(self) -> dict[str, Budget]:
        return {budget.id: budget for budget in self.budgets}

    @cached_property
    def _groups(self) -> dict[str, ApproverGroup]:
        return {group.id: group for group in self.approvers}

    def _up(self, name: str | None) -> Iterator[Budget]:
        while name is not None:
            budget = self._budgets[name]
            yield budget
            name = budget.parent


def _warnings(entry: AgentEntry) -> Iterator[str]:
    listed = [operation for operation in OPERATIONS if operation in entry.tools]
    for operation in OPERATIONS:
        if operation in listed and not entry.has_section(operation):
            yield f"{entry.pointer}: the tool {operation} is listed and has no section: each call is denied."
        if operation not in listed and entry.has_section(operation):
            yield f"{entry.pointer}: {operation} has a section and is not among the tools: each call is denied."
    if not entry.customers and (listed or "cancel_subscription" in entry.tools):
        yield f"{entry.pointer}: no customers are allowed: each call that changes something is denied."
    if any(operation != "record_usage" for operation in listed):
        for name, allowed in (("providers", entry.providers), ("currencies", entry.currencies)):
            if not allowed:
                yield f"{entry.pointer}: no {name} are allowed: each payment is denied."
    if ("charge" in listed or "subscribe" in listed) and not entry.payees and entry.new_payees == "deny":
        yield f"{entry.pointer}: no payees are allowed, not even self: each payment is denied."
    if entry.new_payees == "deny" and any(rule.new_payee for rule in entry.approvals):
        yield f"{entry.pointer}: a rule waits for new payees, which payees.new does not let through."
    if "subscribe" in listed and entry.subscribe and not entry.subscribe.max_per_period:
        yield f"{entry.pointer}.subscribe: there is no max_per_period: a plan may cost anything."
