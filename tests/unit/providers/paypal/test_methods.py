"""Saved methods and PayPal's own subscriptions."""

from __future__ import annotations

import pytest

from agentpay.errors import ProviderError, ProviderUnsupported, ValidationError
from agentpay.providers.base import ReturnUrls, SetupOrder
from agentpay.providers.events import MethodNews
from agentpay.providers.outcomes import Succeeded
from agentpay.providers.paypal import PayPalProvider, PayPalSubscription
from agentpay.providers.paypal_events import webhook_event
from agentpay.testing.paypal_fake import PayPalFake
from agentpay.testing.paypal_fake.faults import How
from unit.providers.paypal.calls import URLS, Caller


def setup(method: str | None = None) -> SetupOrder:
    return SetupOrder("set_1", "cus_0123456789abcdef01234567", URLS, method)


@pytest.mark.parametrize("wallet", [None, "paypal", "venmo"])
def test_a_method_is_saved_on_paypals_page_and_charged_at_once(
    fake: PayPalFake, provider: PayPalProvider, wallet: str | None
) -> None:
    page = provider.setup_method(setup(wallet), "key-setup")
    assert page.url.startswith("https://www.sandbox.paypal.com/agreements/approve")
    fake.approve_setup(page.reference)
    saved = provider.save_method(page.reference)
    assert saved.startswith(f"{wallet or 'paypal'}:")
    provider.link("cus_0123456789abcdef01234567", saved)
    assert isinstance(Caller(provider).charge(saved).outcome, Succeeded)
    told = webhook_event(fake.event("VAULT.PAYMENT-TOKEN.CREATED"), "account").news
    assert told == (MethodNews(saved, "saved", setup="set_1"),)
    fake._answers.clear()


def test_the_same_key_gives_the_same_page_and_saving_twice_the_same_method(
    fake: PayPalFake, provider: PayPalProvider
) -> None:
    page = provider.setup_method(setup(), "key-twice")
    assert provider.setup_method(setup(), "key-twice") == page
    fake.approve_setup(page.reference)
    assert provider.save_method(page.reference) == provider.save_method(page.reference)


def test_a_method_that_its_owner_did_not_approve_is_not_saved(fake: PayPalFake, provider: PayPalProvider) -> None:
    page = provider.setup_method(setup(), "key-early")
    with pytest.raises(ProviderError, match="CONSENT_NEEDED"):
        provider.save_method(page.reference)
    with pytest.raises(ProviderError):
        provider.save_method("5CNOBODYS")


def test_a_page_that_paypal_does_not_name_is_an_error(fake: PayPalFake, provider: PayPalProvider) -> None:
    hows: tuple[How, ...] = ("error_before", "malformed")
    for how in hows:
        fake.fault("setup", how)
        with pytest.raises(ProviderError, match="No money moved"):
            provider.setup_method(setup(), f"key-{how}")
    with pytest.raises(ProviderUnsupported):
        provider.setup_method(SetupOrder("set_1", "cus_1", ReturnUrls("https://a", "https://b"), "card"), "key-card")


@pytest.mark.parametrize(
    "reference",
    ["", "8kk8451t", "cus_0123456789abcdef01234567", "paypal:", "paypal:../x", "stripe:cus_1", "paypal:nobodys"],
)
def test_what_is_no_saved_method_of_this_account_is_not_linked(provider: PayPalProvider, reference: str) -> None:
    with pytest.raises(ValidationError):
        provider.link("cus_1", reference)


def test_a_method_of_one_wallet_is_not_linked_as_another(fake: PayPalFake, provider: PayPalProvider) -> None:
    vault_id = fake.save_method("paypal").partition(":")[2]
    with pytest.raises(ValidationError, match="none of venmo"):
        provider.link("cus_1", f"venmo:{vault_id}")


def test_where_paypal_does_not_answer_nothing_is_linked(fake: PayPalFake, provider: PayPalProvider) -> None:
    fake.fault("get_saved", "error_before")
    with pytest.raises(ProviderError):
        provider.link("cus_1", fake.save_method())


def test_a_subscription_of_paypals_own_is_looked_up(fake: PayPalFake, provider: PayPalProvider) -> None:
    fake.books.subscriptions["I-1"] = {
        "id": "I-1",
        "status": "ACTIVE",
        "plan_id": "P-1",
        "billing_info": {"next_billing_time": "2026-02-28T10:00:00Z"},
    }
    assert provider.subscription("I-1") == PayPalSubscription("I-1", "active", "P-1", "2026-02-28T10:00:00Z")
    assert provider.subscription("I-2") is None
    fake.fault("subscription", "error_before")
    with pytest.raises(ProviderError):
        provider.subscription("I-1")
