"""The table: what is called, in which state, under which policy, and what it ends in, whichever way it is called.

The cases of a scene run in order on one engine, so that each is the state of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentpay import BillingPeriod, Feature, PaymentPlan, PaymentType
from agentpay_policies.names import ALWAYS_ALLOWED, TOOL_NAMES, ToolName
from support.bench import PEOPLE, SECRET, WINDOW, Bench, Policy, asking, policy
from unit.tools.fakes import GOOD

Memo = Mapping[str, Mapping[str, Any]]
"""What the earlier cases were answered, by their names."""

Args = Mapping[str, Any] | Callable[[Memo], Mapping[str, Any]]

PRO = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    billing_period=BillingPeriod.MONTHLY,
    features=["premium_api", Feature("exports", limit=5)],
)
TRIAL = PaymentPlan(id="trial", name="Trial", payment_type=PaymentType.FREEMIUM, free_requests=2, features=["summary"])
DEAR = PaymentPlan(
    id="dear", name="Dear", payment_type=PaymentType.SUBSCRIPTION, price="90.00", group="dear",
    billing_period=BillingPeriod.MONTHLY, features=["vault"],
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One call. `ends` is the status, or the first violation, or the error's code; `figures` are of the answer."""

    name: str
    tool: ToolName
    args: Args
    ends: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[Bench], object] | None = None


@dataclass(frozen=True)
class Scene:
    """A policy, a state, and what is called in it."""

    name: str
    policy: Policy
    cases: tuple[Case, ...]
    throttle: str = "off"


def pays(key: str, amount: str = "5.00", **more: Any) -> dict[str, Any]:
    """The arguments of a charge."""
    common = {"customer": "alice", "currency": "USD", "description": "AI analysis"}
    return {**common, "amount": amount, "idempotency_key": key, **more}


def gives_back(case: str, key: str, **more: Any) -> Callable[[Memo], dict[str, Any]]:
    """The arguments of a refund of what another case paid."""
    return lambda memo: {"payment_id": memo[case]["payment_id"], "reason": "late", "idempotency_key": key, **more}


def use(key: str, feature: str = "exports", customer: str = "alice", **more: Any) -> dict[str, Any]:
    """The arguments of record_usage."""
    return {"customer": customer, "feature": feature, "idempotency_key": key, **more}


def buy(key: str, plan: str = "pro", customer: str = "alice") -> dict[str, Any]:
    """The arguments of subscribe."""
    return {"customer": customer, "plan": plan, "idempotency_key": key}


def wrong(name: str, tool: ToolName = "charge", **changes: Any) -> Case:
    """A call with an argument that fits no schema; `...` leaves it out."""
    given = {**GOOD[tool], **changes}
    return Case(name, tool, {key: value for key, value in given.items() if value is not ...}, "INVALID_ARGUMENT")


ARGUMENTS = Scene(
    "arguments",
    policy(),
    (
        wrong("amount as a number", amount=5),
        wrong("amount as a float", amount=5.0),
        wrong("amount as true", amount=True),
        wrong("amount with a sign", amount="-5.00"),
        wrong("amount with a comma", amount="5,00"),
        wrong("amount as an exponent", amount="1e2"),
        wrong("amount missing", amount=...),
        wrong("amount null", amount=None),
        wrong("customer empty", customer=" "),
        wrong("customer too long", customer="x" * 201),
        wrong("key too long", idempotency_key="k" * 201),
        wrong("description too long", description="d" * 501),
        wrong("an argument too many", max_amount="1.00"),
        wrong("an agent of one's own", agent="root"),
        wrong("quantity 0", "check_access", quantity=0),
        wrong("quantity as text", "record_usage", quantity="1"),
        wrong("a payment without a name", "get_payment", payment_id=...),
        wrong("a payment with two names", "get_payment", idempotency_key="k"),
        wrong("an operation that is none", "get_payment", operation="approve"),
        wrong("a page too long", "list_payments", limit=101),
        wrong("arguments for a tool without", "list_plans", x=1),
        wrong("at_period_end as text", "cancel_subscription", at_period_end="yes"),
        Case("too many decimals", "charge", pays("a", "5.001"), "AMOUNT_INVALID"),
        Case("nothing", "charge", pays("a", "0.00"), "AMOUNT_INVALID"),
        Case("no such currency", "charge", pays("a", currency="XXQ"), "CURRENCY_UNKNOWN"),
        Case("no such payee", "charge", pays("a", payee="bob"), "PAYEE_INVALID"),
        Case("a control character", "charge", pays("a", customer="ali\u202ece"), "INVALID_ARGUMENT"),
        Case("no such plan", "subscribe", buy("a", "none"), "PLAN_UNKNOWN"),
        Case("no such payment", "get_payment", {"payment_id": "pay_0"}, "NOT_FOUND"),
        Case("no such key", "get_payment", {"idempotency_key": "a"}, "NOT_FOUND"),
        Case("no such approval", "get_approval", {"approval_id": "apr_0"}, "NOT_FOUND"),
        Case("no subscription", "get_subscription", {"customer": "alice"}, "NOT_FOUND"),
    ),
)

