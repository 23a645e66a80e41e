"""What the tools need of the engine: the verbs of one agent, and of their results what the tools tell.

`agentpay.manager.AgentHandle` has exactly these verbs; a test may pass anything else that has them. An agent's
identity is the handle's, never an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from agentpay.payments.models import Payment, Refund
from agentpay_policies.names import Operation

if TYPE_CHECKING:
    from agentpay.access.models import Access
    from agentpay.payments.service import PaymentPage
    from agentpay.plans.models import PaymentPlan
    from agentpay.spending.models import Approval
    from agentpay.subscriptions.models import Subscription
    from agentpay.usage.models import UsageRecord
    from agentpay_policies.budget import BudgetView


class Handle(Protocol):
    """The verbs of one agent, behind the policy. Every refusal is raised as an AgentPayError."""

    @property
    def agent(self) -> str: ...

    def check_access(self, customer: str, feature: str, quantity: int = 1) -> Access: ...

    def charge(
        self,
        customer: str,
        amount: str,
        currency: str,
        *,
        description: str,
        idempotency_key: str,
        payee: str = "self",
        provider: str | None = None,
        method: str | None = None,
        distinct_from: str | None = None,
    ) -> Payment: ...

    def subscribe(
        self, customer: str, plan: str, *, idempotency_key: str, provider: str | None = None
    ) -> Subscription: ...

    def record_usage(
        self,
        customer: str,
        feature: str,
        quantity: int = 1,
        *,
        cost: str | None = None,
        currency: str | None = None,
        idempotency_key: str,
    ) -> UsageRecord: ...

    def refund(self, payment_id: str, amount: str | None = None, *, reason: str, idempotency_key: str) -> Refund: ...

    def cancel_subscription(
        self,
        customer: str,
        plan: str | None = None,
        *,
        at_period_end: bool = True,
        idempotency_key: str | None = None,
    ) -> Subscription: ...

    def get_payment(
        self, payment_id: str | None = None, *, idempotency_key: str | None = None, operation: Operation = "charge"
    ) -> Payment | Refund: ...

    def get_approval(self, approval_id: str) -> Approval: ...

    def get_subscription(self, customer: str, plan: str | None = None) -> Subscription: ...

    def list_payments(self, customer: str, *, limit: int = 20, cursor: str | None = None) -> PaymentPage: ...

    def list_plans(self) -> Sequence[PaymentPlan]: ...

    def get_budget(self, *, currency: str | None = None, customer: str | None = None) -> BudgetView: ...
