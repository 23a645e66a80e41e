"""A store with plans and customers to use them, for the tests of plans, subscriptions, usage and access."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agentpay.access.models import Access
from agentpay.access.service import AccessService
from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.ids import Ids, RandomIds
from agentpay.ledger.postings import credits_granted
from agentpay.ledger.service import credit_available, post
from agentpay.plans.models import PaymentPlan
from agentpay.plans.service import PlanService, plan_of
from agentpay.principal import OPERATOR
from agentpay.storage import Store, Tx
from agentpay.subscriptions import lifecycle, renewals
from agentpay.subscriptions.service import SubscriptionManager
from agentpay.usage import queries
from agentpay.usage.models import UsageRecord
from agentpay.usage.service import UsageTracker
from agentpay_policies.money import Money, nanos_per_minor


@dataclass
class Shop:
    """The services of one store, and short ways to do what tests do often."""

    store: Store
    ids: Ids = field(default_factory=RandomIds)
    default_plan: str | None = None

    @property
    def usage(self) -> UsageTracker:
        return UsageTracker(self.store, ids=self.ids, default_plan=self.default_plan)

    @property
    def access(self) -> AccessService:
        return AccessService(self.store, default_plan=self.default_plan)

    @property
    def subscriptions(self) -> SubscriptionManager:
        return SubscriptionManager(self.store)

    @property
    def plans(self) -> PlanService:
        return PlanService(self.store)

    def plan(self, id: str, kind: str = "subscription", **fields: Any) -> PaymentPlan:
        if kind == "subscription":
            fields = {"price": "10.00", "billing_period": "monthly", **fields}
        fields = {"features": ["api"], **fields}
        return self.plans.create(PaymentPlan(id=id, name=id.title(), payment_type=kind, **fields))

    def customer(self, name: str = "ana") -> Customer:
        return self.store.write(lambda tx: customers.ensure(tx, name, ids=self.ids, now=tx.now()))

    def begin(self, plan: str, name: str = "ana") -> str:
        """A subscription that waits for its payment; its id."""

        def write(tx: Tx) -> str:
            now = tx.now()
            who = customers.ensure(tx, name, ids=self.ids, now=now)
            return lifecycle.begin(tx, who, plan_of(tx, plan), principal=OPERATOR, ids=self.ids, now=now).id

        return self.store.write(write)

    def activate(self, subscription_id: str, payment_id: str | None) -> bool:
        return self.store.write(lambda tx: lifecycle.activate(tx, subscription_id, payment_id, tx.now()))

    def fail(self, subscription_id: str) -> bool:
        return self.store.write(lambda tx: lifecycle.fail(tx, subscription_id, tx.now()))

    def subscribe(self, plan: str, name: str = "ana") -> str:
        """A subscription that is paid; its id."""
        made = self.begin(plan, name)
        assert self.activate(made, self.ids.new("pay"))
        return made

    def begin_renewal(self, subscription_id: str) -> int:
        return self.store.write(lambda tx: renewals.begin_renewal(tx, subscription_id, tx.now()))

    def renew(self, subscription_id: str, number: int, payment_id: str | None = "pay_r") -> bool:
        return self.store.write(lambda tx: renewals.renew(tx, subscription_id, number, payment_id, tx.now()))

    def renewal_failed(self, subscription_id: str, number: int) -> bool:
        return self.store.write(lambda tx: renewals.renewal_failed(tx, subscription_id, number, tx.now()))

    def cancel(self, plan: str | None = None, name: str = "ana", *, at_period_end: bool = True) -> bool:
        def write(tx: Tx) -> bool:
            who = customers.ensure(tx, name, ids=self.ids, now=tx.now())
            return lifecycle.cancel(tx, who, plan, at_period_end=at_period_end, principal=OPERATOR, now=tx.now())[1]

        return self.store.write(write)

    def expire(self) -> int:
        return self.store.write(lambda tx: lifecycle.expire_ended(tx, tx.now()))

    def use(self, feature: str = "api", quantity: int = 1, name: str = "ana", **more: Any) -> UsageRecord:
        """Record under a key that nobody used."""
        return self.usage.record(name, feature, quantity, idempotency_key=self.ids.new("key"), **more)

    def check(self, feature: str = "api", quantity: int = 1, name: str = "ana") -> Access:
        return self.access.check(name, feature, quantity)

    def grant(self, amount: str, currency: str = "USD", name: str = "ana") -> None:
        who, money = self.customer(name), Money(amount, currency)

        def write(tx: Tx) -> None:
            entries = credits_granted(who.id, money.minor, currency)
            post(tx, event="credits.granted", object_id=self.ids.new("grt"), entries=entries, at=tx.now(), ids=self.ids)

        self.store.write(write)

    def credits(self, currency: str = "USD", name: str = "ana") -> tuple[int, int]:
        """What the ledger has, in minor units, and what is drawn of it and not posted, in 10⁻⁹."""
        who = self.customer(name)

        def read(tx: Tx) -> tuple[int, int]:
            carry = queries.carry(tx, who.id, currency)
            return credit_available(tx, who.id, currency), 0 if carry is None else carry.credit_nanos

        return self.store.read(read)

    def unbilled(self, currency: str = "USD", name: str = "ana") -> int:
        """What is not billed yet, in 10⁻⁹."""
        found = [price.nanos for price in self.usage.get(name).unbilled if price.currency == currency]
        return found[0] if found else 0


def minor_nanos(minor: int, currency: str = "USD") -> int:
    """So many minor units in 10⁻⁹."""
    return minor * nanos_per_minor(currency)


def utc(year: int, month: int, day: int, hour: int = 10) -> datetime:
    """A moment; at ten o'clock, as the clock of the tests starts."""
    return datetime(year, month, day, hour, tzinfo=UTC)
