"""The operations of a random run: all of them are known before it begins, so that a run can go on after a kill."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentpay.errors import AgentPayError
from agentpay.manager import AgentHandle
from agentpay.manager.wiring import Engine
from agentpay.payments.models import Payment
from agentpay.principal import OPERATOR, SYSTEM
from agentpay.usage.service import UsageTracker

CUSTOMERS: Final = tuple(f"customer-{n}" for n in range(12))
AMOUNTS: Final = (
    *("5.00", "7.50", "20.00", "60.00") * 6,
    *("13.01", "13.10", "13.20", "13.21", "13.22", "13.23", "13.24", "13.25", "13.26", "13.27"),
    *("13.30", "13.31", "13.32", "13.33"),
)
REFUNDS: Final = (*("1.00", "2.00", "3.00") * 4, "14.01", "14.10", "14.21", "14.22", "14.23", "14.24", "14.26")
HOURS: Final = (1.0, 5.0, 13.0)
"""How far the clock may jump between two operations."""


@dataclass(frozen=True)
class Step:
    """One operation. `of` is the number of an earlier one that it refunds or repeats; its key is its own number."""

    number: int
    kind: str
    customer: str
    amount: str = ""
    of: int | None = None
    hours: float = 0.0

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"step-{self.number}"


_KINDS: Final = ("charge",) * 9 + ("refund",) * 4 + ("subscribe", "renew", "usage", "repeat") * 2 + (
    "poison", "cancel", "renew_due", "continue", "reconcile", "wait",
)  # fmt: skip


def plan(seed: int, operations: int) -> list[Step]:
    """The operations of a run."""
    rng = random.Random(seed)
    steps: list[Step] = []
    charges: list[int] = []
    for number in range(operations):
        kind = rng.choice(_KINDS) if charges else "charge"
        step = Step(
            number,
            kind,
            rng.choice(CUSTOMERS),
            amount=rng.choice(REFUNDS if kind == "refund" else AMOUNTS),
            of=rng.choice(charges[-60:]) if kind in ("refund", "continue") else _earlier(rng, kind, number),
            hours=rng.choice(HOURS) if kind == "wait" else 0.0,
        )
        charges += [number] if kind == "charge" else []
        steps.append(step)
    return steps


def _earlier(rng: random.Random, kind: str, number: int) -> int | None:
    return rng.randrange(max(0, number - 60), number) if kind in ("repeat", "poison") else None


def perform(engine: Engine, steps: Sequence[Step], step: Step) -> str:
    """Do one; how it ended, as a status or a code. What is no error of ours passes through."""
    if step.kind in ("repeat", "poison"):
        earlier = steps[step.of or 0]
        return perform(engine, steps, earlier) if step.kind == "repeat" else _poisoned(engine, steps, earlier)
    try:
        return str(_VERBS[step.kind](engine, steps, step))
    except AgentPayError as error:
        return error.code


def _charge(engine: Engine, _steps: Sequence[Step], step: Step, amount: str | None = None) -> object:
    made = AgentHandle(engine, "bot").charge(
        step.customer, amount or step.amount, "USD", description="soak", idempotency_key=step.key
    )
    return made.status


def _refund(engine: Engine, steps: Sequence[Step], step: Step, amount: str | None = None) -> object:
    bot, charged = AgentHandle(engine, "bot"), steps[step.of or 0]
    payment = bot.get_payment(idempotency_key=charged.key)
    return bot.refund(payment.id, amount or step.amount, reason="soak", idempotency_key=step.key).status


def _subscribe(engine: Engine, _steps: Sequence[Step], step: Step, plan: str = "pro") -> object:
    return AgentHandle(engine, "bot").subscribe(step.customer, plan, idempotency_key=step.key).status


def _renew(engine: Engine, _steps: Sequence[Step], step: Step) -> object:
    renewed = engine.renewing.renew(step.customer, "pro", key=step.key, provider=None, principal=OPERATOR)
    return renewed.status


def _usage(engine: Engine, _steps: Sequence[Step], step: Step) -> object:
    usage: UsageTracker = engine.usage
    return usage.record(step.customer, "api", 1, cost="0.01", idempotency_key=step.key).remaining


def _cancel(engine: Engine, _steps: Sequence[Step], step: Step) -> object:
    return AgentHandle(engine, "bot").cancel_subscription(step.customer, idempotency_key=step.key).status


def _renew_due(engine: Engine, _steps: Sequence[Step], _step: Step) -> object:
    return engine.renewing.renew_due()


def _continue(engine: Engine, steps: Sequence[Step], step: Step) -> object:
    found = AgentHandle(engine, "bot").get_payment(idempotency_key=steps[step.of or 0].key)
    assert isinstance(found, Payment)
    return engine.payments.continue_payment(found.id, SYSTEM).status


def _reconcile(engine: Engine, _steps: Sequence[Step], _step: Step) -> object:
    return engine.payments.reconcile(limit=200, every=True)


def _wait(_engine: Engine, _steps: Sequence[Step], step: Step) -> object:
    return step.hours  # the clock of the run knows


_VERBS: Final[Mapping[str, Callable[[Engine, Sequence[Step], Step], object]]] = {
    "charge": _charge,
    "refund": _refund,
    "subscribe": _subscribe,
    "renew": _renew,
    "usage": _usage,
    "cancel": _cancel,
    "renew_due": _renew_due,
    "continue": _continue,
    "reconcile": _reconcile,
    "wait": _wait,
}


def _poisoned(engine: Engine, steps: Sequence[Step], earlier: Step) -> str:
    """An earlier key with another body. It conflicts, or the earlier one never claimed its key and is made up for.

    Raises:
        AssertionError: a key that names one operation was taken for another.
    """
    known = {"charge": "charge", "refund": "refund"}.get(earlier.kind)
    if known is None:
        return "not poisoned"
    handle = AgentHandle(engine, "bot")
    try:
        handle.get_payment(idempotency_key=earlier.key, operation=known)
    except AgentPayError:
        return "not known"
    try:
        (_charge if known == "charge" else _refund)(engine, steps, earlier, "9.99")
    except AgentPayError as error:
        assert error.code == "IDEMPOTENCY_CONFLICT", f"step {earlier.number} with another body: {error.code}"
        return error.code
    raise AssertionError(f"step {earlier.number} ran with another body under its key")
