"""`agentpay agents`: whom the policy names, and whom the operator enrolled."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agentpay_servers.commands import group
from agentpay_servers.commands.policy import no_policy
from agentpay_servers.output import Column, Listing, answer, hint
from agentpay_servers.session import AsJson, DatabaseUrl, not_in_order, reader

Agent = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's id, as its server is started with.")]

_AGENTS = (
    Column[Any]("agent", lambda row: row["agent"]),
    Column[Any]("halted", lambda row: row["halted"]),
    Column[Any]("budget", lambda row: row["budget"]),
    Column[Any]("each", lambda row: row["each"], since="record"),
    Column[Any]("enrolled", lambda row: row["enrolled"]),
    Column[Any]("tools", lambda row: row["tools"]),
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    agents = group(app, "agents", "The agents: list, enrol, withdraw.")
    agents.command("list")(list_agents)
    agents.command("enrol")(enrol)
    agents.command("withdraw")(withdraw)


def list_agents(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """List the agents of the active policy, who is halted, and who is enrolled under a pattern with `each: true`."""
    with reader(database_url) as engine:
        policy, halts = engine.policy_document(), {one.scope: one.reason for one in engine.halts()}
        enrolled = engine.enrolled_agents()
    if policy is None:
        no_policy()
    entries = () if policy is None else policy.agents
    under = {agent: policy.agent(agent) if policy else None for agent in enrolled}
    rows = [
        {
            "agent": entry.id,
            "halted": halts.get("all") or halts.get(f"agent:{entry.id}"),
            "budget": entry.budget,
            "each": entry.each,
            "enrolled": [agent for agent, found in under.items() if entry.each and found == entry],
            "tools": entry.tools,
        }
        for entry in entries
    ]
    Listing(_AGENTS, rows, "The policy names no agent.").print(as_json)
    named = {f"agent:{entry.id}" for entry in entries} | {"all"}
    for scope in sorted(halts.keys() - named):
        hint(f"halted too: {scope.removeprefix('agent:')} ({halts[scope]})")


def enrol(agent: Agent, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Enrol an agent, so that it counts as one of a pattern with `each: true`, with limits of its own."""
    with reader(database_url) as engine:
        new, policy = engine.enrol_agent(agent), engine.policy_document()
    text = f"{agent} is enrolled." if new else f"{agent} was enrolled already."
    answer(as_json, {"agent": agent, "enrolled": True, "changed": new}, text)
    entry = policy.agent(agent) if policy is not None else None
    if entry is None:
        hint(f"warning: the active policy has nothing for {agent}: each of its calls is denied.")
    elif not entry.each:
        hint(f"warning: {entry.id} of the active policy does not say each: true: enrolling changes nothing there.")


def withdraw(agent: Agent, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Take an agent's enrolment back: its next call is denied. What it spent stays counted."""
    with reader(database_url) as engine:
        gone = engine.withdraw_agent(agent)
    text = f"{agent} is not enrolled any more." if gone else f"{agent} was not enrolled."
    answer(as_json, {"agent": agent, "enrolled": False, "changed": gone}, text)
    if not gone:
        raise not_in_order()
