"""What other processes do with one webhook."""

from __future__ import annotations

from collections.abc import Mapping

from agentpay.clock import FixedClock
from agentpay.manager import PaymentManager
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_store import books_beside
from conftest import START


def deliver(_index: int, url: str, body: bytes, headers: Mapping[str, str]) -> str:
    """Deliver it; what came of it."""
    clock = FixedClock(START)
    mock = MockProvider(books_beside(url), clock=clock)
    with PaymentManager(url, provider=mock, policy=False, clock=clock) as manager:
        return manager.receive_webhook("mock", body, headers).status
