"""What a plan is: a frozen value, checked when it is made, with one canonical form to store and to compare by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

from agentpay_policies.errors import ValidationError
from agentpay_policies.money import Amount, Money, Price, parse_decimal
from agentpay_policies.text import free_text, identifier

MAX_UNITS: Final = 10**15
"""The largest limit and the largest quantity: thousands of them still add up within a BIGINT."""

SHARED: Final = "*"
"""What names of pools that features share begin with; no feature may be called so."""


class PaymentType(StrEnum):
    """How a plan is paid: for a period, for each unit, or not until the free part is used up."""

    SUBSCRIPTION = "subscription"
    PAY_PER_USE = "pay_per_use"
    FREEMIUM = "freemium"


class BillingPeriod(StrEnum):
    """How long a period is, by the true calendar."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


def units(value: object, what: str, *, least: int = 0) -> int:
    """A number of units, checked.

    Raises:
        ValidationError: no integer, below the least, or beyond what is accepted.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_UNITS:
        raise ValidationError(f"{what} must be a whole number from {least} to {MAX_UNITS}.")
    return value


def feature_name(value: object) -> str:
    """The name of a feature, checked.

    Raises:
        ValidationError: not text of 1 to 200 visible characters, or it begins with `*`.
    """
    name = identifier(value, "feature")
    if name.startswith(SHARED):
        raise ValidationError(f"A feature's name may not begin with {SHARED!r}.")
    return name


@dataclass(frozen=True)
class Feature:
    """One thing that a plan gives.

    `limit` is its own quota a period (for life where the plan has no billing period). `price` is what a unit costs,
    paid in advance from credits, in the plan's currency. With both, at most `limit` units are sold.

    Raises:
        ValidationError: a name or a limit that is none.
        MoneyError: a price that is none.
    """

    name: str
    limit: int | None
    price: Decimal | None

    def __init__(self, name: str, limit: int | None = None, price: Amount | None = None) -> None:
        object.__setattr__(self, "name", feature_name(name))
        object.__setattr__(self, "limit", None if limit is None else units(limit, "limit"))
        object.__setattr__(self, "price", None if price is None else parse_decimal(price))


@dataclass(frozen=True)
class PaymentPlan:
    """A plan, as it is created and as it is read back. `version` is 0 until it is stored, and no part of the content.

    What is included, and what comes beyond it:

    - subscription: `requests_per_period` and `free_requests`, everything where neither is given and no price; beyond
      it `price_per_request` where given.
    - pay per use: `free_requests`; beyond it `price_per_request`, at most `requests_per_period` where given.
    - freemium, for everyone: `free_requests` (or `requests_per_period`), everything where neither is given and no
      price; beyond it `price_per_request`, for those only who subscribed to the plan.

    A feature with a `limit` of its own shares none of that: the limit is its included part (under pay-per-use: the most
    that is sold). A feature with a `price` is paid from credits, after what is free.

    `term` is the number of billing periods that a subscription commits its customer to: a subscription that is canceled
    before goes on, and is renewed, until they are over. 1: it ends with the period in which it is canceled. Only the
    operator ends it before, or replaces it by another plan; what is not paid lapses all the same.

    Raises:
        ValidationError: a field is none, or they contradict each other.
        MoneyError: a price is none, or has more decimals than its currency.
    """

    id: str
    name: str
    payment_type: PaymentType
    price: Decimal
    currency: str
    description: str | None
    price_per_request: Decimal | None
    billing_period: BillingPeriod | None
    requests_per_period: int | None
    free_requests: int
    group: str
    features: tuple[Feature, ...]
    term: int
    version: int = field(compare=False)

    def __init__(
        self,
        *,
        id: str,
        name: str,
        payment_type: PaymentType | str,
        price: Amount = 0,
        currency: str = "USD",
        description: str | None = None,
        price_per_request: Amount | None = None,
        billing_period: BillingPeriod | str | None = None,
        requests_per_period: int | None = None,
        free_requests: int = 0,
        group: str = "default",
        features: Iterable[str | Feature] = (),
        term: int = 1,
        version: int = 0,
    ) -> None:
        per_request = None if price_per_request is None else Price(price_per_request, currency).amount
        values: dict[str, object] = {
            "id": identifier(id, "plan id", longest=100),
            "name": identifier(name, "plan name"),
            "payment_type": _member(payment_type),
            "price": Money(price, currency).amount,
            "currency": currency,
            "description": None if description is None else free_text(description, "description"),
            "price_per_request": per_request,
            "billing_period": None if billing_period is None else _period(billing_period),
            "requests_per_period": _optional_units(requests_per_period, "requests_per_period"),
            "free_requests": units(free_requests, "free_requests"),
            "group": identifier(group, "plan group", longest=100),
            "features": _features(features, currency),
            "term": units(term, "term"),
            "version": version,
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)
        _check_together(self)

    @property
    def money(self) -> Money:
        """What one period costs."""
        return Money(self.price, self.currency)

    @property
    def is_free(self) -> bool:
        """Whether a period costs nothing, so that no payment is ever made for one."""
        return self.price == 0

    @property
    def request_nanos(self) -> int | None:
        """What a unit costs where it is billed afterwards, in 10⁻⁹ of the currency."""
        return None if self.price_per_request is None else Price(self.price_per_request, self.currency).nanos

    def feature(self, name: str) -> Feature | None:
        """The feature of that name, or None where the plan does not have it."""
        return next((feature for feature in self.features if feature.name == name), None)

    def content(self) -> dict[str, object]:
        """What the plan says, as JSON can hold it: two plans with equal content are one version.

        What is not given is left out, so that a field of a later program makes no new version of an old plan.
        """
        given: dict[str, object] = {
            "id": self.id,
            "name": self.name,
            "payment_type": self.payment_type.value,
            "price": str(self.price),
            "currency": self.currency,
            "description": self.description,
            "price_per_request": _digits(self.price_per_request),
            "billing_period": None if self.billing_period is None else self.billing_period.value,
            "requests_per_period": self.requests_per_period,
            "free_requests": self.free_requests,
            "group": self.group,
            "features": [_given({"name": f.name, "limit": f.limit, "price": _digits(f.price)}) for f in self.features],
            "term": self.term if self.term > 1 else None,
        }
        return _given(given)

    @classmethod
    def from_content(cls, content: Mapping[str, Any], *, version: int) -> Self:
        """The plan that `content` was made of."""
        features = [Feature(**feature) for feature in content["features"]]
        return cls(**{**content, "features": features}, version=version)


def price_nanos(feature: Feature, currency: str) -> int | None:
    """What a unit of a credit-priced feature costs, in 10⁻⁹ of the plan's currency."""
    return None if feature.price is None else Price(feature.price, currency).nanos


