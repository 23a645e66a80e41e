"""The mock passes the contract that every provider passes; and the contract finds providers that break it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from agentpay.errors import WebhookInvalid
from agentpay.providers.base import (
    Finding,
    Found,
    Order,
    PaymentProvider,
    Reference,
    RefundOrder,
    Request,
    SetupOrder,
    SetupPage,
    Steps,
)
from agentpay.providers.events import WebhookEvent
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_webhooks import SECRET, signed
from agentpay.providers.outcomes import Outcome, Succeeded
from agentpay.testing import ProviderContract, SignedWebhook
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    made = MockProvider("memory://")
    yield made
    made.close()


class MockContract(ProviderContract):
    def customer_pays(self, provider: PaymentProvider, reference: str) -> bool:
        assert isinstance(provider, MockProvider)
        provider.customer_acts(reference)
        return True

    def webhook(self, provider: PaymentProvider, now: datetime) -> SignedWebhook | None:
        assert isinstance(provider, MockProvider)
        event = provider.elsewhere.event(self._charged(provider).reference, key=True)
        sent = signed(event, secret=SECRET, at=now)
        return SignedWebhook(sent.body, sent.headers, event_id=json.loads(sent.body)["id"])

    def references(self) -> tuple[str, str] | None:
        return "anybody", "nobody-1"

    def declined_order(self) -> Order | None:
        return replace(self.order(), customer="decline-ana")

    def several_steps_order(self) -> Order | None:
        return replace(self.order(), customer="three-steps-ana")

    def effects(self, provider: PaymentProvider) -> int | None:
        assert isinstance(provider, MockProvider)
        return len(provider.movements())

    def requests(self, provider: PaymentProvider) -> Sequence[tuple[str, Request]] | None:
        assert isinstance(provider, MockProvider)
        return provider.requests()


class TestMock(MockContract):
    """The contract, with the operator as payee."""


class TestMockInYen(MockContract):
    def money(self) -> Money:
        return Money("2000", "JPY")


class TestMockWithAConnectedPayee(MockContract):
    def payee(self) -> Payee:
        return Payee.parse("stripe:acct_1A2b3C")


class Forgetful(MockProvider):
    """Sends each request under a key of its own, so that a repeat pays again."""

    calls = 0

    def charge(self, order: Order, steps: Steps) -> Outcome:
        self.calls += 1
        key = f"{steps.key}/{self.calls}"

        class Renamed:
            request = steps.request

            def record(self, name: str, request: Request, *, reference: str) -> None:
                raise AssertionError

        renamed = Renamed()
        renamed.key = key  # type: ignore[attr-defined]
        return super().charge(order, renamed)  # type: ignore[arg-type]


class Unrecorded(MockProvider):
    """Sends the later requests of a charge without recording them."""

    def charge(self, order: Order, steps: Steps) -> Outcome:
        class Silent:
            key, request = steps.key, steps.request

            def record(self, name: str, request: Request, *, reference: str) -> None:
                self.key, self.request = f"{self.key}+", request

        return super().charge(order, Silent())


class Optimist(MockProvider):
    """Finds whatever it is asked for, and takes every refund for done."""

    def lookup(self, reference: Reference) -> Finding:
        return Found(Succeeded("mch_sure"))

    def refund(self, order: RefundOrder, steps: Steps) -> Outcome:
        return Succeeded("mre_sure")


class Trusting(MockProvider):
    """Believes whatever says that it is a webhook."""

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookEvent:
        try:
            return super().parse_webhook(body, headers, now)
        except WebhookInvalid:
            return WebhookEvent("evt", self.account, "nothing", now)


class Paying(MockProvider):
    """Takes a page for paid as soon as it is made."""

    def checkout(self, order: Order, steps: Steps) -> Outcome:
        made = super().checkout(order, steps)
        return Succeeded(getattr(made, "reference", "mch"))


class Hospitable(MockProvider):
    """Knows every customer, and gives each a new page."""

    def link(self, customer: str, reference: str) -> None:
        """Whoever it is."""

    def setup_method(self, order: SetupOrder, key: str) -> SetupPage:
        return super().setup_method(order, f"{key}-{time.monotonic_ns()}")


class Floating(MockProvider):
    """Has a float in its request."""

    def prepare(self, order: Order) -> Request:
        return {**super().prepare(order), "fee": 0.1}


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Forgetful, MockContract.test_the_same_key_gives_the_same_answer_and_moves_once),
        (Forgetful, MockContract.test_a_charge_succeeds_and_is_found_by_its_key),
        (Unrecorded, MockContract.test_every_request_was_recorded_before_it_was_sent),
        (Optimist, MockContract.test_a_look_up_of_an_unknown_key_finds_nothing),
        (Optimist, MockContract.test_a_refund_of_more_than_the_charge_is_declined),
        (Optimist, MockContract.test_partial_refunds_end_at_the_charge),
        (Floating, MockContract.test_prepare_is_pure_and_gives_json),
        (Trusting, MockContract.test_a_webhook_is_believed_only_as_it_was_signed),
        (Paying, MockContract.test_a_checkout_waits_for_its_customer),
        (Hospitable, MockContract.test_only_a_customer_of_the_provider_is_linked),
        (Hospitable, MockContract.test_a_page_to_save_a_method_is_one_per_key),
    ],
)
def test_the_contract_finds_what_breaks_it(
    broken: type[MockProvider], promise: Callable[[ProviderContract, PaymentProvider], None]
) -> None:
    provider = broken("memory://")
    with pytest.raises(AssertionError):
        promise(MockContract(), provider)
    provider.close()
