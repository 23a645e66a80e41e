"""No agent reads an entry of a list that allows or denies, or a figure of another agent: whatever it calls, and
whatever it is answered, through the tools and through the handle."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from agentpay.clock import FixedClock
from agentpay.errors import AgentPayError, PolicyDenied
from agentpay.manager import AgentHandle
from agentpay.plans.models import BillingPeriod, PaymentPlan, PaymentType
from agentpay_tools import CATALOG, run
from conftest import START
from support.bench import Bench, policy
from support.databases import Databases

WINDOW = {"rolling": "24h"}
RIVAL_SPENT = ("37.91", "41.13", "23.17")
LISTED = (
    "acct_1HiddenVendor", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "hidden-vendor@example.com",
    "acct_1HiddenDenied", "hidden-vip", "hidden-banned", "hidden-plan", "hiddenkind",
)  # fmt: skip
"""Entries of allow and deny lists."""

OF_OTHERS = ("rival", *RIVAL_SPENT, "79.04", "102.21", "611.13", "508.92", "600.91")
"""The other agent's name, customers and payments, what it spent, sums of it, and the figures of the shared budget."""

PEOPLE = ("hidden-olga", "hidden-hugo")

ENTRY: dict[str, Any] = {
    "budget": "pot",
    "customers": {"allow": ["ana", "c-*", "hidden-vip-*"], "deny": ["hidden-banned-*"]},
    "payees": {
        "allow": ["self", "stripe:acct_1HiddenVendor", f"eip155:1:{LISTED[1]}", f"paypal:{LISTED[2]}"],
        "deny": ["stripe:acct_1HiddenDenied"],
        "new": "approve",
    },
    "categories": {"deny": ["hiddenkind"]},
    "charge": {
        "directions": ["collect"],
        "per_transaction": {"max": "90.00 USD"},
        "limits": [{"id": "own", "amount": "400.00 USD", "window": WINDOW}],
    },
    "subscribe": {"plans": ["pro", "hidden-plan-of-old"], "max_per_period": "20.00 USD"},
    "approvals": [
        {"id": "big", "when": {"amount_over": "60.00 USD"}, "approvers": "bosses"},
        {"id": "stranger", "when": {"payee": "new"}, "approvers": "bosses"},
    ],
}
POLICY = policy(
    {"bot": ENTRY, "rival": {"budget": "pot"}},
    approvers={"bosses": {"members": list(PEOPLE)}},
    categories={"hiddenkind": ["stripe:acct_1HiddenKind"]},
    budgets={
        "pot": {"limits": [
            {"id": "all", "amount": "611.13 USD", "window": WINDOW},
            {"id": "one", "amount": "600.91 USD", "window": WINDOW, "per": "agent"},
        ]}
    },
)  # fmt: skip


@pytest.fixture
def two(databases: Databases) -> Iterator[Bench]:
    """Two agents that share a budget; the other one has spent."""
    url = databases.create("sqlite")
    bench = Bench(url, clock=FixedClock(START), policy=POLICY)
    for name, price in (("pro", "10.00"), ("dear", "30.00")):
        bench.manager.create_plan(
            PaymentPlan(id=name, name=name, payment_type=PaymentType.SUBSCRIPTION, price=price,
                        billing_period=BillingPeriod.MONTHLY)
        )  # fmt: skip
    rival = bench.manager.for_agent("rival")
    for number, amount in enumerate(RIVAL_SPENT):
        rival.charge(f"rival-customer-{number}", amount, "USD", description="rival words", idempotency_key=f"k{number}")
    yield bench
    bench.check()
    bench.close()
    databases.drop(url)


ODD = ("\u202e", "%s{0}", "x" * 300, "' OR 1=1 --", "self ", "*", "\x00", "c-" + "9" * 190)


def charges(theirs: str) -> Iterator[dict[str, Any]]:
    """Charges that are allowed, parked and denied for every reason, and some that no one would make."""
    for amount, currency in (("5.00", "USD"), ("70.00", "USD"), ("90.01", "USD"), ("0.00", "USD"), ("5.00", "EUR")):
        yield {"customer": "ana", "amount": amount, "currency": currency}
    for payee in ("stripe:acct_1New", "stripe:acct_1HiddenKin", "paypal:x@example.com", "http://x", *ODD):
        yield {"payee": payee}
    for customer in ("zoe", "c-1", "hidden", *ODD):
        yield {"customer": customer}
    yield {"provider": "stripe"}
    yield {"method": "card"}
    yield {"distinct_from": theirs}


