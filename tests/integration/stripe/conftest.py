"""A fake Stripe, and the provider that asks it. Each test has its own; nothing waits longer than it must."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from agentpay.clock import FixedClock
from agentpay.providers.stripe import StripeProvider
from agentpay.providers.stripe_wire import Timeouts
from agentpay.testing.stripe_fake import StripeFake
from support.bench_fixtures import make_bench
from support.stripe import URLS, MakeProvider

__all__ = ["make_bench"]


@pytest.fixture
def fake(clock: FixedClock) -> Iterator[StripeFake]:
    """A Stripe of our own."""
    with StripeFake(clock=clock) as made:
        yield made


@pytest.fixture
def make_provider(fake: StripeFake) -> Iterator[MakeProvider]:
    """Makes providers that ask it."""
    made: list[StripeProvider] = []

    def make(**options: Any) -> StripeProvider:
        quick = Timeouts(connect=1.0, read=options.pop("read", 5.0))
        made.append(fake.provider(**{"timeouts": quick, "lease": timedelta(seconds=2), **options}))
        return made[-1]

    yield make
    for provider in made:
        provider.close()


@pytest.fixture
def provider(make_provider: MakeProvider) -> StripeProvider:
    """A provider without addresses to come back to: what needs the customer is declined."""
    return make_provider()


@pytest.fixture
def pages(make_provider: MakeProvider) -> StripeProvider:
    """A provider with addresses: what needs the customer becomes a page."""
    return make_provider(**URLS)
