"""A fake PayPal for all tests of a module, and a provider on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentpay.clock import FixedClock
from agentpay.providers.paypal import PayPalProvider
from agentpay.testing.paypal_fake import PayPalFake
from conftest import START


@pytest.fixture(scope="module")
def running() -> Iterator[PayPalFake]:
    """The fake behind `fake`."""
    with PayPalFake(clock=FixedClock(START)) as made:
        yield made


@pytest.fixture
def fake(running: PayPalFake) -> Iterator[PayPalFake]:
    """A fake PayPal without faults. What other tests of the module did is still in its books."""
    yield running
    running.faults.clear()
    running.tokens_refused = False
    running.books.captures_as = running.books.refunds_as = "COMPLETED"
    running.books.captured_amount = None


@pytest.fixture
def provider(fake: PayPalFake) -> Iterator[PayPalProvider]:
    """PayPal on the fake; an exchange may take a second."""
    made = fake.provider(timeout=1.0)
    yield made
    made.close()
