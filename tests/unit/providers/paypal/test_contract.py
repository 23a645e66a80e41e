"""PayPal passes the contract that every provider passes, on the fake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pytest

from agentpay.providers.base import Finding, Found, Order, PaymentProvider, Request
from agentpay.providers.paypal import PayPalProvider
from agentpay.providers.paypal_errors import DECLINES
from agentpay.testing import ProviderContract, RecordingSteps
from agentpay.testing.paypal_fake import PayPalFake
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee
from conftest import START


@dataclass(frozen=True)
class _Sent:
    """A webhook as it is delivered, and the id of its event."""

    body: bytes
    headers: Mapping[str, str]
    event_id: str


class PayPalContract(ProviderContract):
    wallet = "paypal"
    now = START

    @pytest.fixture(autouse=True)
    def _on(self, fake: PayPalFake, provider: PayPalProvider) -> None:
        self.fake = fake
        self.saved = fake.save_method(self.wallet)

    def customer(self) -> str:
        return self.saved

    def declined_order(self) -> Order | None:
        return self.declined_by("INSTRUMENT_DECLINED")

    def references(self) -> tuple[str, str] | None:
        return self.saved, f"{self.wallet}:nobodys"

    def declined_by(self, code: str) -> Order | None:
        saved = self.fake.save_method(self.wallet)
        self.fake.refuse(saved.partition(":")[2], code)
        return Order(self.ids.new("pay"), saved, self.money(), self.payee())

    def webhook(self, provider: PaymentProvider, now: datetime) -> Any:
        event = self.fake.books.tell("PAYMENT.SOMETHING.NEW", {})
        delivery = self.fake.signing.signed(event, webhook_id=self.fake.webhook_id, at=now)
        return _Sent(delivery.body, delivery.headers, event["id"])

    def _looked_up(
        self, provider: PaymentProvider, steps: RecordingSteps, kind: Literal["charge", "refund"], reference: str | None
    ) -> Finding:
        """PayPal finds an order by its own id only. Without it nobody has its link, and it counts as not sent."""
        if reference is None and steps.recorded[-1].request["op"] == "create":
            assert isinstance(super()._looked_up(provider, steps, kind, None), Found)
            reference = f"order:{self.fake.newest_order()}"
        return super()._looked_up(provider, steps, kind, reference)

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

    def decline_table(self) -> Mapping[str, str] | None:
        return DECLINES


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
