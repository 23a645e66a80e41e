"""What a customer used and has left, read on one snapshot."""

from __future__ import annotations

from datetime import datetime

from agentpay.customers.models import Customer
from agentpay.plans.models import feature_name
from agentpay.storage.transaction import Tx
from agentpay.usage import bills, burn, queries, standing
from agentpay.usage.models import FeatureUsage, Usage
from agentpay.usage.offers import Serving, serving
from agentpay_policies.money import Price


def usage(
    tx: Tx,
    customer: Customer | None,
    feature: str | None,
    *,
    default_plan: str | None,
    now: datetime,
    since: datetime | None,
    until: datetime | None,
) -> Usage:
    """The usage of a customer; of one who is not known, what such a one would have.

    Raises:
        ValidationError: the feature's name is none.
    """
    if feature is not None:
        feature_name(feature)
    serves = serving(tx, customer, feature, default_plan=default_plan, now=now)
    recorded = {} if customer is None else queries.recorded(tx, customer.id, feature, since, until)
    offered = {one.name for offer in serves.offers for one in offer.plan.features}
    names = sorted(offered | recorded.keys()) if feature is None else [feature]
    return Usage(
        customer="" if customer is None else customer.external_id,
        features=tuple(_feature(tx, customer, name, serves, recorded.get(name, 0), now) for name in names),
        unbilled=() if customer is None else _unbilled(tx, customer.id),
    )


def _feature(
    tx: Tx, customer: Customer | None, name: str, serves: Serving, recorded: int, now: datetime
) -> FeatureUsage:
    found = standing.allowances(serves.offers, name, now)
    levels, _ = standing.read(tx, None if customer is None else customer.id, found, now)
    stands = burn.summary(levels)
    return FeatureUsage(
        feature=name,
        plan=levels[0].allowance.pool.plan_id if levels else None,
        recorded=recorded,
        used=stands.used if levels else recorded,
        held=stands.held,
        limit=stands.limit if levels else None,
        remaining=stands.remaining if levels else None,
        unlimited=stands.unlimited,
        resets_at=stands.resets_at,
    )


def _unbilled(tx: Tx, customer_id: str) -> tuple[Price, ...]:
    """What is not billed yet; never below nothing, whatever is given back at this moment."""
    return tuple(Price.summed(nanos, code) for code, nanos in bills.unbilled(tx, customer_id) if nanos > 0)
