"""Where the demo's money moves: the mock, a Stripe of our own, or Stripe's test mode. No stage moves real money."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from pydantic import SecretStr

from agentpay.errors import ConfigurationError
from agentpay.ids import RandomIds
from agentpay.providers.base import PaymentProvider
from agentpay_policies.money import Money

if TYPE_CHECKING:
    from agentpay.manager import PaymentManager
    from agentpay.providers.stripe import StripeProvider
    from agentpay.providers.stripe_settings import StripeSettings
    from agentpay.testing.stripe_fake import StripeFake

CUSTOMER: Final = "ana"


@dataclass(frozen=True)
class Moved:
    """One movement of money in the provider's own books."""

    source: str
    target: str
    money: Money


class Stage(Protocol):
    """A provider, and what the demo needs to know of it."""

    @property
    def provider(self) -> str | PaymentProvider:
        """The provider, or its name."""
        ...

    @property
    def name(self) -> str:
        """The provider's name."""
        ...

    @property
    def account(self) -> str:
        """The provider's account, as the ledger names it."""
        ...

    @property
    def says(self) -> str:
        """Where the money moves, for people."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What the agent's server needs to know of it."""
        ...

    def set(self, manager: PaymentManager) -> None:
        """Let the customer be known, with a way to pay."""
        ...

    def moved(self, database_url: str) -> tuple[Moved, ...] | None:
        """What the provider's own books say; None where they cannot be read."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


def staged(name: str) -> Stage:
    """The stage of a provider.

    Raises:
        ConfigurationError: there is no demo of it, or its settings are wrong, or would move real money.
    """
    if name == "mock":
        return MockStage()
    if name == "stripe":
        return _stripe()
    raise ConfigurationError(f"There is no demo of {name[:40]!a}: there is one of mock and of stripe.")


class MockStage:
    """The mock, whose books lie beside the database."""

    provider: str = "mock"
    name = "mock"
    account = "mock"
    says = "the mock provider, which moves no real money"
    environment: Mapping[str, str] = {}

    def set(self, manager: PaymentManager) -> None:
        """The mock knows everybody."""

    def moved(self, database_url: str) -> tuple[Moved, ...]:
        """What the mock's books say."""
        from agentpay.providers.mock import MockProvider
        from agentpay.providers.mock_store import books_beside

        provider = MockProvider(books_beside(database_url))
        try:
            return tuple(Moved(one.source, one.target, one.money) for one in provider.movements())
        finally:
            provider.close()

    def close(self) -> None:
        """There is nothing to let go of."""


def _stripe() -> StripeStage:
    """Stripe's test mode where there is a key; else a Stripe of our own, on this machine."""
    from agentpay.providers.registry import create_payment_provider
    from agentpay.providers.stripe_settings import StripeSettings
    from agentpay.settings import load
    from agentpay.testing.stripe_fake import StripeFake

    try:
        from agentpay.providers.stripe import StripeProvider
    except ImportError as exc:
        raise ConfigurationError(
            f"The demo of stripe needs {exc.name}, which is not installed.", next_step="Install the extra stripe."
        ) from None
    settings = load(StripeSettings)
    if settings.stripe_api_key is None:
        fake = StripeFake()
        return StripeStage(fake.provider(), fake, fake.environment)
    made = create_payment_provider("stripe")
    assert isinstance(made, StripeProvider), "the name is ours"
    if made.mode != "test":
        made.close()
        raise ConfigurationError("The demo moves no real money: it needs a test key of Stripe's.")
    return StripeStage(made, None, _as_environment(settings))


def _as_environment(settings: StripeSettings) -> dict[str, str]:
    """The settings as variables: the agent's server, which runs in another folder, is given the same."""
    plain = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in settings
        if value is not None
    }
    return {name.upper(): str(int(value) if isinstance(value, bool) else value) for name, value in plain.items()}


class StripeStage:
    """Stripe, ours or its test mode: the customer is made there, with a test card."""

    name = "stripe"

    def __init__(self, provider: StripeProvider, fake: StripeFake | None, environment: Mapping[str, str]) -> None:
        self.provider: PaymentProvider = provider
        self._stripe = provider
        self._fake = fake
        self.environment = environment
        self.account = provider.account

    @property
    def says(self) -> str:
        """Where the money moves."""
        return "a Stripe of our own on this machine" if self._fake is not None else "Stripe's test mode"

    def set(self, manager: PaymentManager) -> None:
        """Make the customer at Stripe, with a card that pays, and link them."""
        manager.link_customer(
            CUSTOMER, "stripe", self._stripe.create_customer(RandomIds().new("demo"), method="pm_card_visa")
        )

    def moved(self, database_url: str) -> tuple[Moved, ...] | None:  # noqa: ARG002 - its books are not beside it
        """What the fake's books say."""
        from agentpay.providers.stripe_money import from_units

        if self._fake is None:
            return None
        found = []
        for one in self._fake.effects():
            money = from_units(one.units, one.currency)
            assert money is not None, "the demo's currency is known"
            ends = (f"customer:{CUSTOMER}", "clearing")
            found.append(Moved(*(ends if one.kind == "charge" else ends[::-1]), money))
        return tuple(found)

    def close(self) -> None:
        """Let go of the connections, and of the server."""
        with ExitStack() as stack:
            if self._fake is not None:
                stack.callback(self._fake.close)
            stack.callback(self._stripe.close)
