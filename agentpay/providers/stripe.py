"""Stripe: saved methods charged without their customer, checkout pages, refunds, connected accounts, stablecoins.

    stripe_settings   what it is given, checked: keys, mode, addresses
    stripe_money      amounts in Stripe's units, by currency
    stripe_requests   what is asked: pure, stored before it is sent
    stripe_wire       the SDK's client, and faults as values
    stripe_flow       the order of requests in a charge
    stripe_states     what an object's status means; stripe_errors: what a refusal means
    stripe_lookup     what became of an attempt
    stripe_webhooks   what a webhook tells

It needs the extra `stripe`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from agentpay.clock import Clock, SystemClock
from agentpay.errors import ProviderError, ValidationError
from agentpay.providers import stripe_requests as requests
from agentpay.providers import stripe_webhooks as webhooks
from agentpay.providers.base import (
    Capabilities,
    Finding,
    Health,
    Mode,
    Order,
    Plain,
    Reference,
    RefundOrder,
    Request,
    SetupOrder,
    SetupPage,
    Steps,
)
from agentpay.providers.events import WebhookEvent
from agentpay.providers.outcomes import Outcome
from agentpay.providers.stripe_errors import Fault
from agentpay.providers.stripe_flow import Flow
from agentpay.providers.stripe_lookup import Lookup
from agentpay.providers.stripe_money import CURRENCIES, maximum, minimum
from agentpay.providers.stripe_settings import StripeConfig, stripe_config
from agentpay.providers.stripe_wire import LEASE, Timeouts, Wire, unanswered

KEY_LIFE: Final = timedelta(hours=24)
"""For how long Stripe remembers a key at the least. An event of a meter too."""

_CUSTOMER: Final = re.compile(r"cus_[A-Za-z0-9]{1,64}\Z")
_LONGEST_MEMO: Final = 1000
_ANY_ACCOUNT: Final = "default"


class StripeProvider(Plain):
    """One Stripe account, in one mode. Safe to share between threads.

    `timeouts` and `lease` are for tests: the lease is what one call may last at the most.
    """

    def __init__(
        self,
        config: StripeConfig,
        *,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        lease: timedelta = LEASE,
    ) -> None:
        self._config = config
        self._wire = Wire(config.api_key, base_url=config.base_url, timeouts=timeouts)
        self._flow = Flow(self._wire, config, clock or SystemClock())
        self._lookup = Lookup(self._wire)
        self._capabilities = _capabilities(config, lease)

    def __repr__(self) -> str:
        return f"StripeProvider(account={self.account!r}, mode={self.mode!r})"

    @property
    def name(self) -> str:
        return "stripe"

    @property
    def account(self) -> str:
        return self._config.account or _ANY_ACCOUNT

    @property
    def mode(self) -> Mode:
        return self._config.mode

    def capabilities(self) -> Capabilities:
        return self._capabilities

    def health(self) -> Health:
        balance = self._wire.balance()
        if isinstance(balance, Fault):
            if balance.status == 403:
                return Health(True, "Stripe answers; the restricted key may not read the balance.")
            return Health(False, balance.evidence)
        if balance["livemode"] is not (self.mode == "live"):
            return Health(False, f"The account is not in {self.mode} mode.")
        return self._account_health()

    def _account_health(self) -> Health:
        if self._config.account is None:
            return Health(True, f"Stripe answers, in {self.mode} mode. STRIPE_ACCOUNT is not set.")
        found = self._wire.account()
        if isinstance(found, Fault):
            answers = found.status == 403
            return Health(answers, "The restricted key may not read the account." if answers else found.evidence)
        if found["id"] != self._config.account:
            return Health(False, "The key belongs to another account than STRIPE_ACCOUNT.")
        return Health(True, f"Stripe answers for {self._config.account}, in {self.mode} mode.")

    # -- charges -------------------------------------------------------------------------------------------------------

    def prepare(self, order: Order) -> Request:
        return requests.first(order, self._config)

    def prepare_refund(self, order: RefundOrder) -> Request:
        return requests.refund(order, self._config)

    def prepare_resume(self, reference: str) -> Request | None:
        return requests.touch(reference) if reference.startswith("pi_") else None

    def charge(self, order: Order, steps: Steps) -> Outcome:  # noqa: ARG002 - what is sent is what was stored
        return self._flow.charge(steps)

    def checkout(self, order: Order, steps: Steps) -> Outcome:  # noqa: ARG002
        return self._flow.page(steps)

    def refund(self, order: RefundOrder, steps: Steps) -> Outcome:  # noqa: ARG002
        return self._flow.refund(steps)

    def resume(self, reference: str, steps: Steps) -> Outcome:
        return self._flow.resume(reference, steps)

    def lookup(self, reference: Reference) -> Finding:
        return self._lookup.find(reference)

    # -- customers -----------------------------------------------------------------------------------------------------

    def link(self, customer: str, reference: str) -> None:  # noqa: ARG002
        if not _CUSTOMER.match(reference):
            raise ValidationError("A customer of Stripe's is called cus_….")
        found = self._wire.customer(reference)
        if isinstance(found, Fault):
            if found.status == 404:
                raise ValidationError(f"Stripe has no customer {reference[:80]!a} in this account and mode.")
            raise unanswered(found)
        if found.get("deleted"):
            raise ValidationError(f"The customer {reference[:80]!a} was deleted at Stripe.")

    def create_customer(self, key: str, *, email: str | None = None, method: str | None = None) -> str:
        """Make a customer at Stripe, once per key, with a method where one is named (`pm_…`); link them afterwards.

        Raises:
            ProviderError: it was not made, or that is not known: repeat with the same key.
        """
        given = {"email": email, "payment_method": method}
        params = {name: value for name, value in given.items() if value is not None}
        made = self._wire.new_customer(params, key)
        if isinstance(made, Fault):
            raise unanswered(made)
        return str(made["id"])

    def setup_method(self, order: SetupOrder, key: str) -> SetupPage:
        made = self._wire.post(requests.setup(order, self._config), key)
        if isinstance(made, Fault):
            raise unanswered(made)
        return SetupPage(str(made["id"]), str(made["url"]))

    def portal(self, customer: str, return_url: str) -> str:
        """The address of Stripe's page for a customer."""
        made = self._wire.portal(customer, return_url)
        if isinstance(made, Fault):
            raise unanswered(made)
        return str(made["url"])

    @property
    def meter_key_life(self) -> timedelta:
        """For how long a meter counts a key once."""
        return KEY_LIFE

    def report_usage(self, meter: str, customer: str, quantity: int, key: str) -> None:
        """Tell a billing meter of usage. A key that the meter has already counts as told.

        Raises:
            ProviderError: it was not taken, or that is not known: repeat within the life of the key.
        """
        fault = self._wire.meter(meter, customer, quantity, key)
        if fault is not None and fault.code not in ("duplicate_meter_event", "meter_event_duplicate"):
            raise ProviderError(f"{fault.evidence}. Repeat with the same key.")

    # -- webhooks ------------------------------------------------------------------------------------------------------

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookEvent:
        config = self._config
        endpoint = webhooks.Endpoint(config.webhook_secrets, config.mode, config.account, self.account)
        return webhooks.parse(body, headers, now, endpoint)

    def close(self) -> None:
        self._wire.close()


