"""Subscribing: a subscription that begins with its first payment, and gives nothing before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from agentpay.billing.answering import with_payment
from agentpay.billing.purposes import SUBSCRIPTION
from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.errors import AgentPayError, Conflict, IdempotencyConflict, NotFound, ValidationError
from agentpay.ids import Ids
from agentpay.payments.asks import ChargeAsk, Refused
from agentpay.payments.models import Payment
from agentpay.payments.refusing import Refusals, denial
from agentpay.payments.service import Payments
from agentpay.plans.models import PaymentPlan
from agentpay.plans.service import plan_of
from agentpay.principal import Principal
from agentpay.providers.base import ReturnUrls
from agentpay.spending.gate import Gate
from agentpay.spending.throttle import Throttle
from agentpay.storage import keys
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx
from agentpay.subscriptions import lifecycle
from agentpay.subscriptions import service as subscriptions
from agentpay.subscriptions.models import Subscription
from agentpay_policies.decisions import Request as PolicyRequest
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF
from agentpay_policies.terms import Period


@dataclass(frozen=True)
class Subscribing:
    """Begins subscriptions, and ends them."""

    store: Store
    ids: Ids
    gate: Gate
    throttle: Throttle
    payments: Payments

    def subscribe(
        self, customer: str, plan_id: str, *, key: str, provider: str | None, principal: Principal
    ) -> Subscription:
        """Subscribe a customer and charge the first period; or answer a repeat of it. A plan of price 0 is not charged.

        Raises:
            PlanUnknown: there is no such plan.
            AlreadySubscribed: the customer has it, or a payment for one of its group is under way. Nothing is charged.
            PaymentDeclined, NotSent, PolicyDenied, …: as for a charge.
        """
        keys.checked_key(key)
        body = {"customer": customer, "plan": plan_id, "provider": provider}
        known = self._repeat(principal, key, body)
        if known is not None:
            return known
        plan = self.store.read(lambda tx: plan_of(tx, plan_id))
        price = Money(plan.price, plan.currency)
        if price.minor == 0:
            return self._free(customer, plan, key, principal, body)
        payment = self.payments.charge(self._ask(customer, plan, price, key, provider, principal, body))
        return with_payment(self.store, self.payments, payment)

    def checkout(
        self,
        customer: str,
        plan_id: str,
        *,
        urls: ReturnUrls,
        description: str | None,
        key: str,
        provider: str | None,
        principal: Principal,
    ) -> Payment:
        """A page on which the customer pays the first period; or answer a repeat of it. As `subscribe`, but for that.

        Raises:
            ValidationError: the plan is free.
            ProviderUnsupported: the provider has no such page.
        """
        body = {
            "customer": customer, "plan": plan_id, "provider": provider, "description": description,
            "success_url": urls.success, "cancel_url": urls.cancel,
        }  # fmt: skip
        known = self.payments.repeat(principal, "checkout", key, body)
        if known is not None:
            return known
        plan = self.store.read(lambda tx: plan_of(tx, plan_id))
        price = Money(plan.price, plan.currency)
        if price.minor == 0:
            raise ValidationError(f"The plan {plan.id} is free: nothing is to be paid.", next_step="Use subscribe.")
        ask = self._ask(customer, plan, price, key, provider, principal, body)
        return self.payments.charge(
            replace(ask, operation="checkout", checkout=urls, description=description or ask.description)
        )

    def cancel(
        self,
        customer: str,
        plan_id: str | None,
        *,
        at_period_end: bool,
        principal: Principal,
        key: str | None = None,
    ) -> Subscription:
        """End a subscription, now or with its period. Ending what has ended changes nothing.

        With a key, a repeat answers with the subscription that the first call ended, and ends no other.

        Raises:
            NotFound: the customer has none.
            Conflict: the customer has several and none is named, or its first payment is under way.
            IdempotencyConflict: the key names another cancellation.
            PolicyDenied: an agent may not.
        """
        body = {"customer": customer, "plan": plan_id, "at_period_end": at_period_end}
        hashed = keys.body_hash("cancel_subscription", body)

        def write(tx: Tx) -> Subscription | Refused:
            try:
                with tx.conn.begin_nested():
                    return self._canceled(tx, customer, plan_id, at_period_end, principal, key, hashed)
            except AgentPayError as error:
                return Refusals(self.throttle).record(tx, principal, "cancel_subscription", error)

        return _done(self.store.write(write))

    def _canceled(
        self,
        tx: Tx,
        customer: str,
        plan_id: str | None,
        at_period_end: bool,
        principal: Principal,
        key: str | None,
        hashed: str,
    ) -> Subscription:
        now = tx.now()
        known = None if key is None else keys.find(tx, principal, "cancel_subscription", key, hashed)
        if known is not None:
            return replace(subscriptions.by_id(tx, known, now), replayed=True)
        if principal.kind == "agent":
            if key is not None:
                self.throttle.admit(tx, principal.id, now)
            request = PolicyRequest(tool="cancel_subscription", agent=principal.id, customer=customer)
            denied = self.gate.permit(tx, request)
            if denied is not None:
                raise denial(denied)
        found = customers.known(tx, customer)
        if found is None:
            raise NotFound("The customer has no subscription.")
        row, changed = lifecycle.cancel(tx, found, plan_id, at_period_end=at_period_end, principal=principal, now=now)
        if key is not None and not keys.claim(tx, principal, "cancel_subscription", key, hashed, row.id, now):
            raise Conflict("The same cancellation is under way.", next_step="Repeat with the same key.")
        return replace(subscriptions.by_id(tx, row.id, now), replayed=not changed)

    def _repeat(self, principal: Principal, key: str, body: Mapping[str, str | None]) -> Subscription | None:
        target = self.store.read(lambda tx: keys.target_of(tx, principal, "subscribe", key))
        if target is None:
            return None
        if target.startswith("pay_"):
            payment = self.payments.repeat(principal, "subscribe", key, body)
            return None if payment is None else with_payment(self.store, self.payments, payment)
        hashed = keys.body_hash("subscribe", body)
        self.store.read(lambda tx: keys.find(tx, principal, "subscribe", key, hashed))
        return replace(self.store.read(lambda tx: subscriptions.by_id(tx, target, tx.now())), replayed=True)

    def _ask(
        self,
        customer: str,
        plan: PaymentPlan,
        price: Money,
        key: str,
        provider: str | None,
        principal: Principal,
        body: Mapping[str, str | None],
    ) -> ChargeAsk:
        def begin(tx: Tx, found: Customer, _payment_id: str, now: datetime) -> str:
            try:
                return lifecycle.begin(tx, found, plan, principal=principal, ids=self.ids, now=now).id
            except AgentPayError:
                if principal.kind == "agent":
                    self._refuse_stranger(tx, self._request(customer, plan, price, principal.id, provider))
                raise

        return ChargeAsk(
            principal=principal,
            operation="subscribe",
            customer=customer,
            money=price,
            payee=SELF,
            provider=provider,
            method=None,
            description=f"Subscription to {plan.name}",
            key=key,
            purpose=SUBSCRIPTION,
            plan=f"{plan.id}@{plan.version}",
            period=period_of(plan),
            term=plan.term,
            begin=begin,
            identity=body,
        )

    def _refuse_stranger(self, tx: Tx, request: PolicyRequest) -> None:
        """Refuse an agent a customer of no concern to it before it is told what that customer has."""
        denied = self.gate.permit_customer(tx, request)
        if denied is not None:
            raise denial(denied)

    def _request(
        self, customer: str, plan: PaymentPlan, price: Money, agent: str, provider: str | None = None
    ) -> PolicyRequest:
        return PolicyRequest(
            tool="subscribe", agent=agent, operation="subscribe", customer=customer, plan=plan.id,
            provider=self.payments.providers.get(provider).name, money=price, period=period_of(plan), term=plan.term,
        )  # fmt: skip

    def _free(
        self, customer: str, plan: PaymentPlan, key: str, principal: Principal, body: Mapping[str, str | None]
    ) -> Subscription:
        hashed = keys.body_hash("subscribe", body)

        def write(tx: Tx) -> Subscription | Refused:
            try:
                with tx.conn.begin_nested():
                    return self._begin_free(tx, customer, plan, key, principal, hashed)
            except AgentPayError as error:
                return Refusals(self.throttle).record(tx, principal, "subscribe", error)

        return _done(self.store.write(write))

    def _begin_free(
        self, tx: Tx, customer: str, plan: PaymentPlan, key: str, principal: Principal, hashed: str
    ) -> Subscription:
        now, subscription_id = tx.now(), self.ids.new("sub")
        if not keys.claim(tx, principal, "subscribe", key, hashed, subscription_id, now):
            known = keys.find(tx, principal, "subscribe", key, hashed)
            if known is None:
                raise IdempotencyConflict(f"The key {key[:60]!r} is in use.")
            return replace(subscriptions.by_id(tx, known, now), replayed=True)
        if principal.kind == "agent":
            self._permit_free(tx, customer, plan, principal.id, now)
        found = customers.ensure(tx, customer, ids=self.ids, now=now)
        row = lifecycle.begin(
            tx, found, plan, principal=principal, ids=self.ids, now=now, subscription_id=subscription_id
        )
        lifecycle.activate(tx, row.id, None, now, principal=principal)
        return subscriptions.by_id(tx, row.id, now)

    def _permit_free(self, tx: Tx, customer: str, plan: PaymentPlan, agent: str, now: datetime) -> None:
        self.throttle.admit(tx, agent, now)
        denied = self.gate.permit(tx, self._request(customer, plan, Money(0, plan.currency), agent))
        if denied is not None:
            raise denial(denied)


def period_of(plan: PaymentPlan) -> Period | None:
    """The billing period of a plan as policies call it; None where it is paid once."""
    return None if plan.billing_period is None else plan.billing_period.value


def _done(stood: Subscription | Refused) -> Subscription:
    if isinstance(stood, Refused):
        raise stood.error
    return stood
