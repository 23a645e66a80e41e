"""What the crash matrix and the soak need of a provider's fake, so that every provider runs in the same matrix.

To add one: write a class with the attributes and methods of `Fake`, and put an instance into `FAKES`. One that is asked
over a socket is a server in `support.served`, a client in `support.watched`, and a `ServedFake` in `SERVED`.

The fake stands for the provider's server: its books outlive a client that dies, so they lie outside of the process (a
file, a table, a server of its own), found again by the database's URL. It calls `reached("before_provider")` when it
has a request and has not taken it, and `reached("after_move")` as soon as money has moved and before the client is
answered; only the client's process may die there. What is not in `REACHED` for an ending is never called in it: a test
holds a fake to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, Protocol, get_args

from agentpay.clock import Clock
from agentpay.manager import PaymentManager
from agentpay.providers.base import PaymentProvider
from agentpay.providers.base import Request as ProviderRequest
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_store import books_beside
from support.failing import Place
from support.served import ask
from support.watched import WatchedPayPal, WatchedStripe

Ending = Literal["ok", "decline", "timeout_before", "timeout_after", "error_after", "malformed"]
"""How the provider's part of a call ends: money moved; declined; no answer and nothing moved; no answer, status 500 or
nonsense after money moved."""

ENDINGS: Final[tuple[Ending, ...]] = get_args(Ending)

REACHED: Final[Mapping[Ending, frozenset[Place]]] = {
    "ok": frozenset({"before_provider", "after_move"}),
    "decline": frozenset({"before_provider"}),
    "timeout_before": frozenset(),
    "timeout_after": frozenset({"before_provider", "after_move"}),
    "error_after": frozenset({"before_provider", "after_move"}),
    "malformed": frozenset({"before_provider", "after_move"}),
}
"""Which of the provider's own places a call reaches."""


@dataclass(frozen=True)
class Effect:
    """One movement of money, by the provider's own books. `key` is that of the request that began it."""

    kind: Literal["charge", "refund"]
    key: str
    minor: int
    currency: str


class Fake(Protocol):
    """A provider as the matrix drives it."""

    @property
    def name(self) -> str:
        """The provider's name."""
        ...

    @property
    def lease(self) -> timedelta:
        """After how long an unanswered request is certainly over."""
        ...

    @property
    def goes_on(self) -> bool:
        """Whether a charge takes several requests, so that one that died between them waits for its operator."""
        ...

    @property
    def forgets(self) -> timedelta | None:
        """After so long nobody can tell any more what became of a request that did not arrive. None: it can be told."""
        ...

    def provider(self, url: str, clock: Clock | None, reached: Callable[[Place], None]) -> PaymentProvider:
        """A new client, as a program that starts makes one; its server's books belong to the database of the URL."""
        ...

    def meet(self, manager: PaymentManager, url: str, customer: str) -> None:
        """Whatever the provider needs of a customer to charge them without their doing."""
        ...

    def arrange(self, provider: PaymentProvider, ending: Ending) -> None:
        """Let the next request of this client end so, once."""
        ...

    def effects(self, url: str) -> Sequence[Effect]:
        """Every movement of money that the provider's books hold."""
        ...


_SCENARIOS: Final[Mapping[Ending, str]] = {
    "decline": "decline",
    "timeout_before": "timeout-before",
    "timeout_after": "timeout-after",
    "error_after": "error-after",
    "malformed": "malformed",
}


class MockFake:
    """The mock: its books are a file beside the database, or tables in it."""

    name = "mock"
    lease = timedelta(seconds=2)
    goes_on = False
    forgets = None

    def provider(self, url: str, clock: Clock | None, reached: Callable[[Place], None]) -> MockProvider:
        def script(point: str, _key: str, _request: ProviderRequest) -> None:
            if point == "before_move":
                reached("before_provider")
            if point == "after_move":
                reached("after_move")

        return MockProvider(books_beside(url), clock=clock, sleep=lambda _: None, script=script)

    def meet(self, manager: PaymentManager, url: str, customer: str) -> None:
        """Whoever is named can be charged."""

    def arrange(self, provider: PaymentProvider, ending: Ending) -> None:
        assert isinstance(provider, MockProvider)
        if ending != "ok":
            provider.force(_SCENARIOS[ending])

    def effects(self, url: str) -> list[Effect]:
        mock = MockProvider(books_beside(url))
        found = [
            Effect("refund" if one.kind == "refund" else "charge", one.key, one.money.minor, one.money.currency)
            for one in mock.movements()
        ]
        mock.close()
        return found


Served = WatchedStripe | WatchedPayPal


@dataclass(frozen=True)
class ServedFake:
    """A provider behind a socket, whose customers have a saved method: see `support.served` and `support.watched`."""

    name: str
    lease: timedelta
    client: Callable[[str, Clock | None, Callable[[Place], None]], Served]
    goes_on: bool = False
    forgets: timedelta | None = None

    def provider(self, url: str, clock: Clock | None, reached: Callable[[Place], None]) -> Served:
        ask(self.name, url, "arrange", "ok")
        return self.client(url, clock, reached)

    def meet(self, manager: PaymentManager, url: str, customer: str) -> None:
        manager.link_customer(customer, self.name, ask(self.name, url, "payer"))

    def arrange(self, provider: PaymentProvider, ending: Ending) -> None:
        assert isinstance(provider, WatchedStripe | WatchedPayPal)
        provider.watch.arrange(ending)

    def effects(self, url: str) -> list[Effect]:
        return [Effect(*one) for one in ask(self.name, url, "movements")]


SERVED: Final[tuple[Fake, ...]] = (
    ServedFake("stripe", timedelta(seconds=3), WatchedStripe, goes_on=True),
    ServedFake("paypal", timedelta(seconds=28), WatchedPayPal, forgets=timedelta(hours=5)),
)
FAKES: Final[tuple[Fake, ...]] = (MockFake(), *SERVED)
