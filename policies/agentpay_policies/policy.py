"""The parsed policy: frozen, with names resolved and lists sorted, so that two files that mean the same are equal.

It is made by `agentpay_policies.loader` only, which checks it; nothing here checks again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Final, Literal

from agentpay_policies.globs import is_glob, most_specific
from agentpay_policies.memo import MemoRule
from agentpay_policies.money import Money, Price
from agentpay_policies.names import ALWAYS_ALLOWED, Direction, Operation, ToolName
from agentpay_policies.payees import Payee
from agentpay_policies.schedule import TimeWindow
from agentpay_policies.terms import Period, Term
from agentpay_policies.windows import Window

Per = Literal["agent", "customer", "payee", "provider", "category"]
NewPayees = Literal["deny", "approve"]
Refundable = Literal["own_charges", "any"]
Duplicates = Literal["deny", "approve", "warn"]
Counts = Literal["committed", "paid"]

EVERY_PLAN: Final = "*"

SUBJECT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,99}\Z")
"""An id that may be a counter's subject of its own: without the bar that parts of a subject are joined with."""


def cap_in(amounts: tuple[Money, ...], currency: str) -> Money | None:
    """The amount of one currency out of a list with one a currency."""
    return next((money for money in amounts if money.currency == currency), None)


@dataclass(frozen=True)
class Limit:
    """A cap on a sum (`amounts`, one a currency) or on a number of attempts (`count`) within a window.

    `per` counts each agent, customer, payee, provider or category apart; None counts the node as one. Without
    `directions` collecting and sending are counted apart; with them they add up, and the limit is for requests of those
    only. `operations` (`of` in the file) add up; without them those of the place where the limit stands do.
    """

    id: str
    window: Window
    amounts: tuple[Money, ...] = ()
    count: int | None = None
    per: Per | None = None
    directions: tuple[Direction, ...] = ()
    operations: tuple[Operation, ...] = ()

    def applies(self, direction: Direction) -> bool:
        """Whether the limit is for requests of this direction."""
        return not self.directions or direction in self.directions

    def counts(self, direction: Direction) -> tuple[Direction, ...]:
        """The directions that add up when a request of this direction is checked."""
        return self.directions or (direction,)


@dataclass(frozen=True)
class Budget:
    """A pot that several agents share, within the pot of its parent. `shadow` limits are counted and never decide."""

    id: str
    parent: str | None = None
    limits: tuple[Limit, ...] = ()
    shadow: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class ChargeSection:
    """What an agent may charge. `minimum` and `maximum` hold for each payment, one amount a currency.

    `duplicates` is what happens to a charge that looks like an earlier one of the duplicate window.
    """

    directions: tuple[Direction, ...] = ("collect",)
    minimum: tuple[Money, ...] = ()
    maximum: tuple[Money, ...] = ()
    limits: tuple[Limit, ...] = ()
    duplicates: Duplicates = "deny"


@dataclass(frozen=True)
class SubscribeSection:
    """To which plans an agent may subscribe customers (`*`: to all), how dear, how often billed, and for how long.

    `counts` is what a subscription counts in limits and approvals: all that it commits the customer to, or the period
    that is paid first.
    """

    plans: tuple[str, ...]
    max_per_period: tuple[Money, ...] = ()
    periods: tuple[Period, ...] = ()
    max_term: Term | None = None
    counts: Counts = "committed"


@dataclass(frozen=True)
class RecordUsageSection:
    """The most that an agent may record at once, in units and in cost, and within windows."""

    max_quantity: int | None = None
    max_cost: tuple[Price, ...] = ()
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class RefundSection:
    """Whose charges an agent may refund, and how much of it; whether a refund gives its charge's budget back."""

    allow: Refundable = "own_charges"
    minimum: tuple[Money, ...] = ()
    maximum: tuple[Money, ...] = ()
    limits: tuple[Limit, ...] = ()
    restores_budget: bool = False


