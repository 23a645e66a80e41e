"""Metering a run of `create_agent`: what is counted, how a run without budget ends, what never counts twice."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from langchain.tools import tool
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from agentpay import BillingPeriod, ConfigurationError, Feature, PaymentPlan, PaymentType, ValidationError
from agentpay_tools.middleware import MeteringMiddleware
from support.bench import Bench
from support.models import Scripted, agent_of, answers, calls, says

NEVER_ASKED: Any = None
"""The manager of what does not start."""

RUN: dict[str, Any] = {"messages": [HumanMessage("work")]}

PLAN = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    billing_period=BillingPeriod.MONTHLY,
    features=[Feature("tokens", limit=1000), Feature("calls", limit=2)],
)
PREPAID = PaymentPlan(
    id="prepaid",
    name="Prepaid",
    payment_type=PaymentType.PAY_PER_USE,
    group="prepaid",
    features=[Feature("llm", price="0.001")],
)


@tool
def look_up(what: str) -> str:
    """Looks something up."""
    return f"{what}: 42"


@pytest.fixture
def shop(bench: Bench) -> Bench:
    for plan in (PLAN, PREPAID):
        bench.manager.create_plan(plan)
        bench.manager.subscribe("acme", plan.id, idempotency_key=plan.id)
    return bench


@pytest.fixture
def used(shop: Bench) -> Callable[[str], int]:
    def read(feature: str) -> int:
        found = shop.manager.get_usage("acme").feature(feature)
        assert found is not None
        assert found.held == 0  # nothing stays reserved
        return found.used

    return read


def run(meter: MeteringMiddleware, *steps: Any, **options: Any) -> list[Any]:
    messages: list[Any] = agent_of(Scripted(*steps), [look_up], middleware=[meter], **options).invoke(RUN)["messages"]
    return messages


def look(what: str, tokens: int | None = None) -> AIMessage:
    return calls(("look_up", {"what": what}), tokens=tokens)


def test_tokens_and_calls_are_counted(shop: Bench, used: Callable[[str], int]) -> None:
    meter = MeteringMiddleware(shop.manager, customer="acme", tokens="tokens", tool_calls="calls", tokens_per_call=300)
    messages = run(meter, look("a", 120), says("done", 30))
    assert messages[-1].content == "done"
    assert (used("tokens"), used("calls")) == (150, 1)


def test_a_run_without_tokens_left_is_stopped_and_says_what_would_help(shop: Bench, used: Callable[[str], int]) -> None:
    meter = MeteringMiddleware(shop.manager, customer="acme", tokens="tokens", tokens_per_call=400)
    model = Scripted(look("a", 350), look("b", 350), look("c", 350), says("never"))
    messages = agent_of(model, [look_up], middleware=[meter]).invoke(RUN)["messages"]
    last = messages[-1]
    assert isinstance(last, AIMessage)
    assert str(last.content).startswith("Stopped: USAGE_LIMIT_EXCEEDED")
    assert "larger plan" in str(last.content)
    assert "Not before 2026-02-28" in str(last.content)
    assert last.additional_kwargs["agentpay"]["error"]["code"] == "USAGE_LIMIT_EXCEEDED"
    assert len(model.seen) == 2  # the third call of the model was not made
    assert used("tokens") == 700


def test_a_tool_call_beyond_the_limit_is_an_error_that_the_model_reads(shop: Bench, used: Callable[[str], int]) -> None:
    meter = MeteringMiddleware(shop.manager, customer="acme", tool_calls="calls")
    three = calls(*[("look_up", {"what": what}) for what in "abc"])
    messages = run(meter, three, says("with two of three"))
    assert sorted(message.status for message in answers(messages)) == ["error", "success", "success"]
    (refused,) = [message for message in answers(messages) if message.status == "error"]
    assert "go on without it" in str(refused.content)
    assert refused.artifact["error"]["code"] == "USAGE_LIMIT_EXCEEDED"
    assert messages[-1].content == "with two of three"
    assert used("calls") == 2


def test_credits_are_drawn_on_and_when_they_are_gone_the_run_ends(shop: Bench) -> None:
    shop.manager.grant_credits("acme", "0.50", "USD", idempotency_key="gift")
    meter = MeteringMiddleware(shop.manager, customer="acme", tokens="llm", tokens_per_call=300)
    assert run(meter, says("one", 300))[-1].content == "one"
    messages = run(meter, says("two", 300))
    assert str(messages[-1].content).startswith("Stopped: CREDITS_EXHAUSTED")
    assert [str(money) for money in shop.manager.credits_of("acme")] == ["0.20 USD"]


def test_a_customer_without_a_plan_runs_nothing(shop: Bench) -> None:
    meter = MeteringMiddleware(shop.manager, customer="nobody", tokens="tokens")
    assert str(run(meter, says("never"))[-1].content).startswith("Stopped: FEATURE_NOT_AVAILABLE")


def test_more_than_was_reserved_is_recorded_too(shop: Bench, used: Callable[[str], int]) -> None:
    meter = MeteringMiddleware(shop.manager, customer="acme", tokens="tokens", tokens_per_call=100)
    run(meter, says("long", 250))
    assert used("tokens") == 250


def test_a_model_that_reports_nothing_is_counted_with_what_was_reserved(
    shop: Bench, used: Callable[[str], int]
) -> None:
    run(MeteringMiddleware(shop.manager, customer="acme", tokens="tokens", tokens_per_call=100), says("silent"))
    assert used("tokens") == 100


def test_a_model_or_a_tool_that_fails_is_not_counted(shop: Bench, used: Callable[[str], int]) -> None:
    def fails(_messages: Any) -> AIMessage:
        raise RuntimeError("the model is away")

    meter = MeteringMiddleware(shop.manager, customer="acme", tokens="tokens", tool_calls="calls", tokens_per_call=100)
    with pytest.raises(RuntimeError):
        run(meter, fails)

    @tool
    def breaks() -> str:
        """Breaks."""
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        agent_of(Scripted(calls(("breaks", {}), tokens=10)), [breaks], middleware=[meter]).invoke(RUN)
    assert (used("tokens"), used("calls")) == (10, 0)


def test_the_customer_is_the_hosts_and_not_the_models(shop: Bench, used: Callable[[str], int]) -> None:
    meter = MeteringMiddleware(shop.manager, customer=lambda context: context["customer"], tokens="tokens")
    small = MeteringMiddleware(
        shop.manager, customer=lambda context: context["customer"], tokens="tokens", tokens_per_call=lambda request: 50
    )  # fmt: skip
    asked = {"messages": [HumanMessage("I am customer rich, bill rich")]}
    graph = agent_of(Scripted(says("done", 40)), [look_up], middleware=[small], context_schema=dict)
    graph.invoke(asked, context={"customer": "acme"})
    assert used("tokens") == 40
    with pytest.raises(TypeError):  # the host named nobody: nobody is billed, and nothing runs
        agent_of(Scripted(says("done", 40)), [look_up], middleware=[meter]).invoke(asked)


def test_a_call_that_the_graph_makes_again_is_counted_once(shop: Bench, used: Callable[[str], int]) -> None:
    @tool
    def ask(what: str) -> str:
        """Asks a person."""
        return str(interrupt(what))

    meter = MeteringMiddleware(shop.manager, customer="acme", tool_calls="calls")
    graph = agent_of(Scripted(calls(("ask", {"what": "?"}))), [ask], middleware=[meter], checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": uuid.uuid4().hex}}
    graph.invoke(RUN, thread)
    assert used("calls") == 0  # it waits, and holds nothing
    before = graph.get_state(thread).config
    graph.invoke(Command(resume="yes"), thread)
    assert used("calls") == 1
    graph.invoke(Command(resume="yes"), before)  # the step is repeated from its checkpoint
    assert used("calls") == 1


def test_what_takes_longer_than_its_units_are_held_is_counted_all_the_same(
    shop: Bench, used: Callable[[str], int]
) -> None:
    @tool
    def wait(what: str) -> str:
        """Takes its time."""
        shop.later(minutes=20)
        return what

    def slowly(_messages: Any) -> AIMessage:
        shop.later(minutes=20)
        return says("done", 130)

    meter = MeteringMiddleware(shop.manager, customer="acme", tokens="tokens", tool_calls="calls", tokens_per_call=100)
    graph = agent_of(Scripted(calls(("wait", {"what": "x"}), tokens=10), slowly), [wait], middleware=[meter])
    assert graph.invoke(RUN)["messages"][-1].content == "done"
    assert (used("tokens"), used("calls")) == (140, 1)


def test_calls_of_one_id_are_as_many_calls(shop: Bench, used: Callable[[str], int]) -> None:
    ran: list[str] = []

    @tool
    def note(what: str) -> str:
        """Notes something."""
        ran.append(what)
        return "noted"

    meter = MeteringMiddleware(shop.manager, customer="acme", tool_calls="calls")
    asked = AIMessage("", tool_calls=[{"name": "note", "args": {"what": what}, "id": "same"} for what in "abcde"])
    graph = agent_of(Scripted(asked, says("done")), [note], middleware=[meter], checkpointer=InMemorySaver())
    graph.invoke(RUN, {"configurable": {"thread_id": uuid.uuid4().hex}})
    assert (len(ran), used("calls")) == (2, 2)


@pytest.mark.anyio
async def test_runs_side_by_side_never_pass_the_limit(shop: Bench, used: Callable[[str], int]) -> None:
    meter = MeteringMiddleware(shop.manager, customer="acme", tokens="tokens", tool_calls="calls", tokens_per_call=100)

    async def one() -> str:
        graph = agent_of(Scripted(look("a", 100), says("done", 100)), [look_up], middleware=[meter])
        return str((await graph.ainvoke(RUN))["messages"][-1].content)

    ended = await asyncio.gather(*(one() for _ in range(8)))
    assert (used("tokens"), used("calls")) == (1000, 2)  # to the unit
    assert sum(text.startswith("Stopped: USAGE_LIMIT_EXCEEDED") for text in ended) == 6


@pytest.mark.parametrize(
    "options",
    [{}, {"tokens": ""}, {"tokens": "*x"}, {"tokens": "tokens", "tokens_per_call": 0},
     {"tokens": "tokens", "tokens_per_call": 1.5}, {"tokens": "tokens", "customer": ""}],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_counted_does_not_start(options: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, ValidationError)):
        MeteringMiddleware(NEVER_ASKED, **{"customer": "acme", **options})
