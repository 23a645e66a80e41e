"""Stripe's provider passes the contract that every provider passes, over a real socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from agentpay.providers.base import Order, PaymentProvider, Request, SetupOrder
from agentpay.providers.outcomes import Outcome
from agentpay.providers.stripe_errors import AUTHENTICATION, DECLINES
from agentpay.testing import ProviderContract, SignedWebhook
from agentpay.testing.stripe_fake import StripeFake
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee


class StripeContract(ProviderContract):
    """Over one row of the table of declines; `TestStripe` takes all of them."""

    @pytest.fixture(autouse=True)
    def _with(self, fake: StripeFake) -> None:
        self.fake = fake
        self.known = fake.customer()
        fake.connected("acct_1A2b3C")

    def customer(self) -> str:
        return self.known

    def order(self) -> Order:
        return replace(super().order(), linked=True)

    def setup_order(self) -> SetupOrder:
        return replace(super().setup_order(), linked=True)

    def several_steps_order(self) -> Order | None:
        return self.order()

    def declined_order(self) -> Order | None:
        return self.declined_by("insufficient_funds")

    def decline_table(self) -> Mapping[str, str] | None:
        return {code: DECLINES[code] for code in ("stolen_card", "authentication_required")}

    def declined_by(self, code: str) -> Order | None:
        act = "authenticate" if DECLINES.get(code) == AUTHENTICATION else f"decline:{code}"
        return replace(self.order(), customer=self.fake.customer(act))

    def customer_pays(self, provider: PaymentProvider, reference: str) -> bool:
        self.fake.customer_acts(reference)
        return True

    def references(self) -> tuple[str, str] | None:
        return self.known, "cus_nobody"

    def webhook(self, provider: PaymentProvider, now: datetime) -> SignedWebhook | None:
        event = self.fake.events()[-1]
        return SignedWebhook(*self.fake.signed(event, at=now), event_id=event["id"])

    def effects(self, provider: PaymentProvider) -> int | None:
        return len(self.fake.effects())

    def requests(self, provider: PaymentProvider) -> Sequence[tuple[str, Request]] | None:
        return self.fake.requests()


class TestStripe(StripeContract):
    """The contract, with the operator as payee."""

    def decline_table(self) -> Mapping[str, str] | None:
        return DECLINES


class TestStripeInYen(StripeContract):
    def money(self) -> Money:
        return Money("2000", "JPY")


class TestStripeWithAConnectedPayee(StripeContract):
    def payee(self) -> Payee:
        return Payee.parse("stripe:acct_1A2b3C")


class TestStripeWithPages(StripeContract):
    """Where there are addresses to come back to, what needs the customer becomes a page."""

    @pytest.fixture
    def provider(self, pages: PaymentProvider) -> PaymentProvider:
        return pages

    def _declines_so(self, outcome: Outcome, code: str) -> bool:
        return code == AUTHENTICATION or super()._declines_so(outcome, code)
