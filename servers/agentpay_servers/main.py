"""The command `agentpay`. Options stand behind the command they belong to; only --help and --version stand alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from agentpay_policies.errors import AgentPayError
from agentpay_policies.text import escaped
from agentpay_servers.commands import (
    agents,
    approvals,
    approvers,
    care,
    chain,
    customers,
    database,
    payments,
    plans,
    policy,
    serve,
    setup,
    tools,
    usage,
    webhooks,
    worker,
)
from agentpay_servers.output import hint
from agentpay_servers.session import NOT_IN_ORDER, WRONG_CALL, exit_code, report

_ORDER = (
    *("demo", "init", "mcp", "tools"),
    *("plans", "customers", "subscribe", "usage", "credits", "status"),
    *("payments", "charge", "refund", "renew", "chain", "webhooks", "disputes"),
    *("policy", "agents", "halt", "resume", "approvers", "approvals"),
    *("reconcile", "worker", "db", "audit", "doctor", "health", "capabilities"),
)
"""As the help lists them: to begin with, to sell, to move money, to keep agents in bounds, to look after it."""


class Root(TyperGroup):
    """The commands, with every error said in a line or two and turned into an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command and exit."""
        extra["standalone_mode"] = False
        try:
            code = super().main(args=args, prog_name=prog_name or "agentpay", **extra)
        except AgentPayError as error:
            report(error)
            code = exit_code(error)
        except typer.TyperException as error:
            code = _wrong_call(error)
        except typer.Abort:
            hint("Stopped.")
            code = NOT_IN_ORDER
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    cls=Root,
    name="agentpay",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)


def main() -> None:
    """Run the command that the process was started with."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except OSError as error:
        # Most likely the answer cannot be written; what is still to be flushed would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            hint(f"agentpay: {error.strerror or type(error).__name__}")
        sys.exit(NOT_IN_ORDER)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"agentpay {version('agentpay-engine')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    _wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A payment engine that AI products charge with and LLM agents spend through, behind a spending policy.

    Options stand behind their command: agentpay plans list --json. Exit codes: 0 done, 1 not in order or refused, 2 a
    wrong call.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _wrong_call(error: typer.TyperException) -> int:
    """Say in two lines what is wrong with the call."""
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split())
    hint(f"agentpay: {message}")
    hint(f"Try: {escaped(context.command_path) if context else 'agentpay'} --help")
    return WRONG_CALL


for module in (
    *(serve, setup, plans, customers, usage, payments, webhooks),
    *(approvals, approvers, policy, agents, tools, chain, care, worker, database),
):
    module.register(app)
