"""Renewing: each period is charged once, whoever asks and however often."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Final

from agentpay.billing.purposes import RENEWAL, renewal_id
from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.errors import AgentPayError, NotFound, PaymentFailed, ProviderError
from agentpay.payments.asks import ChargeAsk
from agentpay.payments.service import Payments
from agentpay.plans.service import plan_of
from agentpay.principal import SYSTEM, Principal
from agentpay.storage import keys
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx
from agentpay.subscriptions import lifecycle, queries, renewals
from agentpay.subscriptions import service as subscriptions
from agentpay.subscriptions.models import Subscription
from agentpay.subscriptions.tables import SubscriptionRow
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF

logger = logging.getLogger(__name__)

_MOST: Final = 500


@dataclass(frozen=True)
class RenewalReport:
    """What a pass of renewals did."""

    renewed: int
    failed: int
    waiting: int
    ended: int


@dataclass(frozen=True)
class Renewing:
    """Renews subscriptions."""

    store: Store
    payments: Payments

    def renew(
        self, customer: str, plan_id: str | None, *, key: str, provider: str | None, principal: Principal
    ) -> Subscription:
        """Charge a subscription's next period now, or answer a repeat of it.

        Raises:
            NotFound: the customer has no subscription.
            Conflict: it has ended, its next period is paid already, or a payment for it is under way.
            PaymentDeclined, NotSent: as for a charge; a decline leaves the subscription past due.
        """
        keys.checked_key(key)
        body = {"customer": customer, "plan": plan_id, "provider": provider}
        known = self.payments.repeat(principal, "renew", key, body)
        if known is None:
            found = self.store.read(lambda tx: self._of(tx, customer, plan_id))
            if found.free:
                return self._renew_free(found.id)
            self.payments.charge(self._ask(found, customer, key, provider, principal, body))
        return self.store.read(lambda tx: subscriptions.get(tx, self._customer(tx, customer), plan_id, tx.now()))

    def renew_due(self, *, limit: int = _MOST, going_on: Callable[[], bool] = lambda: True) -> RenewalReport:
        """Renew everything that is due, each period once, and end what has ended. Safe to run twice at once.

        At most `limit` of each kind, and none any more once `going_on` says no: the rest is due still.
        """
        counts = {"renewed": 0, "failed": 0, "waiting": 0}
        unsent = self.store.read(lambda tx: self.payments.unsent(tx, "renew", limit))
        for row in takewhile(lambda _: going_on(), unsent):
            if not self._wanted(row):
                self.payments.abandon(row.id)
                continue
            counts[self._result(lambda row=row: self.payments.continue_payment(row.id, SYSTEM).status)] += 1
        due = self.store.read(lambda tx: renewals.renewal_due(tx, tx.now(), limit))
        for found in takewhile(lambda _: going_on(), due):
            counts[self._result(lambda found=found: self._renew_one(found))] += 1
        ended = self.store.write(lambda tx: lifecycle.expire_ended(tx, tx.now()))
        return RenewalReport(**counts, ended=ended)

    def _wanted(self, payment: Row) -> bool:
        subscription_id, _, number = payment.purpose_id.partition("/")
        return self.store.read(lambda tx: renewals.still_wanted(tx, subscription_id, int(number), tx.now(), lock=False))

    def _renew_one(self, found: SubscriptionRow) -> str:
        if found.free:
            self._renew_free(found.id)
            return "succeeded"
        customer = self.store.read(lambda tx: customers.by_id(tx, found.customer_id)).external_id
        key = renewal_id(found.id, found.period_number + 1)
        body = {"subscription": found.id, "number": str(found.period_number + 1)}
        return self.payments.charge(self._ask(found, customer, key, None, SYSTEM, body)).status

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
            lifecycle.continue_free(tx, queries.locked(tx, subscription_id), now)
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
            return renewal_id(found.id, renewals.begin_renewal(tx, found.id, now, principal=principal))

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
        shown = subscriptions.get(tx, self._customer(tx, customer), plan_id, tx.now())
        return queries.by_id(tx, shown.id)

    def _customer(self, tx: Tx, customer: str) -> Customer:
        found = customers.known(tx, customer)
        if found is None:
            raise NotFound("The customer has no subscription.")
        return found
