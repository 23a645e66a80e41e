"""One table through Python, the catalog, MCP and LangChain: equal codes, equal figures, equal movements of money."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, get_args

import pytest
from langchain_core.messages import ToolMessage
from mcp import Client
from pydantic import ValidationError

from acceptance.parity.cases import SCENES, Scene, prepare
from agentpay.clock import FixedClock
from agentpay.errors import AgentPayError
from agentpay.payments.models import Payment
from agentpay_policies.names import ToolName
from agentpay_servers.mcp import AgentPayServer
from agentpay_tools import CATALOG
from agentpay_tools.boundary import refused
from agentpay_tools.calls import call
from agentpay_tools.langchain import AgentPayToolkit
from agentpay_tools.outputs import UnderWay
from conftest import START
from support.bench import Bench
from support.databases import Databases
from support.models import code_in

Body = dict[str, Any]
Ask = Callable[[ToolName, Body], Awaitable[Body | None]]
"""One way to call a tool. None: this way has no such call."""

FIGURES = (
    "amount",
    "currency",
    "refunded",
    "remaining",
    "used",
    "limit",
    "allowed",
    "quantity",
    "replayed",
    "direction",
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def new_bench(databases: Databases) -> Iterator[Callable[[Scene], Bench]]:
    made: list[Bench] = []

    def make(scene: Scene) -> Bench:
        made.append(
            Bench(databases.create("sqlite"), clock=FixedClock(START), policy=scene.policy, throttle=scene.throttle)
        )
        return made[-1]

    yield make
    for bench in made[:2]:  # the engine behind is one: what each way left is compared below
        bench.check()
    for bench in made:
        bench.close()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
async def test_every_way_ends_alike(scene: Scene, new_bench: Callable[[Scene], Bench]) -> None:
    catalog, chain, mcp, verbs = [new_bench(scene) for _ in range(4)]
    expected = await play(scene, catalog, by_catalog(catalog))
    for case, body in zip(scene.cases, expected, strict=True):
        assert body is not None
        assert (case.name, code_in(body)) == (case.name, case.ends)
        assert {name: body.get(name) for name in case.figures} == dict(case.figures), case.name
    assert named(scene, await play(scene, chain, by_langchain(chain))) == named(scene, expected)
    async with Client(AgentPayServer(mcp.manager, "bot")) as client:
        assert named(scene, await play(scene, mcp, by_mcp(client))) == named(scene, expected)
    plain = await play(scene, verbs, by_verbs(verbs))
    for case, body, said in zip(scene.cases, expected, plain, strict=True):
        assert body is not None
        if said is not None:
            assert (case.name, code_in(said)) == (case.name, code_in(body))
            told = [name for name in FIGURES if said.get(name) is not None and body.get(name) is not None]
            assert {name: said[name] for name in told} == {name: body[name] for name in told}, case.name
    books = [(one.moved(), one.moved("refund"), one.movements()) for one in (chain, mcp)]
    assert books == [(catalog.moved(), catalog.moved("refund"), catalog.movements())] * 2


def test_the_table_is_long_enough_and_every_tool_is_in_it() -> None:
    cases = [case for scene in SCENES for case in scene.cases]
    assert len(cases) >= 60
    assert {case.tool for case in cases} == set(CATALOG)
    for scene in SCENES:
        assert len({case.name for case in scene.cases}) == len(scene.cases)


# ---- the ways


def by_catalog(bench: Bench) -> Ask:
    async def ask(tool: ToolName, args: Body) -> Body:
        return call(bench.manager, bench.bot, CATALOG[tool], args).structured()

    return ask


def by_langchain(bench: Bench) -> Ask:
    toolkit = AgentPayToolkit(bench.manager, agent="bot")
    tools = {tool.name: tool for tool in toolkit.get_tools(list(CATALOG))}

    async def ask(tool: ToolName, args: Body) -> Body:
        message = await tools[tool].ainvoke({"type": "tool_call", "id": "1", "name": tool, "args": args})
        assert isinstance(message, ToolMessage)
        assert (message.status == "error") == ("error" in message.artifact)
        told: Body = message.artifact
        return told

    return ask


def by_mcp(client: Client) -> Ask:
    async def ask(tool: ToolName, args: Body) -> Body:
        result = await client.call_tool(tool, args)
        body: Body | None = result.structured_content
        assert body is not None
        assert result.is_error == ("error" in body)
        return body

    return ask


def by_verbs(bench: Bench) -> Ask:
    """Python's own verbs: for the calls whose arguments fit, and of tools that are listed."""

    async def ask(tool: ToolName, args: Body) -> Body | None:
        spec = CATALOG[tool]
        try:
            spec.arguments.model_validate(args)
        except ValidationError:
            return None
        if tool not in bench.manager.tools_for("bot"):
            return None
        try:
            found = getattr(bench.bot, tool)(**args)
        except AgentPayError as error:
            return refused(spec, error).structured()
        return _told(tool, found)

    return ask


def _told(tool: ToolName, found: Any) -> Body:
    figures = {name: getattr(found, name, None) for name in FIGURES}
    status = "ok"
    if tool in ("charge", "refund"):
        status = found.status
    elif tool in ("subscribe", "cancel_subscription"):
        waits = found.status == "incomplete" and found.payment_status in get_args(UnderWay)
        status = found.payment_status if waits else found.status
    told = {name: value if isinstance(value, bool | int) else str(value) for name, value in figures.items()
            if value is not None}  # fmt: skip
    ids = {"payment_id": found.id, "approval_id": found.approval_id} if isinstance(found, Payment) else {}
    return {"status": status, **told, **ids}


# ---- playing a scene


async def play(scene: Scene, bench: Bench, ask: Ask) -> list[Body | None]:
    """Make every call of a scene, in order."""
    memo: dict[str, Any] = dict(prepare(bench))
    said: list[Body | None] = []
    for case in scene.cases:
        bench.later(seconds=1)  # so that what is made later is newer
        if case.before is not None:
            case.before(bench)
        args = case.args(memo) if callable(case.args) else case.args
        said.append(await ask(case.tool, dict(args)))
        memo[case.name] = said[-1] or {}
    return said


def named(scene: Scene, said: list[Body | None]) -> dict[str, Any]:
    """The answers by their cases, with ids in the order in which they come: each engine makes its own."""
    text = json.dumps({case.name: body for case, body in zip(scene.cases, said, strict=True)})
    seen: dict[str, str] = {}
    masked = re.sub(
        r"([a-z]+_)?[0-9a-f]{12,}",
        lambda found: seen.setdefault(found.group(), f"{found.group(1)}{len(seen)}"),
        text,
    )
    made: dict[str, Any] = json.loads(masked)
    return made