OUTCOMES = Scene(
    "outcomes",
    policy(),
    (
        Case("paid", "charge", pays("k1"), "succeeded", {"amount": "5.00", "replayed": False}),
        Case("the same key again", "charge", pays("k1"), "succeeded", {"amount": "5.00", "replayed": True}),
        Case("the key with another amount", "charge", pays("k1", "6.00"), "IDEMPOTENCY_CONFLICT"),
        Case("declined", "charge", pays("k2", "13.01"), "PAYMENT_DECLINED", {"decline_code": "generic_decline"}),
        Case("declined, again", "charge", pays("k2", "13.01"), "PAYMENT_DECLINED"),
        Case("pending", "charge", pays("k3", "13.10"), "pending"),
        Case("wants the customer", "charge", pays("k4", "13.11"), "requires_action"),
        Case("unknown", "charge", pays("k5", "13.22"), "unknown"),
        Case("unknown, again", "charge", pays("k5", "13.22"), "unknown", {"replayed": True}),
        Case("not sent", "charge", pays("k6", "13.24"), "NOT_SENT"),
        Case("the provider raises", "charge", pays("k7", "13.27"), "unknown"),
        Case("read by key", "get_payment", {"idempotency_key": "k1"}, "ok", {"payment_status": "succeeded"}),
        Case("a part back", "refund", gives_back("paid", "r1", amount="2.00"), "succeeded", {"amount": "2.00"}),
        Case("the part again", "refund", gives_back("paid", "r1", amount="2.00"), "succeeded", {"replayed": True}),
        Case("too much back", "refund", gives_back("paid", "r2", amount="3.01"), "REFUND_REFUSED"),
        Case("the rest back", "refund", gives_back("paid", "r3"), "succeeded", {"amount": "3.00"}),
        Case("nothing is left", "refund", gives_back("paid", "r4"), "REFUND_REFUSED"),
        Case("the pages", "list_payments", {"customer": "alice", "limit": 2}, "ok"),
        Case("the plans", "list_plans", {}, "ok"),
        Case("no access yet", "check_access", {"customer": "alice", "feature": "premium_api"}, "ok",
             {"allowed": False}),
        Case("subscribed", "subscribe", GOOD["subscribe"], "active", {"plan": "pro"}),
        Case("twice", "subscribe", {**GOOD["subscribe"], "idempotency_key": "s2"}, "ALREADY_SUBSCRIBED"),
        Case("access", "check_access", {"customer": "alice", "feature": "exports"}, "ok", {"remaining": 5}),
        Case("used", "record_usage", use("u1", quantity=4),
             "ok", {"remaining": 1}),
        Case("used too much", "record_usage",
             use("u2", quantity=2), "USAGE_LIMIT_EXCEEDED"),
        Case("used what only another plan has", "record_usage",
             use("u3", "vault"), "FEATURE_NOT_AVAILABLE"),
        Case("the subscription", "get_subscription", {"customer": "alice"}, "ok", {"subscription_status": "active"}),
        Case("ends with its period", "cancel_subscription", {"customer": "alice"}, "active",
             {"cancel_at_period_end": True}),
        Case("the budget", "get_budget", {}, "ok", {"halted": False}),
    ),
)  # fmt: skip

