"""Starting the MCP server of one agent: what is checked first, and what it says of itself.

Nothing is written to standard output but the protocol; what a person should know goes to standard error.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO

from agentpay.errors import ApproverSecretExposed, ConfigurationError
from agentpay_policies.text import identifier
from agentpay_servers.mcp_config import absolute_url, policy_path, without_password

if TYPE_CHECKING:
    from agentpay.manager import PaymentManager
    from agentpay.settings import Settings
    from agentpay.spending.models import ActivePolicy


def run_mcp(agent: str | None, settings: Settings) -> None:
    """Serve one agent over stdio until the client closes it. The manager's start looks up what was left open.

    Raises:
        ApproverSecretExposed: an approver's secret is among the settings, where the agent's process could read it.
        ConfigurationError: no agent is named, there is no such policy file (by its full path), or another setting is
            wrong; and whatever else `PaymentManager` raises.
    """
    from agentpay.manager import PaymentManager

    name = checked_agent(agent if agent is not None else settings.agent)
    refuse_approver_secret(settings)
    path = None if settings.policy is None else policy_path(settings.policy)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with PaymentManager(
        settings.database_url, provider=settings.providers, policy=path, throttle=settings.throttle
    ) as manager:
        introduce(manager, name, settings, path, sys.stderr)
        serve(manager, name)


def serve(manager: PaymentManager, agent: str) -> None:
    """Serve one agent over stdio. The protocol's library is loaded here, when everything else is in order."""
    from agentpay_servers.mcp import serve_stdio

    with manager.background():
        serve_stdio(manager, agent)


def checked_agent(agent: str | None) -> str:
    """The agent that a server speaks for.

    Raises:
        ConfigurationError: none is named.
        ValidationError: the name is none.
    """
    if not agent:
        raise ConfigurationError(
            "No agent is named.", next_step="Name one with --agent ID, or set AGENTPAY_AGENT: see `agentpay agents`."
        )
    return identifier(agent, "agent")


def refuse_approver_secret(settings: Settings) -> None:
    """Refuse to run where the agent's process could read an approver's secret.

    Raises:
        ApproverSecretExposed: it is set.
    """
    if settings.approver_secret is not None:
        raise ApproverSecretExposed("AGENTPAY_APPROVER_SECRET is set where an agent's server would run.")


def introduce(manager: PaymentManager, agent: str, settings: Settings, path: str | None, stream: TextIO) -> None:
    """Say for whom the server runs, on which database, and by which policy."""
    database = without_password(absolute_url(settings.database_url))
    stream.write(f"agentpay mcp: agent {agent}\n")
    stream.write(f"agentpay mcp: database {database}\n")
    stream.write(f"agentpay mcp: policy {_policy(manager.active_policy(), path)}\n")
    stream.flush()


def _policy(active: ActivePolicy | None, path: str | None) -> str:
    if active is None:
        return "none is active: every spending call is denied; write one with: agentpay init"
    where = f"given as {path}" if path else "as the database has it"
    return f"{active.id}, version {active.version}, hash {active.hash[:12]}, {where}"
