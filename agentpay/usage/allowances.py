"""What a plan gives a customer of one feature, now. Pure.

An offer is a plan that serves the customer; its allowances of a feature are pools of units, each with a limit or none,
a moment at which it resets, and a price. A pool belongs to the plan, not to the subscription: subscribing again, or
subscribing to a free tier, finds the pool as it was left.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from agentpay.plans.models import SHARED, Feature, PaymentPlan, PaymentType, price_nanos
from agentpay.subscriptions import periods

Kind = Literal["included", "free", "credits", "metered"]
Source = Literal["subscription", "default", "freemium"]

SHARED_FREE: Final = SHARED + "free"
"""The pool of `free_requests`, beside that of `requests_per_period`."""

SHARED_PAID: Final = SHARED + "paid"
"""The pool of what is billed beyond an included part; only counted."""

LIFETIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Where the window of a pool begins that never resets."""


@dataclass(frozen=True, order=True)
class Pool:
    """A pool of a customer in one window; the order is that in which counters are locked."""

    plan_id: str
    name: str
    window_start: datetime


@dataclass(frozen=True)
class Allowance:
    """Units that a customer may use: included or free, from credits, or metered and billed afterwards."""

    pool: Pool
    kind: Kind
    limit: int | None
    resets_at: datetime | None
    unit_nanos: int
    currency: str
    plan_version: int | None

    def covers(self, moment: datetime) -> bool:
        """Whether its window still runs."""
        return self.resets_at is None or moment < self.resets_at


@dataclass(frozen=True)
class Offer:
    """A plan that serves the customer. `anchor` is where its windows are counted from.

    `subscribed` is false for a freemium plan that serves a customer who never subscribed to it: nothing is billed then.
    """

    plan: PaymentPlan
    source: Source
    anchor: datetime
    subscribed: bool

    def allowances(self, feature: str, now: datetime) -> list[Allowance]:
        """What the plan gives of a feature; nothing where it does not name it."""
        named = self.plan.feature(feature)
        if named is None:
            return []
        window = periods.at(self.anchor, self.plan.billing_period, now)
        start = LIFETIME if window.end is None else window.start
        return [
            Allowance(
                pool=Pool(self.plan.id, part.pool, start),
                kind=part.kind,
                limit=part.limit,
                resets_at=window.end,
                unit_nanos=part.unit_nanos,
                currency=self.plan.currency,
                plan_version=self.plan.version,
            )
            for part in _parts(self, named)
        ]


@dataclass(frozen=True)
class _Part:
    pool: str
    kind: Kind
    limit: int | None
    unit_nanos: int = 0


def _parts(offer: Offer, feature: Feature) -> list[_Part]:
    included = _included(offer, feature)
    paid = _paid(offer, feature)
    if included or paid:
        return [*included, *paid]
    # Nothing is free and nothing can be billed: a limit of 0 says so, where no limit at all would mean everything.
    return (
        [_Part(SHARED, _kind(offer), 0)]
        if offer.plan.request_nanos is not None
        else [_Part(feature.name, _kind(offer), None)]
    )


def _included(offer: Offer, feature: Feature) -> list[_Part]:
    """What costs nothing more."""
    plan = offer.plan
    if feature.limit is not None:
        sold = feature.price is not None or plan.payment_type is PaymentType.PAY_PER_USE
        return [] if sold else [_Part(feature.name, _kind(offer), feature.limit)]
    parts = []
    if (
        plan.requests_per_period is not None
        and plan.payment_type is not PaymentType.PAY_PER_USE
        and feature.price is None
    ):
        parts.append(_Part(SHARED, _kind(offer), plan.requests_per_period))
    if plan.free_requests:
        alone = plan.payment_type is PaymentType.FREEMIUM
        parts.append(_Part(SHARED if alone else SHARED_FREE, "free", plan.free_requests))
    return parts


def _paid(offer: Offer, feature: Feature) -> list[_Part]:
    """What is paid for: in advance from credits, or afterwards by the bill."""
    plan = offer.plan
    in_advance = price_nanos(feature, plan.currency)
    if in_advance is not None:
        return [_Part(feature.name, "credits", feature.limit, in_advance)]
    afterwards = plan.request_nanos
    if afterwards is None or not offer.subscribed:
        return []
    if plan.payment_type is PaymentType.PAY_PER_USE:
        if feature.limit is not None:
            return [_Part(feature.name, "metered", feature.limit, afterwards)]
        return [_Part(SHARED, "metered", plan.requests_per_period, afterwards)]
    if plan.payment_type is PaymentType.SUBSCRIPTION and feature.limit is not None:
        return []  # a subscription's own limit on a feature is where it ends
    return [_Part(SHARED_PAID, "metered", None, afterwards)]


def _kind(offer: Offer) -> Kind:
    return "free" if offer.plan.payment_type is PaymentType.FREEMIUM else "included"
