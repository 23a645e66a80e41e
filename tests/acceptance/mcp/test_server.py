"""The MCP server over the SDK's own client, in memory, in both eras of the protocol."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

import anyio
import jsonschema
import pytest
from mcp import Client, MCPError
from mcp.types import CallToolResult, ListToolsResult, TextContent

from agentpay.errors import PolicyDenied, StorageBusy
from agentpay_policies.codes import violation
from agentpay_policies.names import ALWAYS_ALLOWED, TOOL_NAMES
from agentpay_servers.mcp import AgentPayServer
from agentpay_tools import CATALOG
from agentpay_tools.render import contract
from unit.tools.fakes import GOOD, PARKED, PAYMENT, FakeHandle, FakeManager

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ["auto", "legacy"])]

Mode = Literal["auto", "legacy"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def connected(manager: FakeManager, mode: Mode, **options: Any) -> AsyncIterator[Client]:
    """A client of a server for the agent `bot`."""
    async with Client(AgentPayServer(manager, "bot"), mode=mode, **options) as client:
        yield client


def text_of(result: CallToolResult) -> str:
    """The text that a model reads."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def test_the_list_is_the_catalog_and_stays_under_16_kb(mode: Mode) -> None:
    async with connected(FakeManager(), mode) as client:
        listed = await client.list_tools()
    assert [tool.name for tool in listed.tools] == list(TOOL_NAMES)
    for tool in listed.tools:
        sent = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert sent == contract(CATALOG[tool.name])
    on_the_wire = ListToolsResult(tools=listed.tools).model_dump_json(by_alias=True, exclude_none=True)
    assert len(on_the_wire.encode()) < 16_000


async def test_only_what_the_policy_lists_is_listed(mode: Mode) -> None:
    manager = FakeManager(listed=frozenset({"charge", *ALWAYS_ALLOWED}))
    async with connected(manager, mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert names == ["charge", "get_payment", "get_approval", "get_budget"]


async def test_a_policy_that_cannot_be_read_is_an_error_with_its_code(mode: Mode) -> None:
    def busy() -> Any:
        raise StorageBusy("Another process holds the database.")

    async with connected(FakeManager(listed=busy), mode) as client:
        with pytest.raises(MCPError, match="STORAGE_BUSY"):
            await client.list_tools()


@pytest.mark.parametrize("name", TOOL_NAMES)
async def test_each_tool_answers(mode: Mode, name: Any) -> None:
    async with connected(FakeManager(), mode) as client:
        result = await client.call_tool(name, GOOD[name])
    assert not result.is_error
    assert text_of(result)
    assert result.structured_content is not None
    jsonschema.validate(result.structured_content, contract(CATALOG[name])["outputSchema"])


async def test_the_agent_is_the_servers(mode: Mode) -> None:
    manager = FakeManager()
    async with connected(manager, mode) as client:
        result = await client.call_tool("charge", {**GOOD["charge"], "agent": "root"})
    assert manager.handle.agent == "bot"
    assert manager.handle.calls == []
    assert result.is_error


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 5},
        {"amount": 5.0},
        {"amount": True},
        {"amount": "1e400"},
        {"amount": "1,000"},
        {"amount": "-1"},
        {"customer": "x" * 10_240},
        {"customer": ""},
        {"limit": "none"},
    ],
    ids=str,
)
async def test_bad_input_is_a_refusal_that_the_model_sees(mode: Mode, changes: dict[str, Any]) -> None:
    manager = FakeManager()
    async with connected(manager, mode) as client:
        result = await client.call_tool("charge", {**GOOD["charge"], **changes})
    assert manager.handle.calls == []
    assert result.is_error
    assert result.structured_content is not None
    assert result.structured_content["error"]["code"] == "INVALID_ARGUMENT"
    jsonschema.validate(result.structured_content, contract(CATALOG["charge"])["outputSchema"])
    assert next(iter(changes)) in text_of(result)


async def test_strings_are_not_parsed(mode: Mode) -> None:
    manager = FakeManager()
    async with connected(manager, mode) as client:
        await client.call_tool("charge", {**GOOD["charge"], "description": "[1]", "provider": "null"})
    assert manager.handle.calls[0][2]["description"] == "[1]"
    assert manager.handle.calls[0][2]["provider"] == "null"