def _given(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _digits(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


def _optional_units(value: object, what: str) -> int | None:
    return None if value is None else units(value, what)


def _member(value: Any) -> PaymentType:
    try:
        return PaymentType(value)
    except ValueError as exc:
        raise ValidationError(f"payment_type is one of {', '.join(PaymentType)}.") from exc


def _period(value: Any) -> BillingPeriod:
    try:
        return BillingPeriod(value)
    except ValueError as exc:
        raise ValidationError(f"billing_period is one of {', '.join(BillingPeriod)}.") from exc


def _features(given: Iterable[str | Feature], currency: str) -> tuple[Feature, ...]:
    """The features in the order given, with each price checked, and written, as a price of the plan's currency."""
    if isinstance(given, str):
        raise ValidationError("features is a list of names or Feature values, not one text.")
    made: dict[str, Feature] = {}
    for one in given:
        feature = one if isinstance(one, Feature) else Feature(one)
        if feature.name in made:
            raise ValidationError(f"The feature {feature.name!r} is there twice.")
        if feature.price is not None:
            feature = Feature(feature.name, feature.limit, Price(feature.price, currency).amount)
        made[feature.name] = feature
    return tuple(made.values())


def _check_together(plan: PaymentPlan) -> None:
    if plan.payment_type is PaymentType.SUBSCRIPTION and plan.billing_period is None:
        raise ValidationError("A subscription plan needs a billing_period.")
    if plan.requests_per_period is not None and plan.billing_period is None:
        raise ValidationError("requests_per_period needs a billing_period.")
    if plan.term < 1:
        raise ValidationError("A term is at least one billing period.")
    if plan.term > 1 and (plan.payment_type is not PaymentType.SUBSCRIPTION or plan.is_free):
        raise ValidationError("Only a subscription with a price has a term of several periods.")
    if plan.payment_type is PaymentType.FREEMIUM:
        _check_freemium(plan)
    if plan.payment_type is PaymentType.PAY_PER_USE and plan.price_per_request is None:
        unpriced = [f.name for f in plan.features if f.price is None]
        if unpriced:
            raise ValidationError(f"A pay-per-use plan needs price_per_request: what does {unpriced[0]!r} cost?")


def _check_freemium(plan: PaymentPlan) -> None:
    if not plan.is_free:
        raise ValidationError(
            "A freemium plan serves everyone: its price is 0. Use price_per_request, or another type."
        )
    if plan.free_requests and plan.requests_per_period is not None:
        raise ValidationError("Give a freemium plan free_requests or requests_per_period, not both.")
