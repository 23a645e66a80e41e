"""The steps of the demo: the agent's calls over MCP, and what the operator does in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.types import TextContent

from agentpay_policies.names import TOOL_NAMES
from agentpay_servers.demo.books import Books, look
from agentpay_servers.demo.scene import APPROVER, PLAN, Scene, prepare
from agentpay_servers.demo.stages import CUSTOMER, Stage
from agentpay_servers.demo.steps import Step, Steps

if TYPE_CHECKING:
    from agentpay_servers.demo.transcript import Transcript

LOG: Final = "server.log"
_PATIENCE: Final = 30.0
"""Seconds that the client waits for one answer."""


@dataclass(frozen=True)
class Told:
    """The whole demo, as data."""

    server: tuple[str, ...]
    steps: tuple[Step, ...]
    books: Books
    fault: str | None

    @property
    def wrong(self) -> tuple[str, ...]:
        """Whatever did not come as expected. The books of a story that broke off are not looked at."""
        steps = tuple(line for step in self.steps for line in step.wrong)
        if self.fault is None:
            return steps + self.books.wrong
        return (*steps, self.fault, f"The server said: {' / '.join(self.server) or 'nothing'}")

    @property
    def ok(self) -> bool:
        """Whether all came as expected."""
        return not self.wrong


async def tell(folder: Path, transcript: Transcript | None, stage: Stage) -> Told:
    """Run every step, the server's process started and ended within, and look into the books."""
    scene = prepare(folder, stage)
    try:
        if transcript is not None:
            transcript.begin(scene)
        steps = Steps(transcript)
        fault = None
        try:
            async with connected(scene, folder) as client:
                await Story(scene, client, steps).run()
        except* (MCPError, OSError) as group:
            fault = f"The server was gone after step {len(steps.kept)}: {_first(group)}."
        server = tuple((folder / LOG).read_text("utf-8").splitlines())
        told = Told(server, tuple(steps.kept), look(scene), fault)
    finally:
        scene.close()
    if transcript is not None:
        transcript.end(told)
    return told


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error that is no group itself."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


@asynccontextmanager
async def connected(scene: Scene, folder: Path) -> AsyncIterator[Client]:
    """A client of the agent's server, which it starts by the JSON of `agentpay mcp --print-config` and ends."""
    entry = scene.config["mcpServers"]["agentpay"]
    environment = {**entry["env"], **scene.stage.environment}
    server = StdioServerParameters(command=entry["command"], args=entry["args"], env=environment, cwd=folder)
    with (folder / LOG).open("w", encoding="utf-8") as log:
        async with Client(stdio_client(server, errlog=log), read_timeout_seconds=_PATIENCE) as client:
            yield client