async def test_what_waits_for_approval_is_no_error(mode: Mode) -> None:
    manager = FakeManager(FakeHandle(script={"charge": PARKED}))
    async with connected(manager, mode) as client:
        result = await client.call_tool("charge", GOOD["charge"])
    assert not result.is_error
    assert text_of(result).startswith("NOT PAID YET")


async def test_an_unlisted_tool_is_answered_by_the_engine_which_denies(mode: Mode) -> None:
    denied = PolicyDenied("Not listed.", violations=(violation("TOOL_NOT_ALLOWED"),))
    manager = FakeManager(FakeHandle(script={"refund": denied}), listed=ALWAYS_ALLOWED)
    async with connected(manager, mode) as client:
        good = await client.call_tool("refund", GOOD["refund"])
        bad = await client.call_tool("refund", {})
    for result in (good, bad):
        assert result.is_error
        assert result.structured_content is not None
        assert result.structured_content["status"] == "denied"
        assert result.structured_content["error"]["violations"][0]["code"] == "TOOL_NOT_ALLOWED"


@pytest.mark.parametrize("name", ["approve", "", "../charge", "charge ", "x" * 10_000])
async def test_an_unknown_tool_is_answered_and_its_name_is_not_repeated(mode: Mode, name: str) -> None:
    async with connected(FakeManager(), mode) as client:
        result = await client.call_tool(name, {})
    assert result.is_error
    assert text_of(result).startswith("There is no such tool.")
    assert text_of(result).endswith("No money moved by this call.")
    assert len(text_of(result)) < 400


async def test_a_crash_is_an_answer_without_its_details(mode: Mode) -> None:
    script = {"charge": RuntimeError("hunter2"), "get_payment": replace(PAYMENT, status="pending")}
    async with connected(FakeManager(FakeHandle(script=script)), mode) as client:
        result = await client.call_tool("charge", GOOD["charge"])
    assert result.is_error
    assert "hunter2" not in text_of(result) + str(result.structured_content)
    assert text_of(result).endswith("payment pay_1 is pending; do not pay again.")


async def test_a_client_that_gives_up_does_not_stop_a_call(mode: Mode) -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def slow(*_args: Any, **_kwargs: Any) -> Any:
        begun.set()
        threading.Timer(0.5, go_on.set).start()  # in memory a client that gives up waits for the server's answer
        assert go_on.wait(10)
        done.set()
        return PAYMENT

    manager = FakeManager(FakeHandle(script={"charge": slow}))
    async with connected(manager, mode) as client:
        with anyio.move_on_after(0.2) as gave_up:
            await client.call_tool("charge", GOOD["charge"])
        assert gave_up.cancelled_caught
        assert begun.is_set()
        again = await client.call_tool("get_budget", {})
        assert not again.is_error
    assert done.wait(5)


async def test_slow_calls_do_not_hold_up_a_trivial_one(mode: Mode) -> None:
    go_on = threading.Event()

    def slow(*_args: Any, **_kwargs: Any) -> Any:
        assert go_on.wait(10)
        return PAYMENT

    manager = FakeManager(FakeHandle(script={"charge": slow}))
    async with connected(manager, mode) as client, anyio.create_task_group() as tasks:
        for _ in range(60):
            tasks.start_soon(client.call_tool, "charge", GOOD["charge"])
        with anyio.fail_after(5):
            await client.call_tool("get_budget", {})
        go_on.set()


async def test_the_server_says_who_it_is_and_how_to_use_it(mode: Mode) -> None:
    async with connected(FakeManager(), mode) as client:
        assert client.server_info is not None
        assert client.server_info.name == "agentpay"
        assert client.instructions is not None
        assert "SAME key" in client.instructions


async def test_arguments_that_are_refused_here_are_written_down(mode: Mode) -> None:
    manager = FakeManager()
    async with connected(manager, mode) as client:
        await client.call_tool("charge", {"amount": 5})
        await client.call_tool("list_plans", {})
    assert manager.refused == [("bot", "charge", "INVALID_ARGUMENT")]
