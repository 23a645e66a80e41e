"""Which agent a call is for: fixed by the host, or found by the host's own function, and never what a model says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig

from agentpay.errors import ConfigurationError, PolicyDenied
from agentpay_policies.codes import violation
from agentpay_policies.text import identifier

logger = logging.getLogger("agentpay.tools")

AgentFrom = Callable[[RunnableConfig, Any], str]
"""Finds the agent of a call in the run's config and in the graph's context (None outside a graph).

`configurable` may come from a remote client: what is taken from it is a claim, so only the agents that were listed are
served. The context is what the host passes as `context=` and is as trustworthy as the host makes it.
"""


@dataclass(frozen=True)
class Identity:
    """The agents that are served, and how the one of a call is found: fixed where `agent_from` is None."""

    agents: tuple[str, ...]
    agent_from: AgentFrom | None

    def of(self, config: RunnableConfig | None) -> str:
        """The agent that a call is for.

        Raises:
            PolicyDenied: none is named, or one that is not served.
        """
        if self.agent_from is None:
            return self.agents[0]
        try:
            named = self.agent_from(config or {}, graph_context())
        except (LookupError, AttributeError, TypeError, ValueError) as exc:
            # The function met a config without what it looks for. Its message may hold what a client sent.
            logger.warning("agent_from raised %s", type(exc).__name__)
            raise _unknown() from None
        if not isinstance(named, str) or named not in self.agents:
            raise _unknown()
        return named


def identity(agent: str | None, agents: Sequence[str] | None, agent_from: AgentFrom | None) -> Identity:
    """Who is served, checked.

    Raises:
        ConfigurationError: neither one agent, nor several and how to tell them apart.
        ValidationError: a name is none.
    """
    if agent is not None and agents is None and agent_from is None:
        return Identity((identifier(agent, "agent"),), None)
    if agent is not None or not agents or isinstance(agents, str) or not callable(agent_from):
        raise ConfigurationError(
            "The toolkit does not know for whom it speaks.",
            next_step="Give agent=, or agents=[…] together with agent_from=, a function of config and context.",
        )
    return Identity(tuple(identifier(one, "agent") for one in agents), agent_from)


def graph_context() -> object:
    """The context of the graph that runs; None outside a graph, or where it was given none."""
    try:
        from langgraph.runtime import get_runtime
    except ModuleNotFoundError:  # langchain-core alone is enough for the tools
        return None
    try:
        runtime = get_runtime()
    except (RuntimeError, LookupError):
        return None
    found: object = getattr(runtime, "context", None)
    return found


def _unknown() -> PolicyDenied:
    # Which agents are served is none of the caller's business.
    found = violation("AGENT_UNKNOWN", "The host names no agent that these tools are for.")
    return PolicyDenied(found.message, violations=(found,), next_step=found.next_step)
