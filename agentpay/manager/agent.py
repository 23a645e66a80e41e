"""What an agent gets: the verbs of the tools, behind the policy, over its own payments. Nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

from agentpay.access.models import Access
from agentpay.customers import service as customers
from agentpay.errors import (
    AgentPayError,
    IdempotencyConflict,
    MoneyError,
    NotFound,
    PolicyDenied,
    ValidationError,
)
from agentpay.manager.wiring import Engine
from agentpay.payments.asks import ChargeAsk, RefundAsk
from agentpay.payments.models import Payment, Refund
from agentpay.payments.refusing import Refusals, denial
from agentpay.payments.service import PaymentPage
from agentpay.plans.models import PaymentPlan
from agentpay.principal import Principal, agent
from agentpay.spending import approvals, budgets
from agentpay.spending.models import Approval, Denied
from agentpay.storage import keys
from agentpay.storage.transaction import Tx
from agentpay.subscriptions.models import Subscription
from agentpay.usage.models import UsageRecord
from agentpay.usage.recording import Use
from agentpay.usage.taking import asked
from agentpay_policies.budget import BudgetView
from agentpay_policies.decisions import Request
from agentpay_policies.money import Amount, Money, parse_decimal
from agentpay_policies.names import Operation, ToolName
from agentpay_policies.payees import Payee
from agentpay_policies.text import free_text, identifier

T = TypeVar("T")

_LARGEST_PAGE = 100


class AgentHandle:
    """One agent's verbs. Its identity is fixed here, by the operator; no argument can name another.

    Every verb raises `PolicyDenied` with all reasons where the active policy does not allow it, and `Throttled` where
    the agent calls more often than it may.
    """

    def __init__(self, engine: Engine, agent_id: str) -> None:
        self.agent = identifier(agent_id, "agent")
        self._engine = engine
        self._principal: Principal = agent(agent_id)

    def check_access(self, customer: str, feature: str, quantity: int = 1) -> Access:
        """Whether a customer may use a feature so often now. Nothing is recorded."""
        self._permit(Request(tool="check_access", agent=self.agent, customer=customer))
        return self._engine.access.check(customer, feature, quantity)

    def charge(
        self,
        customer: str,
        amount: Amount,
        currency: str,
        *,
        description: str,
        idempotency_key: str,
        payee: str = "self",
        provider: str | None = None,
        method: str | None = None,
        distinct_from: str | None = None,
    ) -> Payment:
        """Charge a customer, or send money to a payee; see `PaymentManager.charge`. The policy decides first.

        Raises:
            DuplicateSuspected: a payment that looks the same was made a moment ago under another key.
        """
        ask = self._checked(
            "charge",
            lambda: charge_ask(
                self._principal,
                customer,
                amount,
                currency,
                description=description,
                key=idempotency_key,
                payee=payee,
                provider=provider,
                method=method,
                distinct_from=distinct_from,
            ),
        )
        self._listed("charge", ask.key)
        return self._engine.payments.charge(ask)

    def subscribe(self, customer: str, plan: str, *, idempotency_key: str, provider: str | None = None) -> Subscription:
        """Subscribe a customer to a plan and charge its first period."""
        self._checked("subscribe", lambda: (identifier(customer, "customer"), identifier(plan, "plan")))
        key = self._checked("subscribe", lambda: keys.checked_key(idempotency_key))
        self._listed("subscribe", key)
        if not self._known("subscribe", key):
            self._checked("subscribe", lambda: self._engine.plans.get(plan))
        return self._engine.subscribing.subscribe(customer, plan, key=key, provider=provider, principal=self._principal)

    def record_usage(
        self,
        customer: str,
        feature: str,
        quantity: int = 1,
        *,
        cost: Amount | None = None,
        currency: str | None = None,
        idempotency_key: str,
    ) -> UsageRecord:
        """Record that a customer used a feature. Known keys are answered without a decision: they record nothing.

        The policy's `max_cost` and `limits` bound what the use costs, whether the agent or the customer's plan sets the
        price.
        """
        key = self._checked("record_usage", lambda: keys.checked_key(idempotency_key))
        self._checked("record_usage", lambda: asked(customer, feature, quantity, cost, currency))
        request = Request(
            tool="record_usage", agent=self.agent, operation="record_usage", customer=customer, quantity=quantity
        )

        def permit(tx: Tx, use: Use) -> AgentPayError | None:
            denied = self._engine.gate.spend(tx, replace(request, cost=use.cost), use.id, use.customer_id)
            return denial(denied) if denied else None

        if not self._known("record_usage", key):
            self._admit(request)
        try:
            return self._engine.usage.record(
                customer,
                feature,
                quantity,
                cost=cost,
                currency=currency,
                idempotency_key=key,
                principal=self._principal,
                permit=permit,
            )
        except (PolicyDenied, ValidationError, IdempotencyConflict) as error:
            raise self._refused("record_usage", error) from None

    def refund(self, payment_id: str, amount: Amount | None = None, *, reason: str, idempotency_key: str) -> Refund:
        """Refund one of the agent's own charges (others where its policy says so): all that is left, or a part."""
        ask = self._checked(
            "refund", lambda: refund_ask(self._principal, payment_id, amount, reason=reason, key=idempotency_key)
        )
        self._listed("refund", ask.key)
        return self._engine.payments.refund(ask)

    def cancel_subscription(
        self,
        customer: str,
        plan: str | None = None,
        *,
        at_period_end: bool = True,
        idempotency_key: str | None = None,
    ) -> Subscription:
        """End a customer's subscription, with its period or at once. Ending what has ended changes nothing."""
        key = idempotency_key
        self._checked("cancel_subscription", lambda: (identifier(customer, "customer"), key and keys.checked_key(key)))
        return self._engine.subscribing.cancel(
            customer, plan, at_period_end=at_period_end, principal=self._principal, key=key
        )

    def get_payment(
        self, payment_id: str | None = None, *, idempotency_key: str | None = None, operation: str = "charge"
    ) -> Payment | Refund:
        """One of the agent's own payments, by its id or by the key of the call that made it.

        Raises:
            NotFound: there is none of the agent's.
            ValidationError: neither or both are named, or the operation is none.
        """
        if (payment_id is None) == (idempotency_key is None):
            raise ValidationError("Name either payment_id or idempotency_key.")
        if operation not in ("charge", "subscribe", "refund"):
            raise ValidationError("operation is charge, subscribe or refund.")
        if payment_id is not None:
            return self._engine.payments.get_payment(payment_id, agent=self.agent)
        return self._engine.payments.by_key(self._principal, operation, keys.checked_key(idempotency_key))

    def get_approval(self, approval_id: str) -> Approval:
        """One of the agent's own approvals as it stands.

        Raises:
            NotFound: there is none of the agent's.
        """
        return self._engine.store.read(lambda tx: approvals.get(tx, approval_id, agent_id=self.agent))

    def get_subscription(self, customer: str, plan: str | None = None) -> Subscription:
        """A customer's subscription.

        Raises:
            NotFound: the customer never had one.
        """
        self._permit(Request(tool="get_subscription", agent=self.agent, customer=customer))
        return self._engine.subscriptions.get(customer, plan)

    def list_payments(self, customer: str, *, limit: int = 20, cursor: str | None = None) -> PaymentPage:
        """The agent's own payments of a customer, the newest first, a page at a time."""
        self._permit(Request(tool="list_payments", agent=self.agent, customer=customer))
        if not 1 <= limit <= _LARGEST_PAGE:
            raise ValidationError(f"limit is from 1 to {_LARGEST_PAGE}.")
        return self._engine.payments.list_payments(customer, agent=self.agent, limit=limit, cursor=cursor)

    def list_plans(self) -> tuple[PaymentPlan, ...]:
        """Every plan that is sold."""
        self._permit(Request(tool="list_plans", agent=self.agent))
        return self._engine.plans.list()

    def get_budget(self, *, currency: str | None = None, customer: str | None = None) -> BudgetView:
        """What the agent may use, and what it may spend now."""

        self._engine.payments.expire_approvals()  # what nobody approved in time holds nothing any more

        def read(tx: Tx) -> BudgetView:
            known = None if customer is None else customers.known(tx, customer)
            return budgets.budget(tx, self.agent, currency=currency, customer_ref=known.id if known else None)

        return self._engine.store.read(read)

    def _known(self, operation: str, key: str) -> bool:
        return self._engine.store.read(lambda tx: keys.target_of(tx, self._principal, operation, key)) is not None

    def _listed(self, operation: Operation, key: str) -> None:
        """Refuse a new key for a tool that the policy does not list, before anything that it names is looked up."""

        def read(tx: Tx) -> Denied | None:
            if keys.target_of(tx, self._principal, operation, key) is not None:
                return None
            return self._engine.gate.unlisted(tx, self.agent, operation)

        denied = self._engine.store.read(read)
        if denied is not None:
            raise self._refused(operation, denial(denied))

    def _permit(self, request: Request) -> None:
        """Decide about a call that moves nothing; a refusal is written down."""
        denied = self._engine.store.read(lambda tx: self._engine.gate.permit(tx, request))
        if denied is not None:
            raise self._refused(request.tool, denial(denied))

    def _admit(self, request: Request) -> None:
        """Throttle and decide about a new key that holds no money."""
        throttle = self._engine.throttle

        def write(tx: Tx) -> AgentPayError | None:
            now = tx.now()
            denied = self._engine.gate.permit(tx, replace(request, customer_ref=self._reference(tx, request.customer)))
            error = throttle.check(tx, self.agent, now) or (denial(denied) if denied else None)
            if error is not None:
                return Refusals(throttle).record(tx, self._principal, request.tool, error).error
            throttle.count_new_key(tx, self.agent, now)
            return None

        refused = self._engine.store.write(write)
        if refused is not None:
            raise refused

    def _reference(self, tx: Tx, customer: str | None) -> str | None:
        """Our id of a customer; of one who was never named a new one, in whose counters there is nothing."""
        known = None if customer is None else customers.known(tx, customer)
        return self._engine.ids.new("cus") if known is None else known.id

    def _checked(self, operation: ToolName, check: Callable[[], T]) -> T:
        """Check arguments; what they are refused for is written down as every refusal is."""
        try:
            return check()
        except (ValidationError, NotFound) as error:
            raise self._refused(operation, error) from None

    def _refused(self, operation: ToolName, error: AgentPayError) -> AgentPayError:
        return note_refusal(self._engine, self.agent, operation, error)


