"""The demo as a person reads it. Whatever came over the wire is shown escaped, and never read as markup."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from agentpay_policies.text import escaped
from agentpay_servers.demo.scene import AGENT, POLICY

if TYPE_CHECKING:
    from agentpay_servers.demo.chain import Told as ChainTold
    from agentpay_servers.demo.scene import Scene
    from agentpay_servers.demo.steps import Step
    from agentpay_servers.demo.story import Told

_WIDTH: Final = 116
"""Columns where the output is no terminal."""

_INDENT: Final = 4


class Transcript:
    """Prints each step when it has happened."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else _WIDTH
        self._console = Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False)

    def begin(self, scene: Scene) -> None:
        """Say what was prepared."""
        command = " ".join(scene.config["mcpServers"]["agentpay"]["args"])
        self._line(f"AgentPay demo: one agent, one customer, and {scene.stage.says}.")
        self._line(f"The agent's server is a process of its own: python {command}", style="dim")
        self._line(f"It decides by the ready policy {POLICY!r}, and speaks for {AGENT} only.", style="dim")

    def step(self, step: Step) -> None:
        """Show a call, its answer, and whether it is the one that was expected."""
        self._line("")
        self._line(f"{step.number:2}. {step.title}", style="bold")
        who = "" if step.actor == "agent" else "operator: "
        self._indented(f"{who}{_call(step.call, step.arguments)}", style="cyan")
        for number, line in enumerate(step.text.splitlines()):
            self._indented(f"{'  ' if number else '->'} {line}")
        for line in step.wrong:
            self._indented(f"WRONG: {line}", style="bold red")

    def begin_on_chain(self, chain: int, token: str) -> None:
        """Say what was prepared for the story of a stablecoin."""
        self._line("AgentPay demo: stablecoins on a local chain, in this process. No real money moves.")
        self._line(f"Chain {chain}, token {token}: 6 decimals, and `transfer` returns nothing, as USDT's.", style="dim")

    def end_on_chain(self, told: ChainTold) -> None:
        """Show what stands in the database and on the chain, and the verdict."""
        self._line("")
        self._line("What stands in the database and on the chain now", style="bold")
        for name, value in told.books.items():
            self._indented(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
        self._line("")
        if not told.wrong:
            self._line(f"All {len(told.steps)} steps and the books came out as expected.", style="bold green")
        for line in told.wrong:
            self._line(f"WRONG: {line}", style="bold red")

    def end(self, told: Told) -> None:
        """Show what the database holds, and the verdict."""
        self._line("")
        self._line("What the database holds now", style="bold")
        self._console.file.flush()
        for title, listing in told.books.listings():
            listing.print_under(title)
        audit, doctor = told.books.audit, told.books.doctor
        verified = "verified" if audit.ok else f"NOT IN ORDER: {'; '.join(audit.faults)}"
        self._line(f"Audit: {audit.rows} rows in one chain, {verified}; head {audit.head[:16]}.")
        found = "nothing is broken" if doctor.ok else "; ".join(breach.what for breach in doctor.breaches)
        self._line(f"Doctor: {len(doctor.checked)} checks, {found}.")
        for warning in doctor.warnings:
            self._indented(f"warning: {warning}", style="dim")
        self._line("")
        if told.ok:
            self._line(f"All {len(told.steps)} steps and the books came out as expected.", style="bold green")
        for line in told.wrong:
            self._line(f"WRONG: {line}", style="bold red")

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(escaped(text), style=style))

    def _indented(self, text: str, style: str = "") -> None:
        for line in Text(escaped(text), style=style).wrap(self._console, self._console.width - _INDENT):
            line.rstrip()
            line.pad_left(_INDENT)
            self._console.print(line)


def _call(name: str, arguments: Mapping[str, object]) -> str:
    given = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return f"{name}({given})"
