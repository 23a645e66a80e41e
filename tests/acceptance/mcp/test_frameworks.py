"""docs/frameworks.md: the configuration that it hands to frameworks starts the server, and what it shows is Python."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters, stdio_client

from acceptance.docs.pages import ROOT, blocks
from acceptance.mcp.servers import Place, body_of, text_of
from agentpay_servers.mcp_config import client_config

PAGE = ROOT / "docs" / "frameworks.md"
CHARGE = {"customer": "alice", "currency": "USD", "description": "report"}

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_printed_command_serves_one_agent(tmp_path: Path) -> None:
    """As the page says: the command, the arguments and the environment, and nothing else that a framework would add."""
    Place(tmp_path).fill()
    printed = client_config("support-bot", database_url=f"sqlite:///{tmp_path / 'agentpay.db'}", policy="starter")
    server = json.loads(json.dumps(printed))["mcpServers"]["agentpay"]
    assert set(server) == {"command", "args", "env"}
    passed_on = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
    parameters = StdioServerParameters(**{**server, "env": {**server["env"], **passed_on}}, cwd="/")
    with (tmp_path / "stderr.txt").open("w") as errors:
        async with Client(stdio_client(parameters, errlog=errors)) as client:
            assert len((await client.list_tools()).tools) == 12
            paid = await client.call_tool("charge", {**CHARGE, "amount": "5.00", "idempotency_key": "a"})
            assert body_of(paid)["status"] == "succeeded"
            denied = await client.call_tool("charge", {**CHARGE, "amount": "60.00", "idempotency_key": "b"})
            assert denied.is_error
            assert text_of(denied).endswith("No money moved by this call.")


def test_the_json_of_the_page_is_of_the_printed_form() -> None:
    (shown,) = [json.loads(block.text) for block in blocks(PAGE) if block.kind == "json"]
    made = client_config("support-bot", database_url="sqlite:////x/agentpay.db", policy="starter")
    server = made["mcpServers"]["agentpay"]
    assert shown.keys() == server.keys()
    assert shown["args"] == server["args"]
    assert shown["env"].keys() <= server["env"].keys() | {"AGENTPAY_PROVIDERS"}


@pytest.mark.parametrize("name", ["OpenAI Agents SDK", "Pydantic AI", "CrewAI"])
def test_each_framework_has_its_program_and_its_row(name: str) -> None:
    text = PAGE.read_text("utf-8")
    assert re.search(rf"^\| {name} \| \S+ [\d.]+, ", text, re.MULTILINE)
    section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
    (program,) = re.findall(r"```text\n(.*?)```", section, re.DOTALL)
    names = {node.id for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Name)}
    assert "server" in names