def note_refusal(engine: Engine, agent_id: str, tool: ToolName, error: AgentPayError) -> AgentPayError:
    """Write an agent's refusal down; what is answered is that, or that the agent is throttled."""
    refusals = Refusals(engine.throttle)
    return engine.store.write(lambda tx: refusals.record(tx, agent(agent_id), tool, error)).error


def charge_ask(
    principal: Principal,
    customer: str,
    amount: Amount,
    currency: str,
    *,
    description: str | None,
    key: str,
    payee: str,
    provider: str | None,
    method: str | None,
    distinct_from: str | None,
) -> ChargeAsk:
    """The arguments of a charge, checked.

    Raises:
        ValidationError: one of its kinds.
    """
    money = Money(amount, currency)
    if money.minor == 0:
        raise MoneyError("A charge is more than nothing.")
    return ChargeAsk(
        principal=principal,
        operation="charge",
        customer=identifier(customer, "customer"),
        money=money,
        payee=Payee.parse(payee),
        provider=None if provider is None else identifier(provider, "provider", longest=40),
        method=None if method is None else identifier(method, "method", longest=80),
        description=None if description is None else free_text(description, "description"),
        key=keys.checked_key(key),
        distinct_from=None if distinct_from is None else identifier(distinct_from, "distinct_from"),
    )


def refund_ask(
    principal: Principal, payment_id: str, amount: Amount | None, *, reason: str | None, key: str
) -> RefundAsk:
    """The arguments of a refund, checked; the amount is checked again against the payment's currency."""
    return RefundAsk(
        principal=principal,
        payment_id=identifier(payment_id, "payment_id"),
        amount=None if amount is None else plain(parse_decimal(amount)),
        reason=None if reason is None else free_text(reason, "reason"),
        key=keys.checked_key(key),
    )


def plain(number: Decimal) -> str:
    """One text for equal numbers: a repeat of 2.0 with 2.00 is the same refund."""
    return format(number.normalize() + 0, "f")