@dataclass
class Story:
    """The steps as they happen."""

    scene: Scene
    client: Client
    steps: Steps

    async def run(self) -> None:
        """Every step in order."""
        await self.lists_tools()
        await self.gains_access()
        paid = await self.charges_once()
        await self.is_refused()
        await self.asks_a_person()
        await self.refunds(paid)
        await self.reads_its_budget()

    async def lists_tools(self) -> None:
        listed = await self.client.list_tools()
        names = [tool.name for tool in listed.tools]
        self.steps.add(
            "The agent lists its tools",
            "agent",
            "tools/list",
            {},
            f"{len(names)} tools: {', '.join(names)}.",
            {"tools": names},
            {"tools": list(TOOL_NAMES)},
        )

    async def gains_access(self) -> None:
        feature = {"customer": CUSTOMER, "feature": "premium_api"}
        await self.tool(
            "Has the customer access? Not without a plan",
            "check_access",
            feature,
            {"status": "ok", "allowed": False, "reason": "no_plan"},
        )
        await self.tool(
            "Subscribe the customer; the first month is charged",
            "subscribe",
            {"customer": CUSTOMER, "plan": PLAN.id, "idempotency_key": "subscribe-ana"},
            {"status": "active", "plan": PLAN.id, "replayed": False},
        )
        await self.tool(
            "Has the customer access now?", "check_access", feature, {"allowed": True, "remaining": 1000, "plan": "pro"}
        )
        await self.tool(
            "Record what the customer used",
            "record_usage",
            {**feature, "quantity": 3, "idempotency_key": "request-1"},
            {"status": "ok", "quantity": 3, "remaining": 997},
        )

    async def charges_once(self) -> str:
        order = charge("5.00", "Report on Q3", "order-1")
        paid = await self.tool(
            "Charge 5.00 USD: below every limit", "charge", order, {"status": "succeeded", "replayed": False}
        )
        payment = str(paid.get("payment_id"))
        await self.tool(
            "The same call again: the same payment, and no second one",
            "charge",
            order,
            {"status": "succeeded", "payment_id": payment, "replayed": True},
        )
        return payment

    async def is_refused(self) -> None:
        await self.tool(
            "Charge 60.00 USD: more than one payment may be",
            "charge",
            charge("60.00", "Annual report", "order-2"),
            {
                "status": "denied",
                "payment_id": None,
                "error.code": "POLICY_DENIED",
                "error.violations.0.code": "ABOVE_MAXIMUM",
            },
        )

    async def asks_a_person(self) -> None:
        order = charge("30.00", "Market study", "order-3")
        parked = await self.tool(
            "Charge 30.00 USD: a person has to approve", "charge", order, {"status": "approval_required"}
        )
        approval, payment = str(parked.get("approval_id")), parked.get("payment_id")
        await self.tool(
            "The agent waits for the decision",
            "get_approval",
            {"approval_id": approval},
            {"status": "ok", "approval_status": "pending", "votes": 0, "needed": 1},
        )
        self.approves(approval)
        await self.tool(
            "The agent repeats its call: now it is paid",
            "charge",
            order,
            {"status": "succeeded", "payment_id": payment},
        )
        await self.tool(
            "And again: the approval was good for one payment",
            "charge",
            order,
            {"status": "succeeded", "payment_id": payment, "replayed": True},
        )

    def approves(self, approval: str) -> None:
        """The operator says yes, with a secret that the server's process never sees."""
        made = self.scene.manager.approve(approval, approver=APPROVER, secret=self.scene.secret)
        what = f"{made.operation} of {made.amount} {made.currency} from {made.customer} to {made.payee}"
        self.steps.add(
            "The operator approves, in a process of their own",
            "operator",
            "approve",
            {"approval_id": approval, "approver": APPROVER},
            f"Approved: {what}, asked for by {made.agent}.",
            {"approval_status": made.status, "votes": made.votes},
            {"approval_status": "approved", "votes": 1},
        )

    async def refunds(self, payment: str) -> None:
        await self.tool(
            "Refund a part of the first charge",
            "refund",
            {"payment_id": payment, "amount": "2.00", "reason": "One page was empty", "idempotency_key": "refund-1"},
            {"status": "succeeded", "amount": "2.00", "payment_id": payment},
        )

    async def reads_its_budget(self) -> None:
        await self.tool(
            "What may the agent still spend?",
            "get_budget",
            {"currency": "USD"},
            {"status": "ok", "halted": False, "can_spend_now.0.amount": "50.00", "can_spend_now.0.currency": "USD"},
        )

    async def tool(
        self, title: str, name: str, arguments: dict[str, Any], expected: Mapping[str, object]
    ) -> Mapping[str, Any]:
        """Call a tool over MCP and keep what it answers."""
        result = await self.client.call_tool(name, arguments)
        text = " ".join(part.text for part in result.content if isinstance(part, TextContent))
        answer: Mapping[str, Any] = result.structured_content or {}
        self.steps.add(title, "agent", name, arguments, text, answer, expected)
        return answer


def charge(amount: str, description: str, key: str) -> dict[str, str]:
    """The arguments of a charge of the demo's customer."""
    return {
        "customer": CUSTOMER,
        "amount": amount,
        "currency": "USD",
        "description": description,
        "idempotency_key": key,
    }
