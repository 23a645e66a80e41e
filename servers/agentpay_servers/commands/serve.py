"""`agentpay demo` and `agentpay mcp`."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpay_servers.output import hint, print_json
from agentpay_servers.session import AsJson, DatabaseUrl


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(demo)
    app.command()(mcp)


def demo(
    provider: Annotated[
        str,
        typer.Option(
            "--provider", metavar="NAME", help="mock, crypto (a local chain), or stripe: its test mode, else ours."
        ),
    ] = "mock",
    as_json: AsJson = False,
) -> None:
    """Show the main job, end to end, with no set-up.

    An agent pays through a real MCP server, the policy decides, a person approves; on a database of its own.
    With --provider crypto: a deposit, its confirmations, access, a refund, and a send that a person approves.
    """
    from agentpay_servers.demo import run

    code = run(json=as_json, provider=provider)
    if code:
        raise typer.Exit(int(code))


def mcp(
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="ID", help="Which agent it serves; else AGENTPAY_AGENT.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy", metavar="FILE", help="A policy file, or the name of a ready one; else AGENTPAY_POLICY."
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the JSON by which an MCP client starts this server.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Serve one agent's tools over MCP, on stdio.

    The policy becomes the active one where none is; where another one is active the server does not start.
    """
    from agentpay.settings import load_settings
    from agentpay_servers.mcp_start import run_mcp

    settings = load_settings(database_url=database_url, policy=policy, agent=agent)
    if not print_config:
        run_mcp(None, settings)
        return
    from agentpay_servers.mcp_config import absolute_url, client_config, without_password
    from agentpay_servers.mcp_start import checked_agent

    config = client_config(
        checked_agent(settings.agent),
        database_url=settings.database_url,
        policy=settings.policy,
        providers=settings.providers,
        live=settings.live,
    )
    print_json(config)
    url = absolute_url(settings.database_url)
    if without_password(url) != url:
        hint("The password is left out: give it to the server by PGPASSWORD or a .pgpass file.")
    if settings.approval_hook is not None:
        hint("AGENTPAY_APPROVAL_HOOK is left out, since a secret may stand in it: set it for the server yourself.")
