"""Which plans serve a customer now: read inside a transaction, the same way for checking and for recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agentpay.customers.models import Customer
from agentpay.plans import queries as plans
from agentpay.plans.models import PaymentPlan, PaymentType
from agentpay.storage.transaction import Tx
from agentpay.subscriptions import queries as subscriptions
from agentpay.subscriptions.entitlement import entitled, shown_status
from agentpay.subscriptions.models import Held
from agentpay.usage.allowances import Offer

Absence = Literal["unknown_feature", "no_plan", "expired", "past_due"]
"""Why nothing serves: no plan has the feature; only plans that the customer lacks; he had one that ended, or is due."""


@dataclass(frozen=True)
class Serving:
    """The offers to a customer, and every live subscription, entitled or not."""

    offers: tuple[Offer, ...]
    held: tuple[Held, ...]


def serving(
    tx: Tx, customer: Customer | None, feature: str | None, *, default_plan: str | None, now: datetime
) -> Serving:
    """The plans that serve a customer: those with the feature, or all where none is named.

    A customer who is not known yet is served as one who was made this moment.
    """
    current = plans.all_current(tx) if feature is None else plans.current_naming(tx, feature)
    held = () if customer is None else tuple(subscriptions.held_by(tx, customer.id))
    since = now if customer is None else customer.created_at
    return Serving(tuple(_offers(current, held, default_plan, since, now)), held)


def _offers(
    current: Sequence[PaymentPlan], held: Sequence[Held], default_plan: str | None, since: datetime, now: datetime
) -> list[Offer]:
    """One offer a plan: a subscription's own version before the current one."""
    made = {
        one.plan.id: Offer(one.plan, "subscription", _anchor(one, default_plan, since), subscribed=True)
        for one in held
        if entitled(one.terms, now)
    }
    unsubscribed = not made
    for plan in current:
        if plan.id in made:
            continue
        if plan.payment_type is PaymentType.FREEMIUM:
            made[plan.id] = Offer(plan, "freemium", since, subscribed=False)
        elif unsubscribed and plan.id == default_plan:
            made[plan.id] = Offer(plan, "default", since, subscribed=True)
    return list(made.values())


def _anchor(held: Held, default_plan: str | None, since: datetime) -> datetime:
    """Where windows are counted from: what serves a customer before he subscribes keeps its windows when he does."""
    served_before = held.plan.payment_type is PaymentType.FREEMIUM or held.plan.id == default_plan
    return since if served_before else held.quota_anchor


def absence(tx: Tx, customer: Customer | None, feature: str, held: Sequence[Held], now: datetime) -> Absence:
    """Why no offer has the feature."""
    named = [one for one in held if one.plan.feature(feature) is not None and not entitled(one.terms, now)]
    if any(shown_status(one.terms, one.lapses_at, now) == "past_due" for one in named):
        return "past_due"
    if named or (customer is not None and subscriptions.statuses_with(tx, customer.id, feature)):
        return "expired"
    return "no_plan" if plans.ever_named(tx, feature) else "unknown_feature"