def _capabilities(config: StripeConfig, lease: timedelta) -> Capabilities:
    return Capabilities(
        currencies=CURRENCIES,
        payees=frozenset({"self", "stripe"}),
        checkout=True,
        saved_methods=True,
        methods=requests.STABLECOINS,
        minimum=minimum(),
        maximum=maximum(),
        key_life=KEY_LIFE,
        lease=lease,
        consistent_lookup=True,
        longest_memo=_LONGEST_MEMO,
        webhooks=bool(config.webhook_secrets),
        pending_goes_on=False,
    )


def from_settings(
    *,
    api_key: str | None = None,
    webhook_secret: str | None = None,
    account: str | None = None,
    success_url: str | None = None,
    cancel_url: str | None = None,
    payment_method_types: str | None = None,
    on_behalf_of: bool | None = None,
    reverse_transfer: bool | None = None,
    api_base: str | None = None,
    clock: Clock | None = None,
    timeouts: Timeouts | None = None,
    lease: timedelta = LEASE,
) -> StripeProvider:
    """Stripe from its settings (see `stripe_settings`); what is given wins. No connection is made.

    Raises:
        ConfigurationError: no key, a wrong one, one of the other mode; another setting that is wrong.
    """
    config = stripe_config(
        api_key=api_key,
        webhook_secret=webhook_secret,
        account=account,
        success_url=success_url,
        cancel_url=cancel_url,
        payment_method_types=payment_method_types,
        on_behalf_of=on_behalf_of,
        reverse_transfer=reverse_transfer,
        api_base=api_base,
    )
    return StripeProvider(config, clock=clock, timeouts=timeouts, lease=lease)
