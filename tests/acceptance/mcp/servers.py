"""Starting the server as a client does: as a subprocess, from the root folder, over stdio."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mcp import Client, StdioServerParameters, stdio_client
from mcp.types import CallToolResult, TextContent

from agentpay.manager import PaymentManager
from agentpay.plans.models import BillingPeriod, PaymentPlan, PaymentType
from agentpay_servers.mcp_config import client_config

AGENT = "support-bot"
SECRET = "correct horse battery staple"

PROGRAM = """
import sys
from agentpay.errors import AgentPayError
from agentpay.settings import load_settings
from agentpay_servers.mcp_start import run_mcp
try:
    run_mcp(sys.argv[1], load_settings())
except AgentPayError as exc:
    sys.exit(f"{exc} {exc.next_step}")
"""
"""What `agentpay mcp --agent ID` does, without the command line in front of it."""


@dataclass
class Place:
    """A database with a plan and an approver in it, and what a client starts a server on it by."""

    folder: Path
    policy: str = "starter"
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'agentpay.db'}"

    @property
    def config(self) -> dict[str, Any]:
        """What the client has in its configuration."""
        server: dict[str, Any] = client_config(AGENT, database_url=self.url, policy=self.policy)["mcpServers"][
            "agentpay"
        ]
        return server

    def manager(self) -> PaymentManager:
        """The operator's manager on the same database."""
        return PaymentManager(self.url, provider="mock", policy=self.policy)

    def fill(self) -> None:
        """Make a plan and enrol the approver whom the starter policy names."""
        with self.manager() as manager:
            manager.create_plan(
                PaymentPlan(
                    id="pro",
                    name="Pro",
                    payment_type=PaymentType.SUBSCRIPTION,
                    price="10.00",
                    billing_period=BillingPeriod.MONTHLY,
                    features=["premium_api"],
                )
            )
            manager.enrol_approver("owner", SECRET)

    @property
    def environment(self) -> dict[str, str]:
        return {**self.config["env"], **self.extra}

    def run(self, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Start the server with nobody to talk to: it ends when its input does."""
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, AGENT],
            env=dict(environment if environment is not None else self.environment),
            input="",
            capture_output=True,
            text=True,
            cwd="/",
            timeout=60,
            check=False,
        )

    @asynccontextmanager
    async def client(
        self, mode: Literal["auto", "legacy"] = "auto", arguments: list[str] | None = None
    ) -> AsyncIterator[Client]:
        """A client of a server of its own. `arguments` are the interpreter's; left out, they run `PROGRAM`."""
        parameters = StdioServerParameters(
            command=self.config["command"],
            args=arguments or ["-c", PROGRAM, AGENT],
            env=self.environment,
            cwd="/",
        )
        with (self.folder / "stderr.txt").open("w") as errors:
            async with Client(stdio_client(parameters, errlog=errors), mode=mode) as client:
                yield client


def text_of(result: CallToolResult) -> str:
    """The text that a model reads."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def body_of(result: CallToolResult) -> dict[str, Any]:
    """The structured answer."""
    body: dict[str, Any] | None = result.structured_content
    assert body is not None
    return body
