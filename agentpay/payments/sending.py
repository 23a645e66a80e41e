"""Sending: the call to the provider, with no transaction open, and the settling of what came back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from agentpay.payments.asks import Started
from agentpay.payments.attempts import Attempts, RecordedSteps
from agentpay.payments.settling import Settling
from agentpay.providers.base import Order, RefundOrder
from agentpay.providers.outcomes import NotSent, Outcome, Unknown
from agentpay.storage.store import Store

logger = logging.getLogger(__name__)


def _nothing(_attempt_id: str) -> None:
    """Nothing follows."""


@dataclass(frozen=True)
class Sending:
    """Sends what was opened. `settled` is told of each attempt whose own answer is committed."""

    store: Store
    attempts: Attempts
    settling: Settling
    settled: Callable[[str], None] = _nothing

    def send(self, started: Started, *, again: bool = False) -> None:
        """Call the provider once and settle its answer. What it raises is no proof of anything: Unknown.

        `again`: the same request went out before. That the provider did not take it now, for its rate or because the
        network was down, says nothing about what became of it then.
        """
        if not self.attempts.still_ours(self.store, started.attempt, started.provider):
            return
        steps = RecordedSteps(self.store, self.attempts, started)
        outcome = _called(started, steps)
        if again and isinstance(outcome, NotSent):
            outcome = Unknown(evidence=f"it was not taken when it was sent again: {outcome.evidence}")
        self.store.write(lambda tx: self.settling.settle(tx, steps.attempt_id, outcome))
        self.settled(steps.attempt_id)


def _called(started: Started, steps: RecordedSteps) -> Outcome:
    provider = started.provider
    try:
        match started.order:
            case Order(checkout=None) as order:
                return provider.charge(order, steps)
            case Order() as order:
                return provider.checkout(order, steps)
            case RefundOrder() as order:
                return provider.refund(order, steps)
        assert started.reference is not None, "what goes on has a reference"
        return provider.resume(started.reference, steps)
    except Exception as exc:  # noqa: BLE001 - the named seam: whatever a provider raises, the money may have moved
        logger.warning("provider %s raised %s for %s", provider.name, type(exc).__name__, started.subject_id)
        return Unknown(evidence=f"{type(exc).__name__} from {provider.name}")
