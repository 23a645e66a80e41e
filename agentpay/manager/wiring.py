"""Putting the engine together: every service gets its store, ids, providers and purposes here, and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from agentpay.access.service import AccessService
from agentpay.billing.credits import Credits
from agentpay.billing.purposes import purposes
from agentpay.billing.renewing import Renewing
from agentpay.billing.subscribing import Subscribing
from agentpay.billing.usage_bills import UsageBills
from agentpay.customers import setups
from agentpay.customers.setups import Setups
from agentpay.errors import ConfigurationError
from agentpay.ids import Ids, RandomIds
from agentpay.manager import epochs
from agentpay.manager.telling import Telling
from agentpay.payments import queries as payment_queries
from agentpay.payments.attempts import Attempts
from agentpay.payments.opening import Opening
from agentpay.payments.outside import Outside
from agentpay.payments.recovery import Recovery
from agentpay.payments.refunding import Refunding
from agentpay.payments.replaying import Replaying
from agentpay.payments.resolving import Resolving
from agentpay.payments.sending import Sending
from agentpay.payments.service import Payments
from agentpay.payments.settling import Settling
from agentpay.payments.speeding import Speeding
from agentpay.plans.service import PlanService
from agentpay.providers.registry import Providers
from agentpay.spending.gate import Gate
from agentpay.spending.throttle import Throttle
from agentpay.storage.schema import install
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx
from agentpay.subscriptions.service import SubscriptionManager
from agentpay.usage.service import UsageTracker
from agentpay.webhooks.applying import Applying
from agentpay.webhooks.service import Webhooks


@dataclass(frozen=True)
class Engine:
    """The services of one database."""

    store: Store
    ids: Ids
    providers: Providers
    gate: Gate
    throttle: Throttle
    payments: Payments
    plans: PlanService
    subscriptions: SubscriptionManager
    usage: UsageTracker
    subscribing: Subscribing
    renewing: Renewing
    usage_bills: UsageBills
    credits: Credits
    access: AccessService
    setups: Setups
    telling: Telling
    webhooks: Webhooks


def wire(
    store: Store,
    providers: Providers,
    *,
    ids: Ids | None = None,
    throttle: Throttle | None = None,
    default_plan: str | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Engine:
    """Put the services together on a prepared store. `monotonic` is a clock that never jumps, in seconds.

    Raises:
        ModeMismatch: the database belongs to the other mode, or to another account of a provider.
        ConfigurationError: real money on a temporary database.
    """
    if providers.mode == "live" and store.url == "memory://":
        raise ConfigurationError("Real money needs a database that is kept: memory:// is for tests.")
    ids = ids or RandomIds()
    throttle = throttle or Throttle()
    installation = install(store, mode=providers.mode)
    if installation.is_copy:
        store.write(epochs.begin_of_copy)
    if not store.read(providers.stamped):
        store.write(lambda tx: providers.stamp(tx, tx.now()))
    gate, usage = Gate(ids), UsageTracker(store, ids=ids, default_plan=default_plan)
    meanings = purposes()
    telling = Telling(store)
    attempts = Attempts(ids, installation.id, installation.secret, monotonic)
    settling = Settling(ids, meanings)
    opening = Opening(ids, gate, throttle, attempts, providers, meanings)
    refunding = Refunding(ids, gate, throttle, attempts, providers)
    # Webhooks are told of what is sent, and have payments continued: the one circle among the services.
    sending = Sending(store, attempts, settling, lambda attempt_id: webhooks.attempt_settled(attempt_id))
    replaying = Replaying(store, opening, refunding, sending, settling, monotonic)
    recovery = Recovery(store, providers, settling, replaying, monotonic)
    applying = Applying(ids, settling, Outside(ids, settling), owner_of_page)
    webhooks = Webhooks(store, ids, providers, recovery, applying, lambda payment_id: payments.go_on(payment_id))
    payments = Payments(
        store=store,
        providers=providers,
        opening=opening,
        refunding=refunding,
        sending=sending,
        settling=settling,
        recovery=recovery,
        speeding=Speeding(store, providers, settling),
        resolving=Resolving(store, attempts, settling, recovery),
        waits=telling.waits,
    )
    plans, subscriptions = PlanService(store), SubscriptionManager(store)
    return Engine(
        store=store,
        ids=ids,
        providers=providers,
        gate=gate,
        throttle=throttle,
        payments=payments,
        plans=plans,
        subscriptions=subscriptions,
        usage=usage,
        subscribing=Subscribing(store, ids, gate, throttle, payments),
        renewing=Renewing(store, payments),
        usage_bills=UsageBills(store, ids, payments),
        credits=Credits(store, ids),
        access=AccessService(store, default_plan=default_plan),
        setups=Setups(store, ids, providers),
        telling=telling,
        webhooks=webhooks,
    )


def owner_of_page(tx: Tx, page: str) -> str | None:
    """Our id of the customer who was given a page: one to save a method on, or the checkout of a plan, which keeps the
    method too. None where it is no page of ours."""
    if page.startswith("pay_"):
        return payment_queries.customer_of(tx, page)
    return setups.owner(tx, page)
