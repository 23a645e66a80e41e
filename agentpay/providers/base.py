"""What a payment provider is: a small protocol that a stranger can implement.

The engine calls a provider only between its own two transactions: the attempt, its key and the exact request are
committed before anything is sent, and the outcome is settled after. A provider never touches our database; it hands
each later request of a charge to `steps.record`, which commits it first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol, runtime_checkable

from agentpay.errors import ProviderUnsupported
from agentpay.providers.events import WebhookEvent
from agentpay.providers.outcomes import Outcome
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee, PayeeKind

Mode = Literal["test", "live"]
Request = Mapping[str, object]
"""A request as JSON data: stored with its attempt before it is sent, and sent again only as it was stored."""


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do. The engine checks it before a call, so that a refusal costs nothing.

    `minimum` and `maximum` are per currency. `key_life` is how long the provider remembers an idempotency key (None:
    for ever); `lease` is the longest that one call may still be under way: the SDK's whole time-out with its retries.
    `consistent_lookup` says that a look-up that finds nothing after the lease proves that nothing was done. `replay`
    says that the same key with the same request does nothing twice within the key's life, and is answered with what
    became of the first: reconcile may then send an unanswered request again where look-ups prove nothing.
    `chains` are the chain ids on which it can pay an `eip155` payee (None: any). `pending_goes_on` is False where a
    payment that is pending only takes its time, though one that waits for its customer can be gone on with: see
    `prepare_resume`.
    """

    currencies: frozenset[str] | Literal["any"]
    payees: frozenset[PayeeKind]
    refunds: bool = True
    partial_refunds: bool = True
    checkout: bool = False
    saved_methods: bool = False
    methods: frozenset[str] = frozenset()
    minimum: Mapping[str, Money] = field(default_factory=dict)
    maximum: Mapping[str, Money] = field(default_factory=dict)
    key_life: timedelta | None = None
    lease: timedelta = timedelta(seconds=60)
    consistent_lookup: bool = False
    replay: bool = False
    longest_memo: int = 0
    webhooks: bool = False
    chains: frozenset[int] | None = None
    pending_goes_on: bool = True


@dataclass(frozen=True)
class Health:
    """Whether a provider answers. Asking never moves money."""

    ok: bool
    detail: str


@dataclass(frozen=True)
class ReturnUrls:
    """Where the customer's browser goes after a page of the provider's: when it is done, and when they turn back."""

    success: str
    cancel: str


@dataclass(frozen=True)
class Order:
    """A charge as the provider gets it. `customer` is what the provider calls the customer (by `link_customer`) where
    `linked` says so, else our opaque id; `memo` reaches the payee and is None unless the policy says otherwise. With
    `checkout` the customer pays on the provider's page, which may show `title`, and comes back to one of its addresses.
    `recurring`: later charges without the customer are meant to follow, so the page asks to keep the method."""

    payment_id: str
    customer: str
    money: Money
    payee: Payee
    method: str | None = None
    memo: str | None = None
    checkout: ReturnUrls | None = None
    title: str | None = None
    linked: bool = False
    recurring: bool = False


@dataclass(frozen=True)
class SetupOrder:
    """A payment method that a customer is to save for later: no money moves. `customer`, `linked` as in `Order`."""

    setup_id: str
    customer: str
    urls: ReturnUrls
    method: str | None = None
    linked: bool = False


@dataclass(frozen=True)
class SetupPage:
    """Where the customer saves the method, and the provider's id of that page."""

    reference: str
    url: str


@dataclass(frozen=True)
class RefundOrder:
    """A refund as the provider gets it. `charge_reference` is the provider's id of the charge; `customer` is what the
    provider calls its customer now (by `link_customer`), else None."""

    refund_id: str
    payment_id: str
    charge_reference: str
    money: Money
    payee: Payee
    customer: str | None = None


@dataclass(frozen=True)
class Reference:
    """By what a provider may find an attempt again: its key, the provider's own id where one came back, and when it was
    sent, for providers whose lists go by time."""

    key: str
    kind: Literal["charge", "refund"]
    step: str
    request: Request
    reference: str | None = None
    sent_at: datetime | None = None


@dataclass(frozen=True)
class Found:
    """A look-up that found the attempt, and what became of it."""

    outcome: Outcome


@dataclass(frozen=True)
class NotFound:
    """A look-up that found nothing. It proves NotSent only after the lease and where look-ups are consistent."""


@dataclass(frozen=True)
class NoAnswer:
    """A look-up that failed: nothing is known."""

    detail: str


Finding = Found | NotFound | NoAnswer


class Steps(Protocol):
    """The requests of one charge or refund. The first is committed already when the provider is called."""

    @property
    def key(self) -> str:
        """The idempotency key of the current request."""
        ...

    @property
    def request(self) -> Request:
        """The current request, exactly as it was stored."""
        ...

    def record(self, name: str, request: Request, *, reference: str) -> None:
        """Commit the next request before it is sent; `key` and `request` are then those of it.

        `reference` is the provider's id of what the request before it made: proof of what became of that one.
        """
        ...