def calls(theirs: str, refund: str, approval: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every tool, with what is right, what is the other agent's, and what is odd."""
    keys = itertools.count()
    for more in charges(theirs):
        usual = {"customer": "ana", "amount": "5.00", "currency": "USD", "description": "x"}
        yield "charge", {**usual, "idempotency_key": f"k{next(keys)}", **more}
    for customer, plan in (
        ("ana", "pro"),
        ("ana", "dear"),
        ("zoe", "pro"),
        ("c-1", "none"),
        *((one, one) for one in ODD),
    ):
        yield "subscribe", {"customer": customer, "plan": plan, "idempotency_key": f"k{next(keys)}"}
        yield "cancel_subscription", {"customer": customer, "plan": plan}
        yield "get_subscription", {"customer": customer}
    for odd in (theirs, approval, refund, "pay_none", *ODD):
        yield "get_payment", {"payment_id": odd}
        yield "get_payment", {"idempotency_key": odd}
        yield "get_approval", {"approval_id": odd}
        yield "refund", {"payment_id": odd, "reason": "x", "idempotency_key": f"k{next(keys)}"}
        yield "list_payments", {"customer": "ana", "cursor": odd}
    for customer in ("ana", "zoe", "nobody", *ODD):
        yield "check_access", {"customer": customer, "feature": "f"}
        yield (
            "record_usage",
            {"customer": customer, "feature": "f", "quantity": 5000, "idempotency_key": f"k{next(keys)}"},
        )
        yield "list_payments", {"customer": customer}
        yield "get_budget", {"customer": customer}
    yield (
        "record_usage",
        {"customer": "ana", "feature": "f", "cost": "99.00", "currency": "USD", "idempotency_key": "u"},
    )
    yield "list_plans", {}
    yield "get_budget", {"currency": "USD"}


def told(bench: Bench, tool: str, arguments: Mapping[str, object]) -> tuple[str, str]:
    """Everything that a tool answers, and its status or code."""
    spec = next(spec for name, spec in CATALOG.items() if name == tool)
    note = lambda name, error: bench.manager.note_refusal("bot", name, error)  # noqa: E731
    result = run(spec, bench.bot, arguments, note=note)
    body = result.structured()
    assert result.body.model_dump_json() and body["status"]
    return f"{result.text}\n{json.dumps(body, ensure_ascii=False)}", body.get("error", {}).get("code") or body["status"]


def raised(call: Callable[[], object]) -> str:
    """Everything that a verb of the handle gives, or raises, down to what is not printed."""
    try:
        return repr(call())
    except AgentPayError as error:
        return "\n".join([str(error), repr(error.args), deep(vars(error)), error.next_step])


def deep(value: object) -> str:
    """A value with whatever hangs on it."""
    parts = [repr(value)]
    if isinstance(value, Mapping):
        parts += [deep(one) for one in value.values()]
    elif isinstance(value, tuple | list):
        parts += [deep(one) for one in value]
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        parts += [deep(one) for one in vars(value).values()]
    return "\n".join(parts)


def verb(handle: AgentHandle, tool: str, arguments: Mapping[str, Any]) -> object:
    """Call the handle's verb of a tool."""
    return getattr(handle, tool)(**arguments)


def found_in(text: str, words: tuple[str, ...]) -> list[str]:
    return [word for word in words if word.lower() in text.lower()]


def exhaust(bench: Bench) -> None:
    """Let the rival take nearly all that is left of the shared budget."""
    rival = bench.manager.for_agent("rival")
    for number, amount in enumerate(["87.17"] * 6 + ["20.17"] * 4 + ["4.17"] * 6):
        with suppress(PolicyDenied):
            rival.charge("rival-customer", amount, "USD", description="x", idempotency_key=f"more{number}")


def test_no_tool_tells_an_agent_what_it_may_not_know(two: Bench) -> None:
    theirs = two.manager.list_payments("rival-customer-0")[0].id
    first = two.bot.charge("ana", "70.00", "USD", description="x", idempotency_key="first")
    seen: set[str] = set()
    leaks = []
    for stage in ("fresh", "exhausted", "halted"):
        if stage == "exhausted":
            exhaust(two)
        if stage == "halted":
            two.manager.halt("rival", reason="rival is halted")
            two.manager.halt("bot", reason="stop")
        for tool, arguments in calls(theirs, "ref_none", str(first.approval_id)):
            asked = json.dumps(arguments, ensure_ascii=False)
            hidden = tuple(word for word in (*LISTED, *OF_OTHERS, *PEOPLE) if word not in asked)
            text, status = told(two, tool, arguments)
            text = text.replace(theirs, "")  # what it said itself may be said back to it
            seen.add(status)
            leaks += [(stage, tool, arguments, word) for word in found_in(text, hidden)]
        later = {"customer": "ana", "amount": "5.55", "currency": "USD", "description": "x", "idempotency_key": stage}
        seen.add(told(two, "charge", later)[1])
    assert leaks == []
    assert {"succeeded", "approval_required", "POLICY_DENIED", "NOT_FOUND", "ok", "INVALID_ARGUMENT"} <= seen


def test_no_error_of_the_handle_carries_it_either(two: Bench) -> None:
    theirs = two.manager.list_payments("rival-customer-0")[0].id
    first = two.bot.charge("ana", "70.00", "USD", description="x", idempotency_key="first")
    leaks, codes = [], set[str]()
    for stage in ("fresh", "exhausted"):
        if stage == "exhausted":
            exhaust(two)
        for tool, arguments in calls(theirs, "ref_none", str(first.approval_id)):
            text = raised(lambda: verb(two.bot, tool, arguments)).replace(theirs, "")  # noqa: B023
            codes |= {
                code for code in ("BUDGET_EXHAUSTED", "PAYEE_NOT_ALLOWED", "CUSTOMER_NOT_ALLOWED") if code in text
            }
            leaks += [(stage, tool, arguments, word) for word in found_in(text, (*LISTED, *OF_OTHERS))]
    assert leaks == []
    assert codes == {"BUDGET_EXHAUSTED", "CUSTOMER_NOT_ALLOWED"}


def test_the_operator_does_read_it(two: Bench) -> None:
    """The guard of the guard: what is looked for would be found where it may stand."""
    exhaust(two)
    denied = two.manager.simulate("bot", "charge", customer="zoe", amount="90.00", currency="USD")
    text = deep(denied.decision.for_operator) + deep(denied.limits)
    assert {"611.13", "hidden-vip"} <= set(found_in(text, (*LISTED, *OF_OTHERS)))
    said = "\n".join(two.manager.explain("bot"))
    assert found_in(said, (*LISTED, *PEOPLE)) == [*LISTED, *PEOPLE]
    assert "600.91" in said
