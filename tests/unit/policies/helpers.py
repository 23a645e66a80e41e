"""What the tests of the policy share: the design's example, requests, and a small book that holds are counted in."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agentpay_policies.decisions import CounterKey, Decision, Halt, Reading, Request, State, Sum
from agentpay_policies.errors import PolicyError
from agentpay_policies.evaluate import amounts_counted, evaluate, readings
from agentpay_policies.loader import load_mapping
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee
from agentpay_policies.policy import Policy

NOW = datetime(2026, 3, 10, 12, 30, 45, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

EXAMPLE = (Path(__file__).parent / "example.yaml").read_text(encoding="utf-8")
"""The policy file of the design, section 6."""

GONE: Any = object()
"""A value that takes a key away."""

Mapping = dict[str, Any]

BASIC: Mapping = {
    "version": 1,
    "id": "basic",
    "agents": {
        "bot": {
            "tools": ["check_access", "charge", "subscribe", "record_usage", "refund", "cancel_subscription"],
            "providers": {"allow": ["mock"]},
            "currencies": {"allow": ["USD"]},
            "customers": {"allow": ["*"]},
            "payees": {"allow": ["self"]},
            "charge": {"per_transaction": {"max": "1000.00 USD"}},
            "subscribe": {"plans": ["*"], "max_per_period": "1000.00 USD"},
            "record_usage": {},
            "refund": {},
        }
    },
    "approvers": {"finance": {"members": ["alice", "bob"]}},
}
"""One agent that may do nearly everything; tests change one thing of it."""


def changed(base: Mapping, **changes: Any) -> Mapping:
    """A copy with values set by path, `__` for the dots: `agents__bot__charge={…}`; GONE takes away."""
    made = copy.deepcopy(base)
    for path, value in changes.items():
        *above, last = path.split("__")
        place = made
        for key in above:
            place = place.setdefault(key, {})
        if value is GONE:
            del place[last]
        else:
            place[last] = copy.deepcopy(value)
    return made


def basic(**changes: Any) -> Policy:
    """BASIC with changes, loaded; `bot__…` is short for the agent's entry."""
    long = {f"agents__{path}" if path.startswith("bot") else path: value for path, value in changes.items()}
    return load_mapping(changed(BASIC, **long))


def faults_of(mapping: Mapping) -> list[str]:
    """The faults of a mapping as `pointer: message`; empty where it loads."""
    try:
        load_mapping(mapping)
    except PolicyError as exc:
        return [f"{fault.pointer}: {fault.message}" for fault in exc.faults]
    return []


def usd(amount: str) -> Money:
    return Money(amount, "USD")


def charge(amount: str = "10.00", currency: str = "USD", **more: Any) -> Request:
    """A charge of the customer alice to self through the mock, with changes."""
    payee = more.pop("payee", "self")
    parsed = payee if isinstance(payee, Payee) else Payee.parse(payee)
    values: dict[str, Any] = {
        "tool": "charge",
        "agent": "bot",
        "operation": "charge",
        "customer": "alice",
        "customer_ref": "c1",
        "payee": parsed,
        "direction": parsed.direction,
        "provider": "mock",
        "money": Money(amount, currency),
    }
    return Request(**values | more)


def subscribe(plan: str = "pro", amount: str = "10.00", **more: Any) -> Request:
    return charge(amount, tool="subscribe", operation="subscribe", plan=plan, **more)


def refund(amount: str = "10.00", **more: Any) -> Request:
    return charge(amount, tool="refund", operation="refund", **more)


def usage(quantity: int = 1, **more: Any) -> Request:
    values: dict[str, Any] = {
        "tool": "record_usage",
        "agent": "bot",
        "operation": "record_usage",
        "customer": "alice",
        "customer_ref": "c1",
        "quantity": quantity,
    }
    return Request(**values | more)


@dataclass
class Book:
    """Holds by counter and minute, summed the plain way: an independent model of what the engine keeps."""

    entries: list[tuple[CounterKey, datetime, int]] = field(default_factory=list)

    def hold(self, policy: Policy, request: Request, at: datetime = NOW, *, approved: bool = False) -> Book:
        minute = at.replace(second=0, microsecond=0)
        for key, value in amounts_counted(policy, request, approved=approved).items():
            self.entries.append((key, minute, value))
        return self

    def sums(self, wanted: tuple[Reading, ...]) -> dict[Reading, Sum]:
        return {reading: self._sum(reading) for reading in wanted}

    def _sum(self, reading: Reading) -> Sum:
        found = sorted(
            (minute, minute + MINUTE, value)
            for key, minute, value in self.entries
            if key in reading.keys and (reading.start is None or minute >= reading.start)
        )
        return Sum(sum(value for _, _, value in found), 0, tuple(found))


def decide(
    policy: Policy | None,
    request: Request,
    *,
    book: Book | None = None,
    now: datetime = NOW,
    halts: tuple[Halt, ...] = (),
    pending: int = 0,
    approved: frozenset[str] = frozenset(),
    **more: Any,
) -> Decision:
    """Evaluate as the engine does: read what `readings` names, then decide."""
    sums = (book or Book()).sums(readings(policy, request, now))
    state = State(sums=sums, halts=halts, pending_approvals=pending, approved_rules=approved, **more)
    return evaluate(request, policy, state, now)


def codes(decision: Decision) -> list[str]:
    return [violation.code for violation in decision.violations]
