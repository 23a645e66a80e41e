"""The MCP server: the catalog's tools for ONE agent, over stdio.

Who the agent is comes from the server's configuration, never from a call. It lists what the policy lists for that
agent; what is called all the same reaches the engine, which denies and audits it.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import anyio
from anyio import to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, CallToolResult, InputRequiredResult, TextContent, Tool, ToolAnnotations

from agentpay.errors import AgentPayError
from agentpay_tools import CATALOG, AnySpec
from agentpay_tools.calls import Manager, call
from agentpay_tools.render import input_schema, output_schema

INSTRUCTIONS: Final = (
    "AgentPay charges customers and spends money for one agent, behind a spending policy. "
    "Amounts are decimal strings with a currency. Give every purpose an idempotency_key of its own, and after a "
    "time-out or an error repeat the call with the SAME key; a new key pays again. "
    "NOT PAID YET means that a person must approve first: read get_approval, then repeat the same call. "
    "A refusal says what to do next; do not work around it, and do not split a payment. get_budget says what you may "
    "spend."
)

_MOST_THREADS: Final = 200
"""The SDK's own pool has 40: that many slow payments would delay a trivial read."""


class AgentPayServer(MCPServer[Any]):
    """The tools of one agent.

    `MCPServer`'s own way to register a function reads arguments leniently: it drops what is unknown and parses
    strings. So the two methods that list and call are overridden, and the catalog's strict models decide.
    """

    def __init__(self, manager: Manager, agent: str) -> None:
        super().__init__(
            "agentpay", title="AgentPay", version=_version(), instructions=INSTRUCTIONS, log_level="WARNING"
        )
        self._manager = manager
        self._agent = agent
        self._handle = manager.for_agent(agent)
        self._threads = anyio.CapacityLimiter(_MOST_THREADS)

    async def list_tools(self) -> list[Tool]:
        """The tools that the active policy lists for the agent, in the catalog's order.

        Raises:
            MCPError: the policy cannot be read.
        """
        try:
            listed = await to_thread.run_sync(self._manager.tools_for, self._agent, limiter=self._threads)
        except AgentPayError as exc:
            raise MCPError(INTERNAL_ERROR, f"{exc} {exc.next_step}") from exc
        return [_tool(spec) for spec in CATALOG.values() if spec.name in listed]

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any],
        context: Context[Any, Any] | None = None,  # noqa: ARG002 - the SDK passes it by this name
    ) -> CallToolResult | InputRequiredResult:
        """Run a tool in a worker thread and give its answer or its refusal.

        A client that gives up cancels this coroutine. `run_sync` is shielded from that while the thread runs, so a
        payment is never left in the middle; a call that still waits for a thread is not begun.
        """
        spec = CATALOG.get(name)
        if spec is None:
            return _unknown_tool()
        result = await to_thread.run_sync(
            partial(call, self._manager, self._handle, spec, arguments), limiter=self._threads
        )
        return CallToolResult(
            content=[TextContent(type="text", text=result.text)],
            structured_content=result.structured(),
            is_error=result.is_error,
        )


def serve_stdio(manager: Manager, agent: str) -> None:
    """Serve one agent over standard input and output until the client closes them."""
    AgentPayServer(manager, agent).run("stdio")


def _tool(spec: AnySpec) -> Tool:
    hints = ToolAnnotations(
        read_only_hint=spec.hints.read_only,
        destructive_hint=spec.hints.destructive,
        idempotent_hint=spec.hints.idempotent,
        open_world_hint=spec.hints.open_world,
    )
    return Tool(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        input_schema=input_schema(spec),
        output_schema=output_schema(spec),
        annotations=hints,
    )


def _unknown_tool() -> CallToolResult:
    # The name is not repeated: it is whatever the caller made up.
    text = f"There is no such tool. The tools are: {', '.join(CATALOG)}. No money moved by this call."
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _version() -> str:
    try:
        return version("agentpay-engine")
    except PackageNotFoundError:
        return "0"
