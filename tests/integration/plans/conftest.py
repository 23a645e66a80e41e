"""The shop on each database; its invariants are checked after every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentpay.ids import Ids
from agentpay.storage import Store
from integration.usage.shop import Shop


@pytest.fixture
def shop(store: Store, ids: Ids) -> Iterator[Shop]:
    """A store with the services on it."""
    made = Shop(store, ids)
    yield made
    made.sound()
