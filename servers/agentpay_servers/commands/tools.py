"""`agentpay tools`: the agent tools as JSON."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpay_servers.commands import group
from agentpay_servers.output import print_json


def register(app: typer.Typer) -> None:
    """Add the group."""
    tools = group(app, "tools", "The agent tools: export.")
    tools.command("export")(export)


def export(
    names: Annotated[list[str] | None, typer.Argument(metavar="[TOOL]...", help="Which tools; all by default.")] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="openai, anthropic, or json-schema: the whole contract.")
    ] = "json-schema",
) -> None:
    """Print the tools as JSON, for programs that take them so. No database is opened.

    Whoever calls the tools sends name and arguments to agentpay_tools.run, or to an MCP server.
    """
    from typing import cast

    from agentpay_tools.export import Format, exported

    print_json(exported(cast(Format, form), names or ()))
