"""A local chain with a token, and a provider on it: what the tests of the chain share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agentpay.ids import RandomIds
from agentpay.providers.base import Finding, Found, Order, Reference, RefundOrder
from agentpay.providers.crypto.provider import CryptoProvider
from agentpay.providers.events import News
from agentpay.providers.outcomes import Outcome, RequiresAction
from agentpay.testing import RecordingSteps
from agentpay.testing.chain import XPUB, ChainClock, LocalChain, TestToken
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF, Payee

WALLET = 1
"""The account that sends: its tokens and its coins for gas are ours."""

CUSTOMER = 4
"""The account of a customer, which has tokens."""

_IDS = RandomIds()


@dataclass
class Sent:
    """A charge or refund as it was made, and how to ask for it."""

    outcome: Outcome
    steps: RecordingSteps
    reference: Reference

    @property
    def hash(self) -> str:
        """The hash of its transaction."""
        return str(self.steps.recorded[-1].request["hash"])

    @property
    def words(self) -> str:
        """What the customer was told."""
        assert isinstance(self.outcome, RequiresAction) and self.outcome.instructions
        return self.outcome.instructions

    @property
    def uri(self) -> tuple[str, int]:
        """The address and the base units that the payment URI names."""
        return parsed_uri(self.words)


def parsed_uri(words: str) -> tuple[str, int]:
    """The address and the base units of a payment URI."""
    _, _, query = words.rpartition("?")
    address, units = (part.partition("=")[2] for part in query.split("&"))
    return address, int(units)


@dataclass
class Till:
    """One provider on a chain, and a customer who pays."""

    chain: LocalChain
    usdt: TestToken
    url: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._made: list[CryptoProvider] = []
        self.clock = ChainClock(self.chain, forward=True)
        self.provider = self.new()

    def new(self, **options: Any) -> CryptoProvider:
        """Another provider on the same books."""
        given: dict[str, Any] = {
            "tokens": [self.usdt],
            "private_key": self.chain.key(WALLET),
            "confirmations": 2,
            "xpub": XPUB,
            "clock": self.clock,
            **self.options,
            **options,
        }
        made = self.chain.provider(self.url, **{key: value for key, value in given.items() if value is not None})
        self._made.append(made)
        return made

    def close(self) -> None:
        """Close every provider."""
        for one in self._made:
            one.close()

    def now(self) -> datetime:
        """The chain's time."""
        return self.chain.clock.now()

    # -- collecting ----------------------------------------------------------------------------------------------------

    def deposit(self, amount: str = "10.00", currency: str = "USDT", *, provider: CryptoProvider | None = None) -> Sent:
        """Ask for a deposit."""
        order = Order(_IDS.new("pay"), "ana", Money(amount, currency), SELF)
        return self.charge(order, provider=provider)

    def charge(self, order: Order, *, provider: CryptoProvider | None = None, key: str | None = None) -> Sent:
        """Make a charge, or a send."""
        provider = provider or self.provider
        steps = RecordingSteps(provider.prepare(order), key=key or _IDS.new("key"))
        outcome = provider.charge(order, steps)
        steps.finish()
        return Sent(outcome, steps, self.reference(steps, "charge"))

    def pay(self, deposit: Sent, amount: str, *, mine: int = 0) -> str:
        """The customer pays an amount to a deposit's address."""
        tx_hash = self.chain.pay(self.usdt, deposit.uri[0], amount, sender=CUSTOMER)
        self.chain.mine(mine) if mine else None
        return tx_hash

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, amount: str = "7.00", *, to: int = 5, key: str | None = None, **more: Any) -> Sent:
        """Send money to an account."""
        payee = Payee.parse(f"eip155:{self.chain.chain_id}:{self.chain.account(to)}")
        return self.charge(Order(_IDS.new("pay"), "ana", Money(amount, "USDT"), payee), key=key, **more)

    def refund(self, deposit: Sent, amount: str, *, to: str | None = None, key: str | None = None) -> Sent:
        """Refund a deposit to the address that the customer confirmed."""
        assert isinstance(deposit.outcome, RequiresAction)
        confirmed = to or f"eip155:{self.chain.chain_id}:{self.chain.account(6)}"
        order = RefundOrder(
            _IDS.new("ref"), "pay_x", deposit.outcome.reference, Money(amount, "USDT"), SELF, customer=confirmed
        )
        steps = RecordingSteps(self.provider.prepare_refund(order), key=key or _IDS.new("key"), name="refund")
        outcome = self.provider.refund(order, steps)
        steps.finish()
        return Sent(outcome, steps, self.reference(steps, "refund"))

    @staticmethod
    def reference(steps: RecordingSteps, kind: Any) -> Reference:
        """By what the last step is asked for."""
        last = steps.recorded[-1]
        return Reference(last.key, kind, last.name, last.request)

    # -- looking -------------------------------------------------------------------------------------------------------

    def look(self, sent: Sent, *, provider: CryptoProvider | None = None) -> Outcome | Finding:
        """What became of it: the outcome, or that there is none."""
        return self.look_at(sent.reference, provider=provider)

    def look_at(self, reference: Reference, *, provider: CryptoProvider | None = None) -> Outcome | Finding:
        """The same, by a reference."""
        found = (provider or self.provider).lookup(reference)
        return found.outcome if isinstance(found, Found) else found

    def news(self) -> list[News]:
        """What is told, the first first."""
        return [one for event in self.provider.poll(self.now()) for one in event.news]

    def strays(self) -> list[tuple[str, str]]:
        """What belongs to no payment: (amount, reason), the oldest first."""
        from agentpay.providers.crypto.listing import unallocated

        found = self.provider._books.read(lambda tx: unallocated(tx, 100))
        return [(one.amount, one.reason) for one in reversed(found)]
