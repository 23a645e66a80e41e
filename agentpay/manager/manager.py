"""The manager: every verb, for the operator's own code. What it does is audited and not limited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

from agentpay.access.models import Access
from agentpay.billing.credits import CreditGrant
from agentpay.billing.renewing import RenewalReport
from agentpay.billing.usage_bills import Bill
from agentpay.clock import Clock
from agentpay.errors import AgentPayError, ValidationError
from agentpay.ids import Ids
from agentpay.manager import background, epochs
from agentpay.manager.agent import AgentHandle, charge_ask, note_refusal, refund_ask
from agentpay.manager.opening import open_engine
from agentpay.manager.operations import Operations
from agentpay.manager.wiring import Engine
from agentpay.payments.models import Payment, Refund
from agentpay.payments.recovery import ReconcileReport
from agentpay.plans.models import PaymentPlan
from agentpay.principal import OPERATOR
from agentpay.providers.base import PaymentProvider
from agentpay.providers.urls import return_urls
from agentpay.storage.choices import Storage
from agentpay.subscriptions.models import Subscription
from agentpay.subscriptions.service import SubscriptionManager
from agentpay.usage.models import Usage, UsageRecord
from agentpay.usage.service import DEFAULT_LIFE, Reservation, UsageTracker
from agentpay.webhooks.models import WebhookReceipt
from agentpay_policies.money import Amount, Money
from agentpay_policies.names import ToolName
from agentpay_policies.policy import Policy
from agentpay_policies.text import free_text


class PaymentManager(Operations):
    """The payment engine on one database.

    >>> manager = PaymentManager("memory://", provider="mock", policy="starter")
    >>> bot = manager.for_agent("support-bot")

    `storage` is a URL (`memory://`, `sqlite:///file`, `postgresql://…`) or a storage object; `provider` a name, a
    provider, or several, of which the first is the default; `policy` a file, the name of a ready one, a mapping or a
    `Policy`: it becomes the active one where none is (False: none is given, whatever the settings say). What is not
    given comes from the settings. Every start looks up what an earlier run left open. Safe to share between threads;
    close it, or use it in a `with`.

    Raises:
        ConfigurationError: a setting, a provider or the policy is wrong; see its kinds.
        StorageError: the database cannot be opened; see its kinds.
    """

    def __init__(
        self,
        storage: str | Storage | None = None,
        *,
        provider: str | PaymentProvider | Sequence[str | PaymentProvider] | None = None,
        policy: str | Path | Mapping[str, object] | Policy | Literal[False] | None = None,
        default_plan: str | None = None,
        throttle: str | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self._engine: Engine = open_engine(
            storage,
            provider=provider,
            policy=policy,
            default_plan=default_plan,
            throttle=throttle,
            clock=clock,
            ids=ids,
        )
        background.start_pass(self._engine)

    @property
    def usage(self) -> UsageTracker:
        """Usage: recorded, reserved, read."""
        return self._engine.usage

    @property
    def subscriptions(self) -> SubscriptionManager:
        """Subscriptions, to read."""
        return self._engine.subscriptions

    def for_agent(self, agent: str) -> AgentHandle:
        """The verbs of one agent, behind the active policy. The id comes from a credential or the configuration, and
        never from what an agent says."""
        return AgentHandle(self._engine, agent)

    def tools_for(self, agent: str) -> frozenset[ToolName]:
        """The tools that the active policy lists for an agent."""
        return self._tools_for(agent)

    def note_refusal(self, agent: str, tool: ToolName, error: AgentPayError) -> AgentPayError:
        """For a tool server: write down a call that it refused by itself, such as for arguments that fit no schema.

        Returns what to answer: `error`, or `Throttled` where the agent has had too many refusals in this minute.
        """
        return note_refusal(self._engine, agent, tool, error)

    def create_plan(self, plan: PaymentPlan) -> PaymentPlan:
        """Store a plan. The same content again is the same version; another is a new one, for new subscribers."""
        return self._engine.plans.create(plan, principal=OPERATOR)

    def list_plans(self) -> tuple[PaymentPlan, ...]:
        """The current version of every plan."""
        return self._engine.plans.list()

    def check_access(self, customer: str, feature: str, quantity: int = 1) -> Access:
        """Whether a customer may use a feature so often now; true when allowed, and says why not otherwise."""
        return self._engine.access.check(customer, feature, quantity)

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
        """Record that a customer used a feature, once per key.

        Raises:
            UsageLimitExceeded, CreditsExhausted, FeatureNotAvailable, SubscriptionExpired: nothing was recorded.
            IdempotencyConflict: the key names another usage.
        """
        return self._engine.usage.record(
            customer, feature, quantity, cost=cost, currency=currency, idempotency_key=idempotency_key
        )

    def reserve_usage(
        self,
        customer: str,
        feature: str,
        quantity: int = 1,
        *,
        idempotency_key: str,
        expires_in: timedelta = DEFAULT_LIFE,
    ) -> Reservation:
        """Take a quantity before it is used; commit or release what comes back. It is free again after `expires_in`."""
        return self._engine.usage.reserve(
            customer, feature, quantity, idempotency_key=idempotency_key, expires_in=expires_in
        )

    def get_usage(self, customer: str, feature: str | None = None) -> Usage:
        """What a customer has used and has left, and what is unbilled."""
        return self._engine.usage.get(customer, feature)

    def grant_credits(
        self, customer: str, amount: Amount, currency: str = "USD", *, idempotency_key: str
    ) -> CreditGrant:
        """Give a customer credits, once per key. Usage draws on them first."""
        return self._engine.credits.grant(customer, Money(amount, currency), key=idempotency_key, principal=OPERATOR)

    def bill_usage(
        self, customer: str, *, idempotency_key: str, currency: str | None = None, provider: str | None = None
    ) -> Bill:
        """Charge a customer's unbilled usage once; what is below the smallest unit is carried to the next bill."""
        return self._engine.usage_bills.bill(
            customer, key=idempotency_key, currency=currency, provider=provider, principal=OPERATOR
        )

    def charge(
        self,
        customer: str,
        amount: Amount,
        currency: str,
        *,
        idempotency_key: str,
        description: str | None = None,
        payee: str = "self",
        provider: str | None = None,
        method: str | None = None,
    ) -> Payment:
        """Charge a customer, or send money to a payee, once per key.

        Returned are: approval_required, pending, requires_action, unknown, succeeded. After `unknown` or `pending`
        never pay again under another key: it is looked up until it is known.

        Raises:
            PaymentDeclined, NotSent: it ended so, and no money moved.
            IdempotencyConflict: the key names another charge.
            ProviderUnknown, ProviderUnsupported, ValidationError: nothing was done.
        """
        return self._engine.payments.charge(
            charge_ask(
                OPERATOR,
                customer,
                amount,
                currency,
                description=description,
                key=idempotency_key,
                payee=payee,
                provider=provider,
                method=method,
                distinct_from=None,
            )
        )

    def create_checkout(
        self,
        customer: str,
        *,
        plan: str | None = None,
        amount: Amount | None = None,
        currency: str | None = None,
        success_url: str,
        cancel_url: str,
        description: str | None = None,
        idempotency_key: str,
        provider: str | None = None,
    ) -> Payment:
        """Make a page of the provider's on which the customer pays for a plan, or an amount; once per key.

        The payment that is returned waits for the customer: send them to its `url`. A plan is subscribed to as by
        `subscribe`: it gives nothing until the page is paid. The page shows the description. The addresses, to which
        the customer comes back, are https, or http on this machine itself.

        Raises:
            ValidationError: a plan and an amount, or neither; a free plan; a wrong address.
            ProviderUnsupported: the provider has no such page.
            PlanUnknown, AlreadySubscribed, IdempotencyConflict, PaymentDeclined, NotSent: as for `subscribe`.
        """
        urls = return_urls(success_url=success_url, cancel_url=cancel_url)
        if plan is not None:
            if amount is not None or currency is not None:
                raise ValidationError("A plan has its own price: name a plan, or an amount and its currency.")
            title = None if description is None else free_text(description, "description")
            return self._engine.subscribing.checkout(
                customer, plan, urls=urls, description=title, key=idempotency_key, provider=provider, principal=OPERATOR
            )
        if amount is None or currency is None:
            raise ValidationError("Name a plan, or an amount and its currency.")
        ask = charge_ask(
            OPERATOR,
            customer,
            amount,
            currency,
            description=description,
            key=idempotency_key,
            payee="self",
            provider=provider,
            method=None,
            distinct_from=None,
        )
        return self._engine.payments.charge(replace(ask, operation="checkout", checkout=urls))

    def refund(
        self, payment_id: str, amount: Amount | None = None, *, idempotency_key: str, reason: str | None = None
    ) -> Refund:
        """Refund all that is left of a payment, or a part, once per key.

        Raises:
            RefundRefused: more than is left, not paid, or money that was sent.
        """
        return self._engine.payments.refund(
            refund_ask(OPERATOR, payment_id, amount, reason=reason, key=idempotency_key)
        )

    def continue_payment(self, payment_id: str) -> Payment:
        """Go on with a payment after its customer acted, or people approved it. Safe to repeat."""
        return self._engine.payments.continue_payment(payment_id, OPERATOR)

    def get_payment(self, payment_id: str) -> Payment:
        """A payment as it stands in the database."""
        return self._engine.payments.get_payment(payment_id)

    def list_payments(self, customer: str, *, no_agents: bool = False) -> tuple[Payment, ...]:
        """All payments of a customer, the newest first; with `no_agents` only those that no agent made."""
        return self._engine.payments.list_payments(customer, no_agents=no_agents).items

    def verify_payment(self, payment_id: str) -> Payment:
        """A payment, after its provider was asked where it is not final."""
        return self._engine.payments.verify_payment(payment_id)

    def subscribe(self, customer: str, plan: str, *, idempotency_key: str, provider: str | None = None) -> Subscription:
        """Subscribe a customer to a plan and charge its first period, once per key.

        Raises:
            PlanUnknown, AlreadySubscribed: nothing was charged.
            PaymentDeclined, NotSent: as for a charge.
        """
        return self._engine.subscribing.subscribe(
            customer, plan, key=idempotency_key, provider=provider, principal=OPERATOR
        )

    def cancel_subscription(
        self, customer: str, plan: str | None = None, *, at_period_end: bool = True
    ) -> Subscription:
        """End a customer's subscription, with its period or at once. Ending what has ended changes nothing."""
        return self._engine.subscribing.cancel(customer, plan, at_period_end=at_period_end, principal=OPERATOR)

    def renew_subscription(
        self, customer: str, plan: str | None = None, *, idempotency_key: str, provider: str | None = None
    ) -> Subscription:
        """Charge a subscription's next period now; each period is paid once."""
        return self._engine.renewing.renew(customer, plan, key=idempotency_key, provider=provider, principal=OPERATOR)

    def renew_due(self) -> RenewalReport:
        """Renew every subscription that is due, and end what has ended."""
        return self._engine.renewing.renew_due()

    def get_subscription(self, customer: str, plan: str | None = None) -> Subscription:
        """A customer's subscription, to a plan where one is named: the one that lives, else the newest."""
        return self._engine.subscriptions.get(customer, plan)

    def is_subscribed(self, customer: str, plan: str | None = None) -> bool:
        """Whether a subscription gives the customer access now, to that plan or to any."""
        return self._engine.subscriptions.is_subscribed(customer, plan)

    def reconcile(self, *, limit: int = 1000, seconds: float = 60.0) -> ReconcileReport:
        """Ask the providers about everything that is not final, and go on with what customers approved meanwhile. It
        never starts anything new.

        At a provider whose look-ups prove nothing, the same request may go out again under the same key, while it is
        still allowed: see `agentpay.payments.replaying`.
        """
        report = self._engine.payments.reconcile(limit=limit, seconds=seconds, every=True)
        epochs.note_reconciled(self._engine.store)
        return report

    def receive_webhook(self, provider: str, body: bytes, headers: Mapping[str, str]) -> WebhookReceipt:
        """Take one delivery of a provider's webhook, from any web framework: the body as the bytes that came, and the
        headers. When it returns, the event is committed: answer with 200. A repeat changes nothing.

        Raises:
            WebhookInvalid: it is not believed, and nothing of it was stored: answer with 400.
            ProviderUnknown, ProviderUnsupported: no such provider is enabled, or it sends none: 404.
            ProviderError, StorageError: it could not be taken now: 503, so that the provider repeats it.
        """
        return self._engine.webhooks.receive(provider, body, headers)

    def background(self) -> AbstractContextManager[None]:
        """For a server: while the block runs, the audit is sealed, open payments are looked up and approvals expire."""
        return background.background(self._engine)