@dataclass(frozen=True)
class ApprovalRule:
    """When people must approve: all the conditions that are written, together. Of a list of words, any one.

    `unapproved_over` is about splitting: this payment and those that nobody approved within `unapproved_window`.
    """

    id: str
    approvers: str
    expires: timedelta
    quorum: int = 1
    amount_over: tuple[Money, ...] = ()
    new_payee: bool = False
    unapproved_over: tuple[Money, ...] = ()
    unapproved_window: Window | None = None
    duplicate: bool = False
    categories: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    directions: tuple[Direction, ...] = ()
    operations: tuple[Operation, ...] = ()

    @property
    def conditions(self) -> frozenset[str]:
        """The names of the conditions that are written, as in the file."""
        written = {
            "amount_over": self.amount_over,
            "payee": self.new_payee,
            "unapproved_total_over": self.unapproved_over,
            "duplicate": self.duplicate,
            "category": self.categories,
            "provider": self.providers,
            "direction": self.directions,
            "operation": self.operations,
        }
        return frozenset(name for name, value in written.items() if value)


@dataclass(frozen=True)
class CategoryRule:
    """Which categories of payees an agent may pay. `allow` is None where every one, and none, is allowed."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


@dataclass(frozen=True)
class AgentEntry:
    """What one agent may do, or all agents that a pattern names, as one. What is empty or None allows nothing.

    `shadow` holds the candidate rules of the entry, as an entry of its own: they are evaluated beside the real ones and
    never decide. Only what restricts where it is written stands there.
    """

    id: str
    each: bool = False
    budget: str | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    time_windows: tuple[TimeWindow, ...] = ()
    tools: tuple[ToolName, ...] = ()
    providers: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    customers: tuple[str, ...] = ()
    customers_denied: tuple[str, ...] = ()
    payees: tuple[Payee, ...] = ()
    payees_denied: tuple[Payee, ...] = ()
    new_payees: NewPayees = "deny"
    categories: CategoryRule | None = None
    memo: MemoRule | None = None
    notify: tuple[Decimal, ...] = ()
    charge: ChargeSection | None = None
    subscribe: SubscribeSection | None = None
    record_usage: RecordUsageSection | None = None
    refund: RefundSection | None = None
    approvals: tuple[ApprovalRule, ...] = ()
    shadow: AgentEntry | None = None

    @property
    def subject(self) -> str:
        """The entry's name in counters, and in halts."""
        return f"agent:{self.id}"

    def subject_of(self, agent: str) -> str:
        """The name in counters of one of its agents: the entry's, or where `each` is written the agent's own."""
        return f"agent:{agent}" if self.each else self.subject

    @property
    def pointer(self) -> str:
        """Where in the file the entry stands."""
        return f"agents.{self.id}"

    def has_section(self, operation: Operation) -> bool:
        """Whether the entry says anything about the operation."""
        return getattr(self, operation) is not None


@dataclass(frozen=True)
class Category:
    """A kind of payees, as the operator sorts them. A payee is of one category at most."""

    id: str
    payees: tuple[Payee, ...]


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
    categories: tuple[Category, ...] = ()
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
        """The entry for an agent: its own before any pattern, else the pattern that leaves least open.

        Where the pattern counts each agent apart, an id that cannot be a counter's name falls under nothing.
        """
        if not is_glob(agent) and (entry := self._entries.get(agent)) is not None:
            return entry
        pattern = most_specific(self._patterns, agent)
        if pattern is None or (self._entries[pattern].each and not SUBJECT_NAME.match(agent)):
            return None
        return self._entries[pattern]

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
        return (entry.subject_of(agent), *(f"budget:{budget.id}" for budget in self.budgets_of(entry)))

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

    def category_of(self, payee: Payee) -> str | None:
        """The operator's category of a payee; None where it has none."""
        return self._category_of.get(payee)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed in a policy and yet hardly meant."""
        from agentpay_policies.advice import warnings_of

        return warnings_of(self)

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
    def _category_of(self) -> dict[Payee, str]:
        return {payee: category.id for category in self.categories for payee in category.payees}

    @cached_property
    def _groups(self) -> dict[str, ApproverGroup]:
        return {group.id: group for group in self.approvers}

    def _up(self, name: str | None) -> Iterator[Budget]:
        while name is not None:
            budget = self._budgets[name]
            yield budget
            name = budget.parent
