"""Selling calls of a tool: units are held before a call, and an unpaid call gets an offer, the same until it is paid.

Two kinds of price. By plan: the call is a use of a feature, and what is offered is a plan that has it. By price: each
call, or unit, costs so much and is paid from the customer's credits, and what is offered is a top-up. A top-up that was
paid becomes credit once, when the next call looks; at most one waits at a time, so that no money is paid for nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final, Protocol

from agentpay.billing.credits import CreditGrant
from agentpay.errors import (
    AgentPayError,
    AlreadySubscribed,
    ConfigurationError,
    CreditsExhausted,
    IdempotencyConflict,
    NotFound,
    PaymentFailed,
    PaymentRequired,
    PolicyDenied,
    ReservationClosed,
)
from agentpay.ids import Ids
from agentpay.payments.models import Payment, Refund
from agentpay.plans.models import Feature, PaymentPlan, PaymentType, feature_name
from agentpay.subscriptions.models import Subscription
from agentpay.usage.models import UsageRecord
from agentpay.usage.service import DEFAULT_LIFE, Reservation
from agentpay_policies.currencies import exponent
from agentpay_policies.money import PRICE_DECIMALS, Money, Price
from agentpay_policies.text import identifier

logger = logging.getLogger(__name__)

_MOST_OFFERS: Final = 100
"""How often a customer may let one plan end and be offered it again by one tool."""

_WAITING: Final = ("requires_action", "pending", "unknown", "approval_required")
_OPEN: Final = (*_WAITING, "succeeded")


class Services(Protocol):
    """What selling needs of a `PaymentManager`."""

    def create_plan(self, plan: PaymentPlan) -> PaymentPlan: ...

    def subscribe(self, customer: str, plan: str, *, idempotency_key: str) -> Subscription: ...

    def get_subscription(self, customer: str, plan: str | None = None) -> Subscription: ...

    def reserve_usage(
        self,
        customer: str,
        feature: str,
        quantity: int = 1,
        *,
        idempotency_key: str,
        expires_in: timedelta = DEFAULT_LIFE,
    ) -> Reservation: ...

    def record_usage(self, customer: str, feature: str, quantity: int = 1, *, idempotency_key: str) -> UsageRecord: ...

    def grant_credits(
        self, customer: str, amount: Decimal, currency: str = "USD", *, idempotency_key: str
    ) -> CreditGrant: ...

    def list_payments(self, customer: str, *, no_agents: bool = False) -> Sequence[Payment]: ...

    def verify_payment(self, payment_id: str) -> Payment: ...

    def refunds_of(self, payment_id: str) -> Sequence[Refund]: ...


class Checkout(Protocol):
    """Makes a payment that the customer finishes at its `url`, once per key: `PaymentManager.create_checkout`."""

    def __call__(
        self,
        customer: str,
        *,
        plan: str | None = None,
        amount: str | None = None,
        currency: str | None = None,
        success_url: str,
        cancel_url: str,
        description: str | None = None,
        idempotency_key: str,
    ) -> Payment: ...


@dataclass(frozen=True)
class Tariff:
    """What a call of a tool costs: a use of `feature`, sold by `plan`; or `price` a unit, sold by top-ups."""

    tool: str
    feature: str
    plan: str | None
    price: Price | None = None
    top_up: Money | None = None

    @property
    def said(self) -> str:
        """For a customer to read."""
        if self.price is not None:
            return f"{self.tool} costs {self.price} a unit"
        return f"{self.tool} needs the feature {self.feature}"


def tariff(tool: str, *, feature: str | None, plan: str | None, price: str | None, top_up: str | None) -> Tariff:
    """A tariff, checked.

    Raises:
        ConfigurationError: neither a feature nor a price, or both; or what does not belong together.
        ValidationError: a name or an amount is none.
    """
    identifier(tool, "tool", longest=100)
    if (feature is None) == (price is None) or (price is None) != (top_up is None) or (price is not None and plan):
        raise ConfigurationError(
            f"The price of {tool} is not clear.",
            next_step='Give feature= (and the plan= to offer), or price= and top_up=: "0.05 USD" and "5.00 USD", say.',
        )
    if feature is not None:
        return Tariff(tool, feature_name(feature), None if plan is None else identifier(plan, "plan"))
    amount, _, currency = str(price).partition(" ")
    costs, sold = Price(amount, currency), Money.parse(str(top_up))
    if costs.nanos == 0 or sold.minor == 0 or sold.currency != costs.currency:
        raise ConfigurationError(f"The price and the top-up of {tool} are more than nothing, in one currency.")
    # Another price is another feature, so that what a customer subscribed to earlier never decides what he pays now.
    name = f"{tool} at {costs}"
    return Tariff(tool, name, f"tool: {name}", costs, sold)


@dataclass(frozen=True)
class Unpaid:
    """Why a call was not served, and what is offered. `payment` is the one that waits for the customer, if any."""

    reason: AgentPayError
    tariff: Tariff
    payment: Payment | None

    @property
    def url(self) -> str | None:
        """Where to pay."""
        return self.payment.url if self.payment is not None else None


class Selling:
    """Holds units for calls, and makes offers. Safe to share between threads; nothing is kept outside the database."""

    def __init__(
        self,
        services: Services,
        checkout: Checkout,
        *,
        ids: Ids,
        success_url: str,
        cancel_url: str,
        expires_in: timedelta = DEFAULT_LIFE,
    ) -> None:
        self._services = services
        self._checkout = checkout
        self._ids = ids
        self._urls = (success_url, cancel_url)
        self._life = expires_in

    def hold(self, sold: Tariff, customer: str, quantity: int) -> Reservation | Unpaid:
        """Hold a call's units; or say why not, and what is offered. Commit or release what comes back.

        Raises:
            AgentPayError: nothing was held, and paying would not help.
        """
        if sold.price is not None:
            self._serve(sold, customer)
        try:
            return self._reserve(sold, customer, quantity)
        except PaymentRequired as reason:
            short = reason
        if isinstance(short, CreditsExhausted) and sold.price is not None and self._credit(sold, customer):
            try:
                return self._reserve(sold, customer, quantity)
            except PaymentRequired as reason:
                short = reason
        return self._offered(sold, customer, quantity, short)

    def take(self, held: Reservation) -> None:
        """Count a call that was run. One that took longer than its units were held is recorded as any use is, as far as
        there is anything left to pay it."""
        try:
            held.commit()
            return
        except ReservationClosed:
            key = f"{held.id}/late"
        try:
            self._services.record_usage(held.customer, held.feature, held.quantity, idempotency_key=key)
        except PaymentRequired as short:
            logger.error("a call of %s took too long and was not counted: %s", held.feature, short.code)

    def _reserve(self, sold: Tariff, customer: str, quantity: int) -> Reservation:
        key = self._ids.new("call")
        return self._services.reserve_usage(
            customer, sold.feature, quantity, idempotency_key=key, expires_in=self._life
        )

    def _serve(self, sold: Tariff, customer: str) -> None:
        """Make the plan that a price stands in, and subscribe the customer to it; it is free, and done once."""
        assert sold.plan is not None
        assert sold.price is not None
        key = _key("serve", sold.plan, customer)
        try:
            self._services.get_subscription(customer, sold.plan)
            return
        except NotFound:
            pass  # the first call of this customer
        feature = Feature(sold.feature, price=sold.price.amount)
        self._services.create_plan(
            PaymentPlan(
                id=sold.plan,
                name=sold.feature,
                payment_type=PaymentType.PAY_PER_USE,
                currency=sold.price.currency,
                group=sold.plan,
                features=[feature],
            )
        )
        with suppress(AlreadySubscribed):  # by a call beside this one
            self._services.subscribe(customer, sold.plan, idempotency_key=key)

    # ---- offers

    def _offered(self, sold: Tariff, customer: str, quantity: int, short: PaymentRequired) -> Reservation | Unpaid:
        try:
            payment = self._top_up(sold, customer, quantity, short) if sold.price else self._plan(sold, customer)
        except AgentPayError as error:
            logger.warning("no offer could be made for %s: %s", sold.tool, error.code)
            return Unpaid(short, sold, None)
        if payment is None or payment.status != "succeeded":
            return Unpaid(short, sold, payment)
        if sold.price is not None:
            self._credit(sold, customer)
        try:  # it was paid while we looked
            return self._reserve(sold, customer, quantity)
        except PaymentRequired as still:
            return Unpaid(still, sold, None)

    def _plan(self, sold: Tariff, customer: str) -> Payment | None:
        """The checkout of the plan that waits, or a new one. None where buying the plan would help nothing."""
        if sold.plan is None or self._has(sold.plan, customer):
            return None
        success, cancel = self._urls
        for number in range(_MOST_OFFERS):
            key = _key("plan", sold.tool, sold.plan, customer, str(number))
            try:
                made = self._checkout(
                    customer, plan=sold.plan, success_url=success, cancel_url=cancel, idempotency_key=key
                )
            except (PaymentFailed, PolicyDenied):
                continue  # that one came to nothing
            if made.status in _WAITING and (found := self._services.verify_payment(made.id)).status in _OPEN:
                return found
            if self._has(sold.plan, customer):
                return made  # it was paid while we looked; else it is of a subscription that has ended
        return None

    def _has(self, plan: str, customer: str) -> bool:
        try:
            return self._services.get_subscription(customer, plan).status in ("active", "past_due")
        except NotFound:
            return False

    def _top_up(self, sold: Tariff, customer: str, quantity: int, short: PaymentRequired) -> Payment | None:
        """The top-up that waits for the customer, or a new one; never two at once."""
        if not isinstance(short, CreditsExhausted):
            return None  # the operator ended what serves this customer: credit would not help
        made = self._top_ups(sold, customer)
        for payment in made:
            if payment.status in _WAITING and (found := self._services.verify_payment(payment.id)).status in _OPEN:
                return found
        success, cancel = self._urls
        money = self._amount(sold, quantity)
        return self._checkout(
            customer,
            amount=format(money.amount, "f"),
            currency=money.currency,
            success_url=success,
            cancel_url=cancel,
            description=_description(sold),
            idempotency_key=_key("top-up", _description(sold), customer, str(len(made))),
        )

    def _amount(self, sold: Tariff, quantity: int) -> Money:
        """The top-up; more, where one call costs more."""
        assert sold.price is not None
        assert sold.top_up is not None
        costs = -(-sold.price.nanos * quantity * 10 ** exponent(sold.price.currency) // 10**PRICE_DECIMALS)
        return Money.from_minor(max(sold.top_up.minor, costs), sold.top_up.currency)

    def _top_ups(self, sold: Tariff, customer: str) -> list[Payment]:
        # What an agent pays for may have any description, this one too: it is no top-up.
        made = self._services.list_payments(customer, no_agents=True)
        return [one for one in made if one.description == _description(sold) and one.payee == "self"]

    def _credit(self, sold: Tariff, customer: str) -> bool:
        """Turn what was paid into credit, each payment once; whether anything was paid, by this call or beside it."""
        paid = [one for one in self._top_ups(sold, customer) if one.status == "succeeded"]
        for one in paid:
            left = self._left(one)
            if left > 0:
                with suppress(IdempotencyConflict):  # it became credit before a part of it was given back
                    self._services.grant_credits(customer, left, one.currency, idempotency_key=_key("credit", one.id))
        return bool(paid)

    def _left(self, payment: Payment) -> Decimal:
        """What of a payment is still with us: neither disputed, nor given back, nor on its way back."""
        refunds = [one for one in self._services.refunds_of(payment.id) if one.status in _OPEN and not one.returned]
        return payment.amount - sum((one.amount for one in refunds), Decimal(0)) - payment.disputed


def _description(sold: Tariff) -> str:
    """How the top-ups of a tool are found again."""
    assert sold.top_up is not None
    return f"Credit for {sold.tool} ({sold.top_up.currency})"


def _key(*parts: str) -> str:
    return f"paid-tool/{hashlib.sha256(repr(parts).encode()).hexdigest()}"
