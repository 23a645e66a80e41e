"""A whole engine on a test's database: the manager, its mock provider, a policy; and an audit that trusts neither.

`Bench.check()` holds our payments, ledger, holds and counters against the mock's own books.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from agentpay.clock import Clock
from agentpay.errors import AgentPayError
from agentpay.manager import AgentHandle, PaymentManager
from agentpay.manager.wiring import Engine
from agentpay.payments import queries
from agentpay.providers.base import PaymentProvider
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_script import Script
from agentpay.providers.mock_store import books_beside
from agentpay.spending.tables import ApprovalRow, HoldRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from support.ledgers import check_books, check_counters
from support.invariants import check_invariants

Policy = dict[str, Any]

SECRET = "a secret of twelve or more"
WINDOW = {"rolling": "24h"}

OPEN: Policy = {
    "version": 1,
    "id": "open",
    "defaults": {"duplicate_window": "0s"},
    "agents": {
        "bot": {
            "tools": [
                "check_access", "charge", "subscribe", "record_usage", "refund", "cancel_subscription",
                "get_payment", "get_approval", "get_subscription", "list_payments", "list_plans", "get_budget",
            ],
            "providers": {"allow": ["mock"]},
            "currencies": {"allow": ["USD"]},
            "customers": {"allow": ["*"]},
            "payees": {"allow": ["self"]},
            "charge": {
                "directions": ["collect"],
                "per_transaction": {"max": "1000.00 USD"},
                "limits": [{"id": "day", "amount": "100000.00 USD", "window": WINDOW}],
            },
            "subscribe": {"plans": ["*"], "max_per_period": "100.00 USD"},
            "record_usage": {"max_quantity": 1000, "max_cost": "10.00 USD"},
            "refund": {"allow": "own_charges"},
        }
    },
}  # fmt: skip
"""A policy that lets `bot` do nearly everything; `policy()` changes it."""


def policy(agents: Mapping[str, Mapping[str, Any]] | None = None, **top: Any) -> Policy:
    """`OPEN`, with parts of it replaced: `policy({"bot": {"charge": {…}}}, budgets={…})`.

    A further agent begins as `bot` does. None removes a part.
    """
    made = deepcopy(OPEN)
    for name, changes in (agents or {}).items():
        entry = made["agents"].setdefault(name, deepcopy(OPEN["agents"]["bot"]))
        entry.update(changes)
        made["agents"][name] = {key: value for key, value in entry.items() if value is not None}
    made.update(top)
    return made


def capped(amount: str, *, window: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """A charge section with one limit: `{"charge": {…}}`."""
    limit = {"id": "cap", "amount": amount, "window": dict(window or WINDOW), **more}
    return {"charge": {"directions": ["collect"], "limits": [limit]}}


def asking(over: str = "25.00 USD", **rule: Any) -> dict[str, Any]:
    """An agent's approvals: people are asked above an amount. `PEOPLE` must be in the policy."""
    one = {"id": "big", "when": {"amount_over": over}, "approvers": "people", "quorum": 1, "expires": "30m", **rule}
    return {"approvals": [one]}


PEOPLE = {"people": {"members": ["alice", "bob", "carol"]}}


