"""Calling a tool for an agent of a manager: what the MCP server and the LangChain tools do alike."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from agentpay.errors import AgentPayError
from agentpay_policies.names import ToolName
from agentpay_tools.boundary import ToolResult, run
from agentpay_tools.handle import Handle
from agentpay_tools.spec import AnySpec

logger = logging.getLogger("agentpay.tools")


class Manager(Protocol):
    """What a tool server needs of `agentpay.PaymentManager`."""

    def for_agent(self, agent: str) -> Handle: ...

    def tools_for(self, agent: str) -> frozenset[ToolName]: ...

    def note_refusal(self, agent: str, tool: ToolName, error: AgentPayError) -> AgentPayError: ...


def call(manager: Manager, handle: Handle, spec: AnySpec, arguments: Mapping[str, object]) -> ToolResult:
    """Run one tool for the agent of a handle. Never raises; refusals are audited and throttled."""
    note = partial(manager.note_refusal, handle.agent)
    return run(spec, handle, arguments, listed=_is_listed(manager, handle.agent, spec), note=note)


def _is_listed(manager: Manager, agent: str, spec: AnySpec) -> bool:
    try:
        return spec.name in manager.tools_for(agent)
    except AgentPayError:
        logger.exception("the policy could not be read")
        return True  # it decides nothing: the engine will say what is wrong
