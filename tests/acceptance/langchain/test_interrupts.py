"""Human in the loop: a parked charge interrupts the graph, and the approval's row alone resumes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from agentpay_tools.langchain import AgentPayToolkit
from support.bench import PEOPLE, SECRET, Bench, asking, policy
from support.bench_fixtures import MakeBench
from support.models import Scripted, agent_of, answers, calls, codes

BIG: dict[str, Any] = {
    "customer": "alice",
    "amount": "30.00",
    "currency": "USD",
    "description": "A big one\u202e",
    "idempotency_key": "big-1",
}
OTHER = {**BIG, "amount": "40.00", "idempotency_key": "big-2"}
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}
ASK = {"messages": [HumanMessage("pay")]}


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    made = make_bench(policy=policy({"bot": asking()}, approvers=PEOPLE))
    made.enrol("alice")
    return made


def loop(bench: Bench, *steps: Any, checkpointer: Any = None, interrupt: bool = True) -> Any:
    tools = AgentPayToolkit(bench.manager, agent="bot", interrupt=interrupt).get_tools()
    return agent_of(Scripted(*steps), tools, checkpointer=checkpointer)


def pending(out: dict[str, Any]) -> list[dict[str, Any]]:
    return [one.value for one in out.get("__interrupt__", ())]


def test_a_parked_charge_interrupts_with_the_card_and_runs_once_when_approved(bench: Bench) -> None:
    graph = loop(bench, calls(("charge", BIG)), checkpointer=InMemorySaver())
    (card,) = pending(graph.invoke(ASK, THREAD))
    (approval,) = bench.manager.list_approvals()
    assert card["type"] == "agentpay.approval"
    assert card["id"] == approval.id
    assert (card["amount"], card["currency"], card["customer"], card["agent"]) == ("30.00", "USD", "alice", "bot")
    assert card["description"] == "A big one\\u202e"  # people see what was hidden
    assert [one["rule"] for one in card["asked_by"]] == ["big"]
    assert not card.keys() & {"limits", "today"}  # figures are none of the agent's side
    assert json.loads(json.dumps(card)) == card
    assert bench.movements() == 0
    bench.approve(approval.id)
    out = graph.invoke(Command(resume="whatever"), THREAD)
    assert pending(out) == []
    assert codes(out["messages"]) == ["succeeded"]
    assert bench.moved() == 3000
    assert bench.movements() == 1


def test_the_resume_value_decides_nothing(bench: Bench) -> None:
    graph = loop(bench, calls(("charge", BIG)), checkpointer=InMemorySaver())
    first = pending(graph.invoke(ASK, THREAD))
    for value in (True, "approve", {"decisions": [{"type": "approve"}]}, {"approved": True}):
        assert pending(graph.invoke(Command(resume=value), THREAD)) == first  # still pending: interrupted again
    assert bench.movements() == 0
    bench.approve(bench.manager.list_approvals()[0].id)
    assert codes(graph.invoke(Command(resume=False), THREAD)["messages"]) == ["succeeded"]  # nor does a "no"
    assert bench.movements() == 1


def test_a_rejected_one_cannot_run_whatever_the_graph_replays(bench: Bench) -> None:
    graph = loop(bench, *[calls(("charge", BIG))] * 4, checkpointer=InMemorySaver())
    graph.invoke(ASK, THREAD)
    before = graph.get_state(THREAD).config
    bench.manager.deny(bench.manager.list_approvals()[0].id, approver="alice", secret=SECRET)
    out = graph.invoke(Command(resume={"type": "approve"}), THREAD)
    assert set(codes(out["messages"])) == {"APPROVAL_DENIED"}
    again = graph.invoke(Command(resume=True), before)  # the graph goes back in time, and on from there
    assert set(codes(again["messages"])) <= {"APPROVAL_DENIED"}
    assert bench.movements() == 0


def test_an_approved_one_that_is_replayed_runs_once(bench: Bench) -> None:
    graph = loop(bench, *[calls(("charge", BIG))] * 4, checkpointer=InMemorySaver())
    graph.invoke(ASK, THREAD)
    before = graph.get_state(THREAD).config
    bench.approve(bench.manager.list_approvals()[0].id)
    for config in (THREAD, before, before):
        graph.invoke(Command(resume=True), config)
    assert bench.movements() == 1


def test_an_expired_one_is_refused(bench: Bench) -> None:
    graph = loop(bench, calls(("charge", BIG)), checkpointer=InMemorySaver())
    graph.invoke(ASK, THREAD)
    bench.later(minutes=31)
    assert codes(graph.invoke(Command(resume=True), THREAD)["messages"]) == ["APPROVAL_EXPIRED"]
    assert bench.movements() == 0


def test_code_above_the_interrupt_may_run_twice(bench: Bench) -> None:
    (charge,) = AgentPayToolkit(bench.manager, agent="bot", interrupt=True).get_tools(["charge"])
    ran: list[str] = []

    def node(state: MessagesState) -> dict[str, Any]:
        ran.append("above")
        small = charge.invoke({**BIG, "amount": "5.00", "idempotency_key": "small"})  # paid above the interrupt
        big = charge.invoke(BIG)
        return {"messages": [small, big]}

    graph = StateGraph(MessagesState).add_node("pay", node).add_edge(START, "pay").add_edge("pay", END)
    app: Any = graph.compile(checkpointer=InMemorySaver())
    assert len(pending(app.invoke({"messages": []}, THREAD))) == 1
    bench.approve(bench.manager.list_approvals()[0].id)
    app.invoke(Command(resume="go"), THREAD)
    assert ran == ["above", "above"]
    assert bench.moved() == 3500  # each of the two once


def test_two_parked_charges_at_once_wait_for_their_own_rows(bench: Bench) -> None:
    graph = loop(bench, calls(("charge", BIG), ("charge", OTHER)), checkpointer=InMemorySaver())
    cards = pending(graph.invoke(ASK, THREAD))
    assert sorted(card["amount"] for card in cards) == ["30.00", "40.00"]
    (first,) = [card["id"] for card in cards if card["amount"] == "30.00"]
    bench.approve(first)
    interrupts = graph.get_state(THREAD).interrupts
    out = graph.invoke(Command(resume={one.id: "go" for one in interrupts}), THREAD)
    assert [card["amount"] for card in pending(out)] == ["40.00"]
    assert bench.moved() == 3000


@pytest.mark.anyio
async def test_the_same_beside_an_event_loop(bench: Bench) -> None:
    graph = loop(bench, calls(("charge", BIG)), checkpointer=InMemorySaver())
    assert len(pending(await graph.ainvoke(ASK, THREAD))) == 1
    assert len(pending(await graph.ainvoke(Command(resume=True), THREAD))) == 1
    bench.approve(bench.manager.list_approvals()[0].id)
    assert codes((await graph.ainvoke(Command(resume=True), THREAD))["messages"]) == ["succeeded"]
    assert bench.movements() == 1


def test_without_a_checkpointer_it_answers_approval_required(bench: Bench) -> None:
    out = loop(bench, calls(("charge", BIG))).invoke(ASK)
    (message,) = answers(out["messages"])
    assert message.artifact["status"] == "approval_required"
    assert str(message.content).startswith("NOT PAID YET")
    assert message.status == "success"
    assert bench.movements() == 0


def test_outside_a_graph_it_answers_approval_required(bench: Bench) -> None:
    (charge,) = AgentPayToolkit(bench.manager, agent="bot", interrupt=True).get_tools(["charge"])
    assert str(charge.invoke(BIG)).startswith("NOT PAID YET")


def test_without_interrupt_it_answers_although_there_is_a_checkpointer(bench: Bench) -> None:
    out = loop(bench, calls(("charge", BIG)), checkpointer=InMemorySaver(), interrupt=False).invoke(ASK, THREAD)
    assert pending(out) == []
    assert codes(out["messages"]) == ["approval_required"]


def test_a_refund_waits_in_the_same_way(make_bench: MakeBench) -> None:
    agent = {**asking("5.00 USD"), "refund": {"allow": "own_charges"}}
    bench = make_bench(policy=policy({"bot": agent}, approvers=PEOPLE))
    bench.enrol("alice")
    paid = bench.bot.charge("alice", "30.00", "USD", description="x", idempotency_key="c")
    bench.approve(paid.approval_id)
    bench.bot.charge("alice", "30.00", "USD", description="x", idempotency_key="c")
    give_back = {"payment_id": paid.id, "amount": "20.00", "reason": "late", "idempotency_key": "r"}
    graph = loop(bench, calls(("refund", give_back)), checkpointer=InMemorySaver())
    (card,) = pending(graph.invoke(ASK, THREAD))
    assert (card["operation"], card["amount"]) == ("refund", "20.00")
    bench.approve(card["id"])
    assert codes(graph.invoke(Command(resume=0), THREAD)["messages"]) == ["succeeded"]
    assert bench.moved("refund") == 2000
