"""Taking units: which allowances a quantity comes from and what it costs, decided under lock. Nothing is written yet.

Recording and reserving share it. A refusal is a value: the caller may still want to commit what else it wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from agentpay.customers.models import Customer
from agentpay.errors import (
    CreditsExhausted,
    FeatureNotAvailable,
    PaymentRequired,
    SubscriptionExpired,
    UsageLimitExceeded,
)
from agentpay.plans.models import BillingPeriod, feature_name, units
from agentpay.storage.transaction import Tx
from agentpay.subscriptions import periods
from agentpay.usage import burn, purse, standing
from agentpay.usage.allowances import LIFETIME, Allowance, Pool
from agentpay.usage.burn import Level, Part, Split
from agentpay.usage.offers import Absence, absence, serving
from agentpay.usage.purse import Purse
from agentpay_policies.currencies import exponent
from agentpay_policies.money import Amount, Price
from agentpay_policies.text import identifier

DEFAULT_CURRENCY: Final = "USD"


@dataclass(frozen=True)
class Cap:
    """A limit of the caller's own, for life or by the calendar from the customer's creation on; no plan is asked."""

    limit: int | None
    per: BillingPeriod | None = None


@dataclass(frozen=True)
class Asked:
    """What is to be used, checked. `cost` replaces the computed price; without a currency it is in the plan's."""

    customer: str
    feature: str
    quantity: int
    cost: Decimal | None = None
    currency: str | None = None
    cap: Cap | None = None


@dataclass(frozen=True)
class Taking:
    """What the quantity is taken from, and what it costs; the counters, and the purse where there is one, are locked.

    `prepaid_nanos` of the cost has to come from credits; of the rest, what credits do not pay is for a bill.
    """

    now: datetime
    levels: tuple[Level, ...]
    parts: tuple[Part, ...]
    cost: Price | None
    prepaid_nanos: int
    purse: Purse | None

    @property
    def source(self) -> Allowance:
        """The allowance that the last unit is taken from: it names the plan of the whole."""
        return self.parts[-1].allowance

    @property
    def remaining(self) -> int | None:
        """What is left of the feature after this."""
        taken = {part.allowance.pool: part.quantity for part in self.parts}
        after = [replace(level, used=level.used + taken.get(level.allowance.pool, 0)) for level in self.levels]
        return burn.summary(after).remaining


def asked(
    customer: object, feature: object, quantity: object, cost: Amount | None = None, currency: str | None = None
) -> Asked:
    """What is to be used, checked.

    Raises:
        ValidationError: an id, a feature or a quantity that is none.
        MoneyError: a cost or a currency that is none, or a cost with more than 9 decimals.
    """
    if currency is not None:
        exponent(currency)
    price = None if cost is None else Price(cost, currency or DEFAULT_CURRENCY).amount
    name = identifier(customer, "customer")
    return Asked(name, feature_name(feature), units(quantity, "quantity", least=1), price, currency)


def take(tx: Tx, customer: Customer, wanted: Asked, *, default_plan: str | None) -> Taking | PaymentRequired:
    """Decide what the quantity is taken from, with every row that matters locked, or why it is refused."""
    while True:
        now = tx.now(customer.created_at)
        found = _allowances(tx, customer, wanted, default_plan, now)
        if isinstance(found, PaymentRequired):
            return found
        levels = standing.locked(tx, customer.id, found, now)
        later = tx.now(now)
        # A window may have ended while we waited for its lock: then the units belong to the next one.
        if all(allowance.covers(later) for allowance in found):
            return _decide(tx, customer, wanted, levels, later)


def _decide(tx: Tx, customer: Customer, wanted: Asked, levels: list[Level], now: datetime) -> Taking | PaymentRequired:
    own = _own_cost(wanted, levels)
    currency = own.currency if own is not None else burn.currency_of(levels)
    needed = own is None or own.nanos > 0
    opened = purse.locked(tx, customer.id, currency) if currency is not None and needed else None
    available = 0 if opened is None else opened.available
    split = burn.split(wanted.quantity, levels, credits=available, priced=own is None)
    if split.missing:
        return _refusal(wanted, levels, split)
    cost = own if own is not None else _computed(split, currency)
    prepaid = _prepaid(split, own)
    if prepaid > available:
        return _no_credits(wanted)
    return Taking(now, tuple(levels), split.parts, cost, prepaid, opened)


def _own_cost(wanted: Asked, levels: Sequence[Level]) -> Price | None:
    """The cost that the caller gives: in his currency, else in that of the plan that is used first, else in USD."""
    if wanted.cost is None:
        return None
    return Price(wanted.cost, wanted.currency or levels[0].allowance.currency)


def _computed(split: Split, currency: str | None) -> Price | None:
    return None if currency is None or not split.nanos else Price.from_nanos(split.nanos, currency)


def _prepaid(split: Split, own: Price | None) -> int:
    """What has to come from credits. A cost of the caller's own does, as a whole, where any part is paid in advance."""
    if own is None:
        return split.prepaid_nanos
    return own.nanos if any(part.allowance.kind == "credits" for part in split.parts) else 0


def _allowances(
    tx: Tx, customer: Customer, wanted: Asked, default_plan: str | None, now: datetime
) -> list[Allowance] | PaymentRequired:
    """What the customer's plans give of the feature; what no plan names has no limit but the caller's own."""
    if wanted.cap is not None:
        return [_planless(wanted.feature, customer, wanted.cap, now)]
    serves = serving(tx, customer, wanted.feature, default_plan=default_plan, now=now)
    found = standing.allowances(serves.offers, wanted.feature, now)
    if found:
        return found
    why = absence(tx, customer, wanted.feature, serves.held, now)
    return [_planless(wanted.feature, customer, Cap(None), now)] if why == "unknown_feature" else _absent(wanted, why)


def _planless(feature: str, customer: Customer, cap: Cap, now: datetime) -> Allowance:
    """Units that come from no plan."""
    window = periods.at(customer.created_at, cap.per, now)
    start = LIFETIME if window.end is None else window.start
    return Allowance(Pool("", feature, start), "included", cap.limit, window.end, 0, DEFAULT_CURRENCY, None)


def _absent(wanted: Asked, why: Absence) -> PaymentRequired:
    if why == "no_plan":
        return FeatureNotAvailable(
            f"No plan of the customer has {wanted.feature!r}.", customer=wanted.customer, feature=wanted.feature
        )
    if why == "past_due":
        return SubscriptionExpired(
            f"The subscription with {wanted.feature!r} was not renewed.",
            customer=wanted.customer,
            feature=wanted.feature,
            next_step="Renew the subscription, or offer the customer another way to pay.",
        )
    return SubscriptionExpired(
        f"The subscription with {wanted.feature!r} has ended.", customer=wanted.customer, feature=wanted.feature
    )


def _refusal(wanted: Asked, levels: Sequence[Level], split: Split) -> PaymentRequired:
    if split.short_of_credits:
        return _no_credits(wanted)
    stands = burn.summary(levels)
    left = wanted.quantity - split.missing
    return UsageLimitExceeded(
        f"{wanted.quantity} of {wanted.feature!r} do not fit into the limit: {left} are left.",
        customer=wanted.customer,
        feature=wanted.feature,
        retry_at=stands.resets_at,
    )


def _no_credits(wanted: Asked) -> CreditsExhausted:
    return CreditsExhausted(
        f"{wanted.quantity} of {wanted.feature!r} cost more credits than are left.",
        customer=wanted.customer,
        feature=wanted.feature,
    )
