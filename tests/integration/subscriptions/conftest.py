"""The shop on each database. The fixture `store` has the doctor look at it after every test."""

from __future__ import annotations

import pytest

from agentpay.ids import Ids
from agentpay.storage import Store
from integration.usage.shop import Shop


@pytest.fixture
def shop(store: Store, ids: Ids) -> Shop:
    """A store with the services on it."""
    return Shop(store, ids)
