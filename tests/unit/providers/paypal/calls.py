"""Charges and refunds as the engine makes them, without a database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from agentpay.ids import RandomIds
from agentpay.providers.base import Finding, Order, Reference, RefundOrder, ReturnUrls
from agentpay.providers.outcomes import Outcome, RequiresAction, Succeeded
from agentpay.providers.paypal import PayPalProvider
from agentpay.testing import RecordingSteps
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF, Payee

IDS = RandomIds()
TEN = Money("10.00", "USD")
URLS = ReturnUrls("https://shop.example/back", "https://shop.example/cancel")


@dataclass
class Call:
    """One call of a provider's, and what can be asked about it afterwards."""

    provider: PayPalProvider
    kind: Literal["charge", "refund"]
    steps: RecordingSteps
    outcome: Outcome

    def found(self, reference: str | None = None) -> Finding:
        """What a look-up says of its last request."""
        last = self.steps.recorded[-1]
        return self.provider.lookup(Reference(last.key, self.kind, last.name, last.request, reference))

    @property
    def key(self) -> str:
        """The key of its last request."""
        return self.steps.recorded[-1].key

    @property
    def reference(self) -> str:
        """PayPal's id in its outcome."""
        return str(getattr(self.outcome, "reference", None))


@dataclass(frozen=True)
class Caller:
    """Calls a provider."""

    provider: PayPalProvider
    key: str = field(default_factory=lambda: IDS.new("key"))

    def charge(
        self,
        customer: str = "cus_unlinked",
        money: Money = TEN,
        *,
        payee: Payee = SELF,
        method: str | None = None,
        urls: ReturnUrls | None = None,
    ) -> Call:
        """A charge of a customer: of a saved method, where `customer` is one."""
        order = Order(IDS.new("pay"), customer, money, payee, method=method, checkout=urls)
        steps = RecordingSteps(self.provider.prepare(order), key=self.key)
        outcome = self.provider.checkout(order, steps) if urls else self.provider.charge(order, steps)
        return Call(self.provider, "charge", steps, outcome)

    def send(self, email: str = "ana@example.com", money: Money = TEN, *, method: str | None = None) -> Call:
        """A payout."""
        return self.charge(money=money, payee=Payee.parse(f"paypal:{email}"), method=method)

    def resume(self, reference: str) -> Call:
        """What goes on after the customer acted."""
        request = self.provider.prepare_resume(reference)
        assert request is not None
        steps = RecordingSteps(request, key=f"{self.key}-resume", name="resume")
        return Call(self.provider, "charge", steps, self.provider.resume(reference, steps))

    def refund(self, charge: str, money: Money = TEN) -> Call:
        """A refund of a charge, by PayPal's id of that."""
        order = RefundOrder(IDS.new("ref"), IDS.new("pay"), charge, money, SELF)
        steps = RecordingSteps(self.provider.prepare_refund(order), key=self.key, name="refund")
        return Call(self.provider, "refund", steps, self.provider.refund(order, steps))


def ordered(provider: PayPalProvider, money: Money = TEN) -> str:
    """The id of an order that waits for its payer."""
    outcome = Caller(provider).charge(money=money).outcome
    assert isinstance(outcome, RequiresAction)
    return outcome.reference.partition(":")[2]


def charged(provider: PayPalProvider, saved: str, money: Money = TEN) -> str:
    """The reference of a charge that succeeded."""
    outcome = Caller(provider).charge(saved, money).outcome
    assert isinstance(outcome, Succeeded), outcome
    return outcome.reference
