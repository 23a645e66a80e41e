"""The toolkit: start-up, who is served, what comes back, and calls beside an event loop."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from agentpay import AsyncPaymentManager, ConfigurationError, PaymentManager, ValidationError
from agentpay.errors import ApproverSecretExposed
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_store import books_beside
from agentpay_policies.names import ALWAYS_ALLOWED, TOOL_NAMES
from agentpay_tools import CATALOG
from agentpay_tools.langchain import AgentPayToolkit, answer_of
from agentpay_tools.outputs import ChargeOutput
from agentpay_tools.render import hints, input_schema, output_schema
from support.bench import Bench, policy
from support.bench_fixtures import MakeBench
from support.models import Scripted, agent_of, calls, codes

CHARGE: dict[str, Any] = {
    "customer": "alice",
    "amount": "5.00",
    "currency": "USD",
    "description": "AI analysis",
    "idempotency_key": "order-42",
}


def tools_of(bench: Bench, **options: Any) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in AgentPayToolkit(bench.manager, **{"agent": "bot", **options}).get_tools()}


def tool_call(name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_call", "id": "call_1", "name": name, "args": dict(args)}


def invoked(tool: BaseTool, args: Mapping[str, Any], **options: Any) -> ToolMessage:
    message = tool.invoke(tool_call(tool.name, args), **options)
    assert isinstance(message, ToolMessage)
    return message


# ---- start-up


@pytest.mark.parametrize("options", [{}, {"manager": None}, {"manager": "sqlite:///agentpay.db"}], ids=str)
def test_a_toolkit_without_a_manager_does_not_start(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="PaymentManager"):
        AgentPayToolkit(**options, agent="bot")


def test_a_toolkit_without_a_policy_does_not_start(make_bench: MakeBench) -> None:
    with pytest.raises(ConfigurationError, match="No spending policy is active"):
        AgentPayToolkit(make_bench(policy=None).manager, agent="bot")


def test_an_agent_that_the_policy_does_not_name_does_not_start(shop: Bench) -> None:
    with pytest.raises(ConfigurationError, match="names no agent root"):
        AgentPayToolkit(shop.manager, agent="root")
    with pytest.raises(ConfigurationError, match="names no agent root"):
        AgentPayToolkit(shop.manager, agents=["bot", "root"], agent_from=lambda config, context: "bot")


def test_an_agent_of_a_pattern_is_one_that_the_policy_names(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"worker-*": {}, "each-*": {"each": True}}))
    message = invoked(tools_of(bench, agent="worker-7")["charge"], CHARGE)
    assert message.artifact["status"] == "succeeded"
    bench.manager.enrol_agent("each-1")
    assert "charge" in tools_of(bench, agent="each-1")
    with pytest.raises(ConfigurationError, match="names no agent w-7"):
        AgentPayToolkit(bench.manager, agent="w-7")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"agents": ["bot"]},
        {"agents": [], "agent_from": lambda config, context: "bot"},
        {"agents": "bot", "agent_from": lambda config, context: "bot"},
        {"agent_from": lambda config, context: "bot"},
        {"agent": "bot", "agents": ["bot"]},
        {"agent": "bot", "agent_from": lambda config, context: "bot"},
        {"agent": ""},
        {"agent": "bo\u202et"},
        {"agent": "bot", "threads": 0},
    ],
    ids=lambda options: "+".join(options) or "nothing",
)
def test_who_is_served_has_to_be_said_exactly(shop: Bench, options: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, ValidationError)):
        AgentPayToolkit(shop.manager, **options)


def test_from_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTPAY_DATABASE_URL", f"sqlite:///{tmp_path / 'agentpay.db'}")
    monkeypatch.setenv("AGENTPAY_AGENT", "support-bot")
    with pytest.raises(ConfigurationError, match="No spending policy"):
        AgentPayToolkit.from_settings()
    monkeypatch.setenv("AGENTPAY_POLICY", "starter")
    with AgentPayToolkit.from_settings() as toolkit:
        (charge,) = toolkit.get_tools(["charge"])
        assert invoked(charge, CHARGE).artifact["status"] == "succeeded"
    monkeypatch.setenv("AGENTPAY_APPROVER_SECRET", "hunter2")
    with pytest.raises(ApproverSecretExposed):
        AgentPayToolkit.from_settings()


# ---- which tools


def test_all_tools_in_the_catalogs_order(shop: Bench) -> None:
    assert list(tools_of(shop)) == list(TOOL_NAMES)


def test_the_policy_decides_what_is_listed(shop: Bench) -> None:
    assert set(tools_of(shop, agent="idle")) == ALWAYS_ALLOWED
    both = tools_of(shop, agent=None, agents=["idle", "bot"], agent_from=by_config)
    assert list(both) == list(TOOL_NAMES)


def test_a_selection_is_exactly_that(shop: Bench) -> None:
    chosen = AgentPayToolkit(shop.manager, agent="bot").get_tools(["refund", "charge", "refund"])
    assert [tool.name for tool in chosen] == ["refund", "charge"]


@pytest.mark.parametrize("names", [["charge", "approve"], "charge", [""], [None]], ids=str)
def test_a_selection_of_what_there_is_not_is_an_error(shop: Bench, names: Any) -> None:
    with pytest.raises(ValidationError):
        AgentPayToolkit(shop.manager, agent="bot").get_tools(names)


def test_an_unlisted_tool_that_was_selected_is_denied(shop: Bench) -> None:
    (charge,) = AgentPayToolkit(shop.manager, agent="idle").get_tools(["charge"])
    for args in (CHARGE, {}):
        message = invoked(charge, args)
        assert message.artifact["error"]["violations"][0]["code"] == "TOOL_NOT_ALLOWED"


def test_the_model_is_shown_what_mcp_clients_are(shop: Bench) -> None:
    for name, tool in tools_of(shop).items():
        spec = CATALOG[name]
        shown = convert_to_openai_tool(tool)["function"]
        assert shown["name"] == name
        assert shown["description"] == spec.description
        assert shown["parameters"] == input_schema(spec)
        assert tool.args_schema is spec.arguments
        assert tool.metadata == {"title": spec.title, **hints(spec.hints)}


# ---- what comes back


def test_text_for_the_model_and_the_result_as_artifact(bench: Bench) -> None:
    message = invoked(tools_of(bench)["charge"], CHARGE)
    assert message.status == "success"
    assert str(message.content).startswith("Paid: payment pay_")
    assert json.loads(json.dumps(message.artifact)) == message.artifact
    jsonschema.validate(message.artifact, output_schema(CATALOG["charge"]))
    typed = answer_of(message)
    assert isinstance(typed, ChargeOutput)
    assert (typed.status, typed.amount) == ("succeeded", "5.00")
    assert bench.moved() == 500


def test_plain_arguments_give_the_text_alone(bench: Bench) -> None:
    charge = tools_of(bench)["charge"]
    assert str(charge.invoke(CHARGE)).startswith("Paid:")
    assert str(charge.invoke({**CHARGE, "amount": "-1"})).startswith("INVALID_ARGUMENT: amount:")


def test_a_refusal_is_an_error_message_with_its_body(shop: Bench) -> None:
    message = invoked(tools_of(shop)["charge"], {**CHARGE, "currency": "EUR"})
    assert message.status == "error"
    assert message.artifact["status"] == "denied"
    assert message.artifact["error"]["violations"][0]["code"] == "CURRENCY_NOT_ALLOWED"
    jsonschema.validate(message.artifact, output_schema(CATALOG["charge"]))
    assert str(message.content).endswith("No money moved by this call.")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"amount": 5}, "amount: give it as a string"),
        ({"amount": 5.0}, "amount: give it as a string"),
        ({"amount": "5,00"}, "amount: give a plain decimal string"),
        ({"amount": None}, "amount: give it as a string"),
        ({"customer": ""}, "customer: must not be empty"),
        ({"customer": "x" * 10_240}, "customer: give 1 to 200 characters"),
        ({"max_amount": "1.00"}, "max_amount: this tool has no such argument"),
        ({"agent": "root"}, "agent: this tool has no such argument"),
        ({"config": {}}, "config: this tool has no such argument"),
        ({"runtime": {}}, "runtime: this tool has no such argument"),
        ({"tool_call_id": "x"}, "tool_call_id: this tool has no such argument"),
        ({"idempotency_key": ...}, "idempotency_key: is missing"),
    ],
    ids=str,
)
def test_wrong_arguments_name_the_field_and_the_fix(shop: Bench, changes: dict[str, Any], fault: str) -> None:
    args = {name: value for name, value in {**CHARGE, **changes}.items() if value is not ...}
    message = invoked(tools_of(shop)["charge"], args)
    assert message.status == "error"
    assert message.artifact["error"]["code"] == "INVALID_ARGUMENT"
    assert fault in str(message.content)


def test_a_tool_without_arguments_takes_none(shop: Bench) -> None:
    tool = tools_of(shop)["list_plans"]
    assert invoked(tool, {}).artifact["status"] == "ok"
    assert "x: this tool has no such argument" in invoked(tool, {"x": 1}).content


def test_no_arguments_at_all_and_a_bare_string_are_answered(shop: Bench) -> None:
    charge = tools_of(shop)["charge"]
    assert invoked(charge, {}).artifact["error"]["code"] == "INVALID_ARGUMENT"
    assert str(charge.invoke("alice")).startswith("INVALID_ARGUMENT")


def test_a_database_that_is_gone_is_answered(tmp_path: Path) -> None:
    manager = PaymentManager("memory://", provider="mock", policy="starter")
    (charge,) = AgentPayToolkit(manager, agent="support-bot").get_tools(["charge"])
    manager.close()  # and so its private database is gone
    message = invoked(charge, CHARGE)
    assert message.status == "error"
    assert message.artifact["error"]["code"].startswith("STORAGE_")
    assert "Before you pay again, read get_payment" in str(message.content)


# ---- who is served


def by_config(config: Any, context: object) -> str:
    agent: str = config["configurable"]["agent_id"]
    return agent


def test_several_agents_are_told_apart_by_the_host(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {}, "other": {}}))
    charge = tools_of(bench, agent=None, agents=["bot", "other"], agent_from=by_config)["charge"]
    for agent in ("bot", "other"):
        invoked(charge, CHARGE, config={"configurable": {"agent_id": agent}})
    assert bench.movements() == 2
    assert [bench.manager.for_agent(a).get_payment(idempotency_key="order-42").customer for a in ("bot", "other")]  # type: ignore[union-attr]


def test_the_graphs_context_tells_agents_apart(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {}, "other": {}}))
    toolkit = AgentPayToolkit(
        bench.manager, agents=["bot", "other"], agent_from=lambda config, context: context["agent"]
    )
    for agent in ("bot", "other", "root", None):
        graph = agent_of(Scripted(calls(("charge", CHARGE))), toolkit.get_tools(), context_schema=dict)
        context = {"agent": agent} if agent else {}
        said = codes(graph.invoke({"messages": [HumanMessage("go")]}, context=context)["messages"])
        assert said == (["succeeded"] if agent in ("bot", "other") else ["AGENT_UNKNOWN"])
    assert bench.movements() == 2


def test_an_async_manager_will_do(bench: Bench) -> None:
    assert AgentPayToolkit(AsyncPaymentManager(bench.manager), agent="bot").get_tools(["charge"])


@pytest.mark.parametrize(
    "configurable",
    [None, {}, {"agent_id": None}, {"agent_id": ""}, {"agent_id": "third"}, {"agent_id": 7}, {"agent_id": ["bot"]}],
    ids=str,
)
def test_a_value_outside_the_list_or_none_is_an_error_and_never_a_default(
    shop: Bench, configurable: dict[str, Any] | None
) -> None:
    charge = tools_of(shop, agent=None, agents=["bot"], agent_from=by_config)["charge"]
    message = invoked(charge, CHARGE, config={"configurable": configurable} if configurable is not None else {})
    assert message.status == "error"
    assert message.artifact["error"]["violations"][0]["code"] == "AGENT_UNKNOWN"
    assert "bot" not in str(message.content)


def test_a_fixed_agent_is_not_changed_by_configurable(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {}, "rich": {}}))
    config = {"configurable": {"agent": "rich", "agent_id": "rich"}}
    payment_id = invoked(tools_of(bench)["charge"], CHARGE, config=config).artifact["payment_id"]
    assert bench.bot.get_payment(payment_id).status == "succeeded"


# ---- beside an event loop


@pytest.mark.anyio
async def test_awaited_calls_answer_alike(bench: Bench) -> None:
    charge = tools_of(bench)["charge"]
    paid = await charge.ainvoke(tool_call("charge", CHARGE))
    again = charge.invoke(tool_call("charge", CHARGE))
    assert paid.artifact["payment_id"] == again.artifact["payment_id"]
    wrong = await charge.ainvoke(tool_call("charge", {**CHARGE, "amount": 5}))
    assert (wrong.status, wrong.artifact["error"]["code"]) == ("error", "INVALID_ARGUMENT")
    assert bench.movements() == 1


@pytest.mark.anyio
async def test_32_calls_at_once_on_one_toolkit_spend_what_the_policy_allows(make_bench: MakeBench) -> None:
    cap = {"directions": ["collect"], "limits": [{"id": "cap", "amount": "40.00 USD", "window": {"rolling": "24h"}}]}
    bench = make_bench(policy=policy({"bot": {"charge": cap}}))
    charge = tools_of(bench)["charge"]
    wanted = [tool_call("charge", {**CHARGE, "idempotency_key": f"k-{number}"}) for number in range(32)]
    messages = await asyncio.gather(*(charge.ainvoke(one) for one in wanted))
    assert sorted(message.status for message in messages) == ["error"] * 24 + ["success"] * 8
    assert bench.moved() == 4000


class _Slow(MockProvider):
    """Waits in the middle of a charge until the test lets it go on."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def charge(self, *args: Any, **kwargs: Any) -> Any:
        self.begun.set()
        assert self.go_on.wait(20)
        return super().charge(*args, **kwargs)


@pytest.mark.anyio
async def test_a_cancelled_run_leaves_no_payment_in_the_middle(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'agentpay.db'}"
    slow = _Slow(books_beside(url))
    with PaymentManager(url, provider=slow, policy="starter") as manager:
        toolkit = AgentPayToolkit(manager, agent="support-bot", threads=1)
        (charge,) = toolkit.get_tools(["charge"])
        first = asyncio.create_task(charge.ainvoke(tool_call("charge", CHARGE)))
        await asyncio.to_thread(slow.begun.wait, 20)
        waiting = asyncio.create_task(charge.ainvoke(tool_call("charge", {**CHARGE, "idempotency_key": "second"})))
        await asyncio.sleep(0.05)
        for task in (first, waiting):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        slow.go_on.set()
        await asyncio.to_thread(toolkit.close)  # waits for what has begun
        found = manager.for_agent("support-bot").list_payments("alice").items
        assert [payment.status for payment in found] == ["succeeded"]  # the second never began
        after = await charge.ainvoke(tool_call("charge", CHARGE))
        assert (after.status, after.artifact["error"]["code"]) == ("error", "CONFIGURATION_INVALID")