@dataclass
class Bench:
    """One engine on a database, and what a test does to it."""

    url: str
    clock: Clock | None = None
    policy: Policy | None = field(default_factory=lambda: deepcopy(OPEN))
    throttle: str = "off"
    script: Script | None = None
    providers: tuple[PaymentProvider, ...] = ()

    def __post_init__(self) -> None:
        self.mock = self.new_mock()
        self.manager = self.new_manager()
        self._others: list[PaymentManager] = []

    def new_mock(self) -> MockProvider:
        """Another mock on the same books."""
        return MockProvider(books_beside(self.url), clock=self.clock, sleep=lambda _: None, script=self.script)

    def new_manager(self, **options: Any) -> PaymentManager:
        """Another manager on the same database; the test closes it."""
        given: dict[str, Any] = {
            "provider": [self.mock, *self.providers],
            "policy": self.policy,
            "throttle": self.throttle,
            "clock": self.clock,
        }
        return PaymentManager(self.url, **{**given, **options})

    def restarted(self, **options: Any) -> PaymentManager:
        """What the next start of a program makes of the database; closed with this."""
        self._others.append(self.new_manager(provider=[self.new_mock(), *self.providers], **options))
        return self._others[-1]

    @property
    def engine(self) -> Engine:
        """The services below the manager."""
        return self.manager._engine

    @property
    def bot(self) -> AgentHandle:
        """The agent that the policies here name."""
        return self.manager.for_agent("bot")

    def enrol(self, *names: str) -> None:
        """Enrol approvers, all with `SECRET`."""
        first, *others = names
        self.manager.enrol_approver(first, SECRET)
        for name in others:
            self.manager.enrol_approver(name, SECRET, by=first, by_secret=SECRET)

    def approve(self, approval_id: str | None, who: str = "alice") -> None:
        """Approve, as a person would."""
        assert approval_id is not None
        self.manager.approve(approval_id, approver=who, secret=SECRET)

    def moved(self, kind: str = "charge") -> int:
        """What the mock's books say that moved, in minor units."""
        return sum(one.money.minor for one in self.mock.movements() if one.kind == kind)

    def movements(self, kind: str = "charge") -> int:
        """How many movements of a kind the mock's books hold."""
        return sum(one.kind == kind for one in self.mock.movements())

    def rows(self, statement: sa.Select[Any]) -> list[Row]:
        """What a query gives."""
        return list(self.engine.store.read(lambda tx: tx.all(statement)))

    def attempts(self, subject_id: str) -> list[Row]:
        """The attempts of a payment or refund."""
        return list(self.engine.store.read(lambda tx: queries.attempts(tx, subject_id)))

    def holds(self, owner_id: str) -> list[str]:
        """The states of a payment's or refund's holds, the first first."""
        holds = table(HoldRow)
        return [row.state for row in self.rows(sa.select(holds).where(holds.c.owner_id == owner_id).order_by("seq"))]

    def approvals(self) -> list[str]:
        """The states of all approvals, the first first."""
        approvals = table(ApprovalRow)
        return [row.status for row in self.rows(sa.select(approvals).order_by("created_at", "id"))]

    def actions(self, object_id: str) -> list[str]:
        """What the audit says of a thing, the first first."""
        found = sa.text("SELECT action FROM audit_log WHERE object_id = :id ORDER BY seq").bindparams(id=object_id)
        return [row.action for row in self.engine.store.read(lambda tx: tx.all(found))]

    def recorded(self, action: str) -> int:
        """How many rows of an action the audit has."""
        found = sa.text("SELECT count(*) FROM audit_log WHERE action = :action").bindparams(action=action)
        return int(self.engine.store.read(lambda tx: tx.scalar(found)))

    def later(self, **by: float) -> None:
        """Move the clock of the test."""
        self.clock.advance(timedelta(**by))  # type: ignore[union-attr]

    def check(self) -> None:
        """The books agree: the mock's with ours, holds with payments, counters with holds; and every invariant."""
        store = self.engine.store
        check_invariants(store)
        store.read(lambda tx: check_books(tx, self.mock))
        store.read(check_counters)
        found = self.manager.doctor()
        assert found.ok, found.breaches

    def close(self) -> None:
        """Close everything."""
        for other in self._others:
            other.close()
        self.manager.close()


def code_of(call: Callable[[], object]) -> str:
    """The code of the error that a call raises, or `fine`."""
    try:
        call()
    except AgentPayError as error:
        assert error.next_step, f"{error.code} says no next step"
        return error.code
    return "fine"


def violations_of(call: Callable[[], object]) -> list[str]:
    """The codes of the violations of a denial; `[]` where the call is fine."""
    try:
        call()
    except AgentPayError as error:
        return [violation.code for violation in getattr(error, "violations", ())] or [error.code]
    return []


def tally(outcomes: list[Any]) -> Counter[str]:
    """What calls ended in: their statuses, or the codes of their errors."""
    return Counter(str(getattr(one, "code", None) or getattr(one, "status", None) or one) for one in outcomes)


def scalar(tx: Tx, text: str) -> int:
    """The one number that a query gives."""
    return int(tx.scalar(sa.text(text)) or 0)
