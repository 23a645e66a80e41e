"""PayPal passes the contract that every provider passes, on the fake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agentpay.providers.base import Order, PaymentProvider, Request
from agentpay.providers.paypal import PayPalProvider
from agentpay.testing import ProviderContract
from agentpay.testing.paypal_fake import PayPalFake
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee


class PayPalContract(ProviderContract):
    wallet = "paypal"

    @pytest.fixture(autouse=True)
    def _on(self, fake: PayPalFake, provider: PayPalProvider) -> None:
        self.fake = fake
        self.saved = fake.save_method(self.wallet)

    def customer(self) -> str:
        return self.saved

    def declined_order(self) -> Order | None:
        saved = self.fake.save_method(self.wallet)
        self.fake.refuse(saved.partition(":")[2], "INSTRUMENT_DECLINED")
        return Order(self.ids.new("pay"), saved, self.money(), self.payee())

    def effects(self, provider: PaymentProvider) -> int | None:
        return self.fake.effects()

    def requests(self, provider: PaymentProvider) -> Sequence[tuple[str, Request]] | None:
        """What arrived, as it was stored: without what is added of the attempt's key."""
        sent = [one for one in self.fake.received if one.step in ("charge", "refund")]
        return [_stored(one.step, one.path, one.body) for one in sent]


def _stored(step: str, path: str, body: Mapping[str, Any]) -> tuple[str, Request]:
    marked = body if step == "refund" else body["purchase_units"][0]
    key = str(marked["custom_id"]).partition(".")[0]
    bare = {name: value for name, value in marked.items() if name != "custom_id"}
    if step == "refund":
        return key, {"op": "refund", "capture": path.split("/")[4], "body": bare}
    return key, {"op": "charge", "body": {**body, "purchase_units": [bare]}}


class TestPayPal(PayPalContract):
    """The contract, by a saved PayPal account."""


class TestVenmo(PayPalContract):
    """The contract, by a saved Venmo account."""

    wallet = "venmo"


class TestPayPalInYen(PayPalContract):
    def money(self) -> Money:
        return Money("2000", "JPY")


class TestPayPalInForints(PayPalContract):
    """A currency that has decimals, but not at PayPal."""

    def money(self) -> Money:
        return Money("2000", "HUF")


class TestPayPalWithAMerchant(PayPalContract):
    def payee(self) -> Payee:
        return Payee.parse("paypal:ABCDEFGHJKLMN")
