"""A provider that answers what a test tells it to: for what the mock, which is a faithful provider, never does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from agentpay.providers.base import (
    Capabilities,
    Finding,
    Health,
    Mode,
    NotFound,
    Order,
    Plain,
    Reference,
    RefundOrder,
    Request,
    Steps,
)
from agentpay.providers.outcomes import Outcome, Succeeded

Answer = Outcome | Callable[[Steps], Outcome]


@dataclass
class ScriptedProvider(Plain):
    """Gives its answers in turn, and looks up what it is told to find."""

    answers: list[Answer] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    name: str = "scripted"
    account: str = "scripted"
    mode: Mode = "test"
    consistent: bool = True
    refunds: bool = True
    replay: bool = False
    key_life: timedelta | None = None
    sent: list[Request] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    asked: list[Reference] = field(default_factory=list)

    def capabilities(self) -> Capabilities:
        return Capabilities(
            currencies="any",
            payees=frozenset({"self"}),
            lease=timedelta(seconds=10),
            consistent_lookup=self.consistent,
            replay=self.replay,
            key_life=self.key_life,
            refunds=self.refunds,
            partial_refunds=self.refunds,
        )

    def health(self) -> Health:
        return Health(True, "fine")

    def prepare(self, order: Order) -> Request:
        return {"op": "charge", "payment": order.payment_id}

    def prepare_refund(self, order: RefundOrder) -> Request:
        return {"op": "refund", "refund": order.refund_id}

    def prepare_resume(self, reference: str) -> Request | None:
        return {"op": "capture", "order": reference} if reference.startswith("order") else None

    def charge(self, order: Order, steps: Steps) -> Outcome:
        return self._answer(steps)

    def refund(self, order: RefundOrder, steps: Steps) -> Outcome:
        return self._answer(steps)

    def resume(self, reference: str, steps: Steps) -> Outcome:
        return self._answer(steps)

    def lookup(self, reference: Reference) -> Finding:
        self.asked.append(reference)
        return self.findings.pop(0) if self.findings else NotFound()

    def _answer(self, steps: Steps) -> Outcome:
        self.sent.append(steps.request)
        self.keys.append(steps.key)
        answer = self.answers.pop(0) if self.answers else Succeeded(f"ok-{len(self.sent)}")
        return answer(steps) if callable(answer) else answer
