"""An engine whose provider sends webhooks."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from agentpay.providers.mock_webhooks import SECRET, SignedEvent, signed
from agentpay.webhooks.models import WebhookReceipt
from support.bench import Bench
from support.bench_fixtures import ana, ben, bench, make_bench, shared, shared_engine

__all__ = ["ana", "bench", "ben", "deliver", "make_bench", "shared", "shared_engine"]

Deliver = Callable[..., WebhookReceipt]


@pytest.fixture
def deliver() -> Deliver:
    """`deliver(bench, event)`: as the mock would deliver it now, signed anew; `event` may be kept from long before."""

    def one(bench: Bench, event: SignedEvent, **changes: Any) -> WebhookReceipt:
        assert bench.clock is not None
        again = signed({**json.loads(event.body), **changes}, secret=SECRET, at=bench.clock.now())
        return bench.manager.receive_webhook("mock", again.body, again.headers)

    return one


def told(bench: Bench, reference: str, **by: float) -> SignedEvent:
    """What the mock tells of an object now; a moment passes."""
    event = bench.mock.webhook(reference)
    bench.clock.advance(timedelta(seconds=1))  # type: ignore[union-attr]
    return event