class PaymentProvider(Protocol):
    """One way to move money. Methods block; each raises only what it cannot map, which the engine takes as Unknown."""

    @property
    def name(self) -> str: ...

    @property
    def account(self) -> str:
        """Which account of the provider this is: stamped on the database and on every payment."""
        ...

    @property
    def mode(self) -> Mode: ...

    def capabilities(self) -> Capabilities: ...

    def health(self) -> Health: ...

    def prepare(self, order: Order) -> Request:
        """The first request of a charge. Pure: nothing is sent."""
        ...

    def prepare_refund(self, order: RefundOrder) -> Request:
        """The first request of a refund. Pure: nothing is sent."""
        ...

    def prepare_resume(self, reference: str) -> Request | None:
        """The request by which a payment goes on after its customer acted; None where a look-up does. Pure.

        Where there is one, `Pending` with that reference says that the customer acted, and that it is for us to go on:
        a reconcile does so. Unless `Capabilities.pending_goes_on` says that such a payment only takes its time.
        """
        ...

    def charge(self, order: Order, steps: Steps) -> Outcome: ...

    def checkout(self, order: Order, steps: Steps) -> Outcome:
        """Make a page on which the customer pays: `RequiresAction` with its address. `order.checkout` is given."""
        ...

    def refund(self, order: RefundOrder, steps: Steps) -> Outcome: ...

    def resume(self, reference: str, steps: Steps) -> Outcome:
        """Go on after the customer acted. `reference` is the provider's id of what waits."""
        ...

    def lookup(self, reference: Reference) -> Finding:
        """What became of an attempt. Reads only."""
        ...

    def link(self, customer: str, reference: str) -> None:
        """Check that `reference` is a customer of this account before it is kept for our `customer`. Reads only.

        Raises:
            ValidationError: it is none.
        """
        ...

    def setup_method(self, order: SetupOrder, key: str) -> SetupPage:
        """Make a page on which a customer saves a method. The same `key` gives the same page.

        Raises:
            ProviderUnsupported: the provider keeps no methods.
            ProviderError: there is no page; no money can have moved.
        """
        ...

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookEvent:
        """Verify a webhook and say what it tells. `headers` are in lower case.

        Raises:
            WebhookInvalid: the signature, the age, the account or the form is wrong: nothing of it may be believed.
            ProviderUnsupported: the provider sends none.
        """
        ...

    def poll(self, now: datetime) -> Sequence[WebhookEvent]:
        """What happened lately, of a provider that is asked because it sends no webhooks. Reads only; may repeat."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class Resends(Protocol):
    """A provider whose stored requests can be sent again byte for byte, because a second delivery can do nothing that
    the first did not: a signed transaction. The engine asks it to only for a payment that may still run."""

    def resend(self, reference: Reference) -> Outcome:
        """Send what is stored of an attempt again, and say what became of it."""
        ...


@runtime_checkable
class SpeedsUp(Protocol):
    """A provider that can replace what waits by the same with a better chance: never two of both. A person decides."""

    def speed_up(self, reference: Reference) -> Outcome:
        """Replace what waits.

        Raises:
            ProviderError: it was not replaced; the message says why.
        """
        ...


@runtime_checkable
class UsageMeter(Protocol):
    """What a provider also has that bills usage by meters of its own."""

    @property
    def meter_key_life(self) -> timedelta:
        """For how long one key counts once."""
        ...

    def report_usage(self, meter: str, customer: str, quantity: int, key: str) -> None:
        """Tell a meter of usage; a key counts once. `customer` is what the provider calls them.

        Raises:
            ProviderError: it was not taken, or that is not known.
        """
        ...


@runtime_checkable
class CustomerPortal(Protocol):
    """What a provider also has that shows a customer their own methods, invoices and payments on a page."""

    def portal(self, customer: str, return_url: str) -> str:
        """The address of the page, for a short time. `customer` is what the provider calls them.

        Raises:
            ProviderError: there is no page.
        """
        ...


class Plain(ABC):
    """What a provider that only charges and refunds answers to the rest of the protocol: inherit it, and override what
    yours can do."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    def prepare_resume(self, reference: str) -> Request | None:  # noqa: ARG002 - for overriding
        """What waits is looked up, not asked again."""
        return None

    def resume(self, reference: str, steps: Steps) -> Outcome:  # noqa: ARG002
        """There is no second request."""
        raise self._unsupported("payments that go on after the customer acted")

    def checkout(self, order: Order, steps: Steps) -> Outcome:  # noqa: ARG002
        """There is no page to pay on."""
        raise self._unsupported("checkout pages")

    def link(self, customer: str, reference: str) -> None:  # noqa: B027 - it may stay so
        """Whatever reference the operator names is kept."""

    def setup_method(self, order: SetupOrder, key: str) -> SetupPage:  # noqa: ARG002
        """No method is kept."""
        raise self._unsupported("saved payment methods")

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookEvent:  # noqa: ARG002
        """No webhook is sent."""
        raise self._unsupported("webhooks")

    def poll(self, now: datetime) -> Sequence[WebhookEvent]:  # noqa: ARG002
        """Nothing is told but when it is asked for."""
        return ()

    def close(self) -> None:  # noqa: B027
        """There is nothing to let go of."""

    def _unsupported(self, what: str) -> ProviderUnsupported:
        return ProviderUnsupported(f"The provider {self.name} has no {what}.")
