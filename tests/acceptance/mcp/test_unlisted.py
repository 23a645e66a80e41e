"""A tool that the policy does not list is denied by the engine, audited, and never executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from acceptance.mcp.servers import body_of, text_of
from agentpay.manager import PaymentManager
from agentpay_policies.names import ALWAYS_ALLOWED, TOOL_NAMES
from agentpay_servers.mcp import AgentPayServer
from unit.tools.fakes import GOOD

pytestmark = pytest.mark.anyio

POLICY: dict[str, Any] = {"version": 1, "id": "nothing", "agents": {"bot": {"tools": []}}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("name", [name for name in TOOL_NAMES if name not in ALWAYS_ALLOWED])
@pytest.mark.parametrize("arguments", ["good", "none"])
async def test_each_unlisted_tool_is_denied(tmp_path: Path, name: Any, arguments: str) -> None:
    url = f"sqlite:///{tmp_path / 'agentpay.db'}"
    with PaymentManager(url, provider="mock", policy=POLICY) as manager:
        async with Client(AgentPayServer(manager, "bot")) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == ALWAYS_ALLOWED
            result = await client.call_tool(name, GOOD[name] if arguments == "good" else {})
        assert result.is_error
        assert body_of(result)["status"] == "denied"
        assert body_of(result)["error"]["violations"][0]["code"] == "TOOL_NOT_ALLOWED"
        assert text_of(result).endswith("No money moved by this call.")
        assert manager.list_payments("alice") == ()
        assert manager.verify_audit().ok
