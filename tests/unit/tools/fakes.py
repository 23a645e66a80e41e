"""A scripted engine: each verb answers, or raises, what the test put there, and every call is written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from agentpay.access.models import Access
from agentpay.errors import AgentPayError
from agentpay.payments.models import Payment, Refund
from agentpay.payments.service import PaymentPage
from agentpay.plans.models import BillingPeriod, Feature, PaymentPlan, PaymentType
from agentpay.spending.models import Approval
from agentpay.subscriptions.models import Subscription
from agentpay.usage.models import UsageRecord
from agentpay_policies.budget import BudgetView, LimitView, Spendable
from agentpay_policies.money import Money
from agentpay_policies.names import TOOL_NAMES, ToolName

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)

PAYMENT = Payment(
    id="pay_1",
    status="succeeded",
    direction="collect",
    customer="alice",
    amount=Decimal("5.00"),
    currency="USD",
    payee="self",
    provider="mock",
    refunded=Decimal("0.00"),
    created_at=NOW,
    description="AI analysis",
)
PARKED = replace(
    PAYMENT, status="approval_required", approval_id="apr_1", expires_at=LATER, next_step="A person must approve."
)
REFUND = Refund(
    id="ref_1",
    payment_id="pay_1",
    status="succeeded",
    amount=Decimal("2.00"),
    currency="USD",
    reason="partial",
    created_at=NOW,
)
APPROVAL = Approval(
    id="apr_1",
    status="pending",
    payment_id="pay_1",
    operation="charge",
    direction="collect",
    customer="alice",
    amount=Decimal("30.00"),
    currency="USD",
    payee="self",
    payee_is_new=False,
    provider="mock",
    agent="bot",
    created_at=NOW,
    expires_at=LATER,
    votes=0,
    needed=1,
    next_step="Wait.",
)
PLAN = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    billing_period=BillingPeriod.MONTHLY,
    requests_per_period=100,
    features=["premium_api", Feature("exports", limit=5)],
)
BUDGET = BudgetView(
    agent_known=True,
    halted=False,
    tools=("charge", "get_budget"),
    currencies=("USD",),
    providers=("mock",),
    can_spend_now=(Spendable("USD", "collect", Money("50.00", "USD"), LATER),),
    limits=(
        LimitView(
            id="day-cap",
            operation="charge",
            directions=("collect",),
            unit="USD",
            window="rolling 24h",
            per="agent",
            limit="150.00 USD",
            used="20.00 USD",
            held="0.00 USD",
            remaining="130.00 USD",
            resets_at=LATER,
        ),
    ),
    shared_budget="available",
)


ACCESS = Access(
    allowed=True,
    reason="included",
    plan="pro",
    used=3,
    limit=100,
    remaining=97,
    unlimited=False,
    resets_at=LATER,
    next_step="",
)
SUBSCRIPTION = Subscription(
    id="sub_1",
    customer="alice",
    plan="pro",
    status="active",
    group="default",
    period_start=NOW,
    period_end=LATER,
    cancel_at_period_end=False,
    created_at=NOW,
    payment_id="pay_1",
    payment_status="succeeded",
)
USAGE = UsageRecord(
    id="use_1",
    customer="alice",
    feature="api_calls",
    quantity=1,
    cost=Decimal("0.0015"),
    currency="USD",
    plan="pro",
    remaining=99,
    recorded_at=NOW,
)
PAGE = PaymentPage((PAYMENT,), None)


Script = Any
"""What a verb does: an exception is raised, a function is called, anything else is the answer."""


@dataclass
class FakeHandle:
    """An agent's verbs. `script` holds what each does; `calls` what was asked."""

    agent: str = "bot"
    script: dict[str, Script] = field(default_factory=dict)
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def _do(self, verb: str, default: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.calls.append((verb, args, kwargs))
        scripted = self.script.get(verb, default)
        if isinstance(scripted, BaseException):
            raise scripted
        return scripted(*args, **kwargs) if callable(scripted) else scripted

    def check_access(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("check_access", ACCESS, args, kwargs)

    def charge(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("charge", PAYMENT, args, kwargs)

    def subscribe(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("subscribe", SUBSCRIPTION, args, kwargs)

    def record_usage(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("record_usage", USAGE, args, kwargs)

    def refund(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("refund", REFUND, args, kwargs)

    def cancel_subscription(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("cancel_subscription", replace(SUBSCRIPTION, cancel_at_period_end=True), args, kwargs)

    def get_payment(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("get_payment", PAYMENT, args, kwargs)

    def get_approval(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("get_approval", APPROVAL, args, kwargs)

    def get_subscription(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("get_subscription", SUBSCRIPTION, args, kwargs)

    def list_payments(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("list_payments", PAGE, args, kwargs)

    def list_plans(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("list_plans", (PLAN,), args, kwargs)

    def get_budget(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("get_budget", BUDGET, args, kwargs)


@dataclass
class FakeManager:
    """What the server needs of a manager: one handle, and the tools that the policy lists."""

    handle: FakeHandle = field(default_factory=FakeHandle)
    listed: frozenset[ToolName] | Callable[[], frozenset[ToolName]] = frozenset(TOOL_NAMES)

    refused: list[tuple[str, str, str]] = field(default_factory=list)

    def note_refusal(self, agent: str, tool: ToolName, error: AgentPayError) -> AgentPayError:
        self.refused.append((agent, tool, error.code))
        return error

    def for_agent(self, agent: str) -> FakeHandle:
        self.handle.agent = agent
        return self.handle

    def tools_for(self, agent: str) -> frozenset[ToolName]:
        return self.listed() if callable(self.listed) else self.listed


GOOD: dict[ToolName, dict[str, object]] = {
    "check_access": {"customer": "alice", "feature": "premium_api"},
    "charge": {
        "customer": "alice",
        "amount": "5.00",
        "currency": "USD",
        "description": "AI analysis",
        "idempotency_key": "order-42",
    },
    "subscribe": {"customer": "alice", "plan": "pro", "idempotency_key": "sub-1"},
    "record_usage": {"customer": "alice", "feature": "api_calls", "idempotency_key": "req-1"},
    "refund": {"payment_id": "pay_1", "reason": "partial", "idempotency_key": "order-42-refund"},
    "cancel_subscription": {"customer": "alice"},
    "get_payment": {"payment_id": "pay_1"},
    "get_approval": {"approval_id": "apr_1"},
    "get_subscription": {"customer": "alice"},
    "list_payments": {"customer": "alice"},
    "list_plans": {},
    "get_budget": {},
}
"""Arguments that each tool takes."""
