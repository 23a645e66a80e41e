"""Charges, refunds and look-ups at a provider of Stripe's, without an engine: the steps are recorded in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentpay.providers.base import Finding, Order, PaymentProvider, Reference, RefundOrder, ReturnUrls
from agentpay.providers.outcomes import Outcome
from agentpay.providers.stripe import StripeProvider
from agentpay.testing import RecordingSteps
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF, Payee

MakeProvider = Callable[..., StripeProvider]
URLS = {"success_url": "https://shop.example/done", "cancel_url": "https://shop.example/back"}
BACK = ReturnUrls(URLS["success_url"], URLS["cancel_url"])


@dataclass(frozen=True)
class Done:
    """What a call came to, and the requests that it recorded."""

    outcome: Outcome
    steps: RecordingSteps
    order: Order | RefundOrder

    @property
    def names(self) -> list[str]:
        """The names of the requests."""
        return [step.name for step in self.steps.recorded]


def order(customer: str, amount: str = "20.00", currency: str = "USD", **fields: Any) -> Order:
    """A charge of a customer that Stripe knows."""
    given = {"payee": SELF, "linked": True, **fields}
    return Order("pay_1", customer, Money(amount, currency), **given)


def charge(provider: PaymentProvider, wanted: Order, key: str = "key") -> Done:
    """Charge, or make a page, as the engine does."""
    steps = RecordingSteps(provider.prepare(wanted), key=key)
    call = provider.charge if wanted.checkout is None else provider.checkout
    outcome = call(wanted, steps)
    steps.finish()
    return Done(outcome, steps, wanted)


def refund(
    provider: PaymentProvider,
    charged: str,
    amount: str,
    *,
    key: str = "back",
    payee: Payee = SELF,
    currency: str = "USD",
) -> Done:
    """Refund a charge, in part or whole."""
    wanted = RefundOrder("ref_1", "pay_1", charged, Money(amount, currency), payee)
    steps = RecordingSteps(provider.prepare_refund(wanted), key=key, name="refund")
    outcome = provider.refund(wanted, steps)
    steps.finish()
    return Done(outcome, steps, wanted)


def resume(provider: PaymentProvider, reference: str, key: str = "on") -> Done:
    """Go on with what waits."""
    request = provider.prepare_resume(reference)
    assert request is not None
    steps = RecordingSteps(request, key=key, name="resume")
    outcome = provider.resume(reference, steps)
    steps.finish()
    return Done(outcome, steps, order("nobody"))


def looked_up(
    provider: PaymentProvider, done: Done, *, step: int = -1, reference: str | None = None, at: datetime | None = None
) -> Finding:
    """What a look-up finds of one of the requests: the last, unless another is named."""
    recorded = done.steps.recorded[step]
    kind = "refund" if isinstance(done.order, RefundOrder) else "charge"
    asked = Reference(recorded.key, kind, recorded.name, recorded.request, reference, at)  # type: ignore[arg-type]
    return provider.lookup(asked)
