"""The seam to a provider for questions that move no money: what it cannot map becomes an error of ours."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from agentpay.errors import AgentPayError, ProviderError
from agentpay.providers.base import PaymentProvider

logger = logging.getLogger(__name__)

T = TypeVar("T")


def answered(provider: PaymentProvider, call: Callable[[], T]) -> T:
    """What a provider answers.

    Raises:
        AgentPayError: what the provider raised, or `ProviderError` for what it could not map.
    """
    try:
        return call()
    except AgentPayError:
        raise
    except Exception as exc:  # noqa: BLE001 - the named seam: nothing that a provider raises is believed
        logger.warning("%s raised %s", provider.name, type(exc).__name__)
        raise ProviderError(f"{provider.name} did not answer: {type(exc).__name__}.") from None