_TIGHT = policy(
    {
        "bot": {
            "customers": {"allow": ["team-*"]},
            "charge": {
                "directions": ["collect"],
                "per_transaction": {"min": "1.00 USD", "max": "20.00 USD"},
                "limits": [
                    {"id": "day", "amount": "30.00 USD", "window": WINDOW},
                    {"id": "burst", "count": 9, "window": {"rolling": "1h"}},
                ],
            },
            "subscribe": {"plans": ["pro"], "max_per_period": "50.00 USD"},
            "record_usage": {"max_quantity": 3, "max_cost": "0.10 USD"},
        }
    },
    defaults={"duplicate_window": "5m"},
)

POLICY = Scene(
    "policy",
    _TIGHT,
    (
        Case("another's customer", "charge", pays("k0"), "CUSTOMER_NOT_ALLOWED"),
        Case("another currency", "charge", pays("k0", customer="team-a", currency="EUR"), "CURRENCY_NOT_ALLOWED"),
        Case("another payee", "charge", pays("k0", customer="team-a", payee="stripe:acct_1A2b3C4d5E"),
             "PAYEE_NOT_ALLOWED"),
        Case("another provider", "charge", pays("k0", customer="team-a", provider="stripe"), "PROVIDER_UNKNOWN"),
        Case("too little", "charge", pays("k0", "0.99", customer="team-a"), "BELOW_MINIMUM"),
        Case("too much at once", "charge", pays("k0", "20.01", customer="team-a"), "ABOVE_MAXIMUM"),
        Case("the first", "charge", pays("k1", "20.00", customer="team-a"), "succeeded"),
        Case("looks the same", "charge", pays("k2", "20.00", customer="team-a"), "DUPLICATE_SUSPECTED"),
        Case("too much in a day", "charge", pays("k3", "10.01", customer="team-a"), "LIMIT_EXCEEDED"),
        Case("meant as a second one, and too much", "charge",
             lambda memo: pays("k4", "20.00", customer="team-a", distinct_from=memo["the first"]["payment_id"]),
             "LIMIT_EXCEEDED"),
        Case("in small parts, 1", "charge", pays("k5", "4.00", customer="team-a"), "succeeded"),
        Case("in small parts, 2", "charge", pays("k6", "4.01", customer="team-b"), "succeeded"),
        Case("in small parts, 3", "charge", pays("k7", "1.98", customer="team-a"), "succeeded"),
        Case("in small parts, 4", "charge", pays("k8", "1.00", customer="team-a"), "LIMIT_EXCEEDED"),
        Case("what is left", "get_budget", {}, "ok"),
        Case("a plan that is not allowed", "subscribe", buy("s", "dear", "team-a"),
             "PLAN_NOT_ALLOWED"),
        Case("too many units", "record_usage",
             use("u", "summary", "team-a", quantity=4), "QUANTITY_TOO_LARGE"),
        Case("too dear a use", "record_usage",
             use("u", "x", "team-a", cost="0.11"), "COST_TOO_HIGH"),
        Case("another's payment", "refund",
             lambda memo: {"payment_id": memo["of the operator"]["payment_id"], "reason": "x", "idempotency_key": "r"},
             "NOT_OWN_PAYMENT"),
        Case("a look at access is no payment", "check_access", {"customer": "alice", "feature": "x"}, "ok",
             {"allowed": False}),
    ),
)  # fmt: skip


def _decide(verdict: str) -> Callable[[Bench], object]:
    def decide(bench: Bench) -> None:
        waiting = bench.manager.list_approvals()[0]
        getattr(bench.manager, verdict)(waiting.id, approver="alice", secret=SECRET)

    return decide


