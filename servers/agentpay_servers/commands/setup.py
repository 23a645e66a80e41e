"""`agentpay init`: an installation begun."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpay_servers.output import hint, print_json, print_line
from agentpay_servers.session import AsJson, DatabaseUrl


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(
    policy: Annotated[str, typer.Option("--policy", metavar="FILE", help="Where to write the policy.")] = "policy.yaml",
    plans: Annotated[
        str, typer.Option("--plans", metavar="FILE", help="Where to write the sample plans.")
    ] = "plans.yaml",
    approver: Annotated[
        str | None,
        typer.Option("--approver", metavar="NAME", help="The first approver; else the name you log in with."),
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Begin an installation: database, policy, plans, approver.

    No file is ever overwritten, and what the database has already stays. The approver chooses a secret on a terminal;
    without one nobody is enrolled. A second run changes nothing.
    """
    from agentpay_servers.installing import Installing

    done = Installing(policy, plans, approver, database_url).run()
    if as_json:
        print_json({"changed": done.changed, "steps": done.steps, "hints": done.hints})
        return
    for step in done.steps:
        print_line(step)
    if not done.changed:
        print_line("Everything was there already; nothing was changed.")
    for text in done.hints:
        hint(f"next: {text}")
