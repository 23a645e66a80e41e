"""Renewing: each period is charged once, whoever asks and however often."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile
from typing import Final

from agentpay.billing import queries
from agentpay.billing.answering import with_payment
from agentpay.billing.purposes import RENEWAL, renewal_id
from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.errors import (
    AgentPayError,
    Conflict,
    NotFound,
    PaymentFailed,
    ProviderError,
    ProviderUnknown,
    ProviderUnsupported,
)
from agentpay.payments.asks import ChargeAsk
from agentpay.payments.service import Payments
from agentpay.plans.service import plan_of
from agentpay.principal import SYSTEM, Principal
from agentpay.storage import keys
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx
from agentpay.subscriptions import lifecycle, renewals
from agentpay.subscriptions import queries as subscription_queries
from agentpay.subscriptions import service as subscriptions
from agentpay.subscriptions.models import Subscription
from agentpay.subscriptions.states import LIVE
from agentpay.subscriptions.tables import SubscriptionRow
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF

logger = logging.getLogger(__name__)

_MOST: Final = 500


@dataclass(frozen=True)
class RenewalReport:
    """What a pass of renewals did. `stranded` are due at a provider that is not enabled: they wait until it is."""

    renewed: int
    failed: int
    waiting: int
    ended: int
    stranded: int = 0


@dataclass(frozen=True)
class Renewing:
    """Renews subscriptions."""

    store: Store
    payments: Payments

    def renew(
        self, customer: str, plan_id: str | None, *, key: str, provider: str | None, principal: Principal
    ) -> Subscription:
        """Charge a subscription's next period now, or answer a repeat of it; the answer has its payment with it.

        It is asked of the provider with which the last one was paid, unless another is named.

        Raises:
            NotFound: the customer has no subscription.
            ProviderUnknown: its provider is not enabled, and no other is named.
            Conflict: it has ended, its next period is paid already, or a payment for it is under way; or the
                customer has several, and none is named.
            PaymentDeclined, NotSent: as for a charge; a decline leaves the subscription past due.
        """
        keys.checked_key(key)
        body = {"customer": customer, "plan": plan_id, "provider": provider}
        known = self.payments.repeat(principal, "renew", key, body)
        if known is None:
            found = self.store.read(lambda tx: self._of(tx, customer, plan_id))
            if found.free:
                return self._renew_free(found.id)
            with_ = provider or self.store.read(lambda tx: self._provider_of(tx, found))
            known = self.payments.charge(self._ask(found, customer, key, with_, principal, body))
        return with_payment(self.store, self.payments, known)

    def renew_due(self, *, limit: int = _MOST, going_on: Callable[[], bool] = lambda: True) -> RenewalReport:
        """Renew everything that is due, each period once, and end what has ended. Safe to run twice at once.

        At most `limit` of each kind, and none any more once `going_on` says no: the rest is due still. What was paid
        with a provider that is not enabled stays due, and keeps no other from its turn: it is asked of nobody else.
        """
        counts, names = Counter[str](), self.payments.providers.names
        unsent = self.store.read(lambda tx: self.payments.unsent(tx, "renew"))
        for row in takewhile(lambda _: going_on(), islice(filter(self._to_try, unsent), limit)):
            counts[self._result(lambda row=row: self.payments.continue_payment(row.id, SYSTEM).status)] += 1
        due = self.store.read(lambda tx: renewals.renewal_due(tx, tx.now(), limit, queries.paid_at(names)))
        for found in takewhile(lambda _: going_on(), due):
            counts[self._result(lambda found=found: self._renew_one(found))] += 1
        ended = self.store.write(lambda tx: lifecycle.expire_ended(tx, tx.now()))
        return RenewalReport(counts["renewed"], counts["failed"], counts["waiting"], ended, self._stranded())

    def _to_try(self, unsent: Row) -> bool:
        """Whether to try a renewal again that was not sent. One that nobody wants any more is given up."""
        if not self._wanted(unsent):
            self.payments.abandon(unsent.id)
            return False
        return unsent.provider in self.payments.providers

    def _stranded(self) -> int:
        """How many renewals are due at providers that are not enabled; said in the log as well."""
        names = self.payments.providers.names
        found = self.store.read(lambda tx: queries.due_elsewhere(tx, tx.now(), names))
        unsent = self.store.read(lambda tx: self.payments.unsent(tx, "renew"))
        found.update(row.provider for row in unsent if row.provider not in names)
        for provider, number in sorted(found.items()):
            logger.error("%d renewals are due at %s, which is not enabled: they wait until it is", number, provider)
        return found.total()

    def _provider_of(self, tx: Tx, found: SubscriptionRow) -> str | None:
        """The provider to ask for the next period.

        Raises:
            ProviderUnknown: it is not enabled.
        """
        name = queries.paid_with(tx, found.id)
        if name is not None and name not in self.payments.providers:
            raise ProviderUnknown(
                f"The subscription is paid with {name}, which is not enabled. Nothing was charged.",
                next_step=f"Enable {name} in AGENTPAY_PROVIDERS; or name another provider that has the customer's "
                "payment method.",
            )
        return name

    def _wanted(self, payment: Row) -> bool:
        subscription_id, _, number = payment.purpose_id.partition("/")
        return self.store.read(lambda tx: renewals.still_wanted(tx, subscription_id, int(number), tx.now(), lock=False))

    def _renew_one(self, found: SubscriptionRow) -> str:
        if found.free:
            self._renew_free(found.id)
            return "succeeded"
        customer, provider = self.store.read(
            lambda tx: (customers.by_id(tx, found.customer_id).external_id, self._provider_of(tx, found))
        )
        key = renewal_id(found.id, found.period_number + 1)
        body = {"subscription": found.id, "number": str(found.period_number + 1)}
        try:
            return self.payments.charge(self._ask(found, customer, key, provider, SYSTEM, body)).status
        except ProviderUnsupported:
            self.store.write(lambda tx: self._impossible(tx, found))
            raise

    def _impossible(self, tx: Tx, found: SubscriptionRow) -> None:
        """The provider cannot make this renewal: it is past due as after a decline, or each pass would try it first."""
        now = tx.now()
        number = renewals.begin_renewal(tx, found.id, now, wanted=found.period_number + 1)
        renewals.renewal_failed(tx, found.id, number, now)

    def _result(self, attempt: object) -> str:
        """How one renewal went; one that fails does not keep the others from theirs."""
        assert callable(attempt)
        try:
            return "renewed" if attempt() == "succeeded" else "waiting"
        except (PaymentFailed, ProviderError) as error:
            logger.info("a renewal ended with %s", error.code)
            return "failed"
        except AgentPayError as error:
            logger.info("a renewal was left alone: %s", error.code)
            return "waiting"

    def _renew_free(self, subscription_id: str) -> Subscription:
        def write(tx: Tx) -> Subscription:
            now = tx.now()
            lifecycle.continue_free(tx, subscription_queries.locked(tx, subscription_id), now)
            return subscriptions.by_id(tx, subscription_id, now)

        return self.store.write(write)

    def _ask(
        self,
        found: SubscriptionRow,
        customer: str,
        key: str,
        provider: str | None,
        principal: Principal,
        body: dict[str, str | None] | dict[str, str],
    ) -> ChargeAsk:
        plan = self.store.read(lambda tx: plan_of(tx, found.plan_id, found.plan_version))

        def begin(tx: Tx, _customer: Customer, _payment_id: str, now: datetime) -> str:
            next_one = found.period_number + 1
            return renewal_id(found.id, renewals.begin_renewal(tx, found.id, now, wanted=next_one, principal=principal))

        return ChargeAsk(
            principal=principal,
            operation="renew",
            customer=customer,
            money=Money(plan.price, plan.currency),
            payee=SELF,
            provider=provider,
            method=None,
            description=f"Renewal of {plan.name}",
            key=key,
            purpose=RENEWAL,
            plan=f"{plan.id}@{plan.version}",
            begin=begin,
            identity=body,
        )

    def _of(self, tx: Tx, customer: str, plan_id: str | None) -> SubscriptionRow:
        found = customers.known(tx, customer)
        if found is None:
            raise NotFound("The customer has no subscription.")
        live = [one for one in subscriptions.list_for(tx, found, tx.now()) if one.status in LIVE]
        if plan_id is None and len(live) > 1:
            plans = ", ".join(sorted(one.plan for one in live))
            raise Conflict(f"The customer has several subscriptions: {plans}.", next_step="Name the plan to renew.")
        return subscription_queries.by_id(tx, subscriptions.get(tx, found, plan_id, tx.now()).id)