APPROVALS = Scene(
    "approvals",
    policy({"bot": asking()}, approvers=PEOPLE),
    (
        Case("parked", "charge", pays("k1", "30.00"), "approval_required", {"amount": "30.00"}),
        Case("still parked", "charge", pays("k1", "30.00"), "approval_required", {"replayed": True}),
        Case("changed after it was asked", "charge", pays("k1", "31.00"), "IDEMPOTENCY_CONFLICT"),
        Case("read", "get_approval", lambda memo: {"approval_id": memo["parked"]["approval_id"]}, "ok",
             {"approval_status": "pending", "votes": 0, "needed": 1}),
        Case("the payment", "get_payment", {"idempotency_key": "k1"}, "ok", {"payment_status": "approval_required"}),
        Case("approved", "charge", pays("k1", "30.00"), "succeeded", before=_decide("approve")),
        Case("once", "charge", pays("k1", "30.00"), "succeeded", {"replayed": True}),
        Case("parked too", "charge", pays("k2", "40.00"), "approval_required"),
        Case("denied", "charge", pays("k2", "40.00"), "APPROVAL_DENIED", before=_decide("deny")),
        Case("parked and forgotten", "charge", pays("k3", "50.00"), "approval_required"),
        Case("too late", "charge", pays("k3", "50.00"), "APPROVAL_EXPIRED",
             before=lambda bench: bench.later(minutes=31)),
        Case("small enough", "charge", pays("k4", "25.00"), "succeeded"),
    ),
)  # fmt: skip

_ACTING: tuple[ToolName, ...] = ("charge", "subscribe", "record_usage")

HALTED = Scene(
    "halted",
    policy(),
    (
        Case("paid before", "charge", pays("k1"), "succeeded"),
        Case("stopped", "charge", pays("k2"), "HALTED", before=lambda bench: bench.manager.halt("bot", reason="look")),
        Case("what was paid is told", "charge", pays("k1"), "succeeded", {"replayed": True}),
        Case("no plan either", "subscribe", GOOD["subscribe"], "HALTED"),
        Case("nothing back", "refund", gives_back("paid before", "r"), "HALTED"),
        Case("nothing counted", "record_usage", GOOD["record_usage"], "HALTED"),
        Case("the budget says so", "get_budget", {}, "ok", {"halted": True}),
        Case("on again", "charge", pays("k2"), "succeeded", before=lambda bench: bench.manager.resume("bot")),
    ),
)  # fmt: skip

UNLISTED = Scene(
    "unlisted",
    policy({"bot": {"tools": []}}),
    (
        Case("nor are its arguments told", "charge", {}, "TOOL_NOT_ALLOWED"),
        *(
            Case(f"{name} is not listed", name, GOOD[name], "TOOL_NOT_ALLOWED")
            for name in TOOL_NAMES
            if name not in ALWAYS_ALLOWED
        ),
    ),
)

_AFTER = {**policy(), "agents": {"other": policy()["agents"]["bot"]}}
"""A policy that no longer names the agent."""

GONE = Scene(
    "gone",
    policy(),
    tuple(
        Case(f"{name} of an agent that is no more", name, GOOD[name], "AGENT_UNKNOWN",
             before=lambda bench: bench.manager.apply_policy(_AFTER))
        for name in _ACTING
    ),
)  # fmt: skip

THROTTLED = Scene(
    "throttled",
    policy(),
    (
        Case("one", "charge", pays("k1"), "succeeded"),
        Case("two", "charge", pays("k2"), "succeeded"),
        Case("three", "charge", pays("k3"), "THROTTLED"),
        Case("a known key is free", "charge", pays("k1"), "succeeded", {"replayed": True}),
    ),
    throttle="2/100",
)

SCENES = (ARGUMENTS, OUTCOMES, POLICY, APPROVALS, HALTED, UNLISTED, GONE, THROTTLED)


def prepare(bench: Bench) -> Memo:
    """The state that every scene begins with."""
    for plan in (PRO, TRIAL, DEAR):
        bench.manager.create_plan(plan)
    bench.enrol("alice")
    paid = bench.manager.charge("team-a", "3.00", "USD", idempotency_key="operator")
    return {"of the operator": {"payment_id": paid.id}}
