"""Fixtures of the MCP tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from mcp import Client

from acceptance.mcp.servers import AGENT
from agentpay.manager import PaymentManager
from agentpay_servers.mcp import AgentPayServer


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[PaymentManager]:
    """A manager on a fresh database, with the starter policy and the mock."""
    with PaymentManager(f"sqlite:///{tmp_path / 'agentpay.db'}", provider="mock", policy="starter") as made:
        yield made


@pytest.fixture
async def engine(manager: PaymentManager) -> AsyncIterator[Client]:
    """A client, in memory, of a server on that manager."""
    async with Client(AgentPayServer(manager, AGENT)) as client:
        yield client
