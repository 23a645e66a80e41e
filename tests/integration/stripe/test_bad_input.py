"""What is wrong with a key, an account, a customer or a currency: said before a call where it can be, else after."""

from __future__ import annotations

import pytest

from agentpay.errors import ProviderError, ValidationError
from agentpay.providers.base import SetupOrder
from agentpay.providers.outcomes import Declined, NotSent
from agentpay.providers.stripe import StripeProvider
from agentpay.testing.stripe_fake import StripeFake
from support.stripe import BACK, MakeProvider, charge, order

WRONG = "sk_test_ofSomebodyElse"


def test_a_key_that_stripe_does_not_know_sends_nothing(fake: StripeFake, make_provider: MakeProvider) -> None:
    provider = make_provider(api_key=WRONG)
    health = provider.health()
    assert not health.ok and "401" in health.detail and "ofSomebodyElse" not in health.detail
    assert isinstance(charge(provider, order(fake.customer())).outcome, NotSent)
    with pytest.raises(ProviderError, match="401"):
        provider.link("ana", "cus_1")


def test_a_restricted_key_may_not_read_all_and_is_healthy(fake: StripeFake, make_provider: MakeProvider) -> None:
    fake.accept("rk_test_restricted")
    provider = make_provider(api_key="rk_test_restricted", account=fake.account)
    assert provider.health().ok
    for op in ("balance", "account"):
        fake.fail("403", op=op)
        health = provider.health()
        assert health.ok and "restricted" in health.detail


def test_a_key_of_another_account_is_not_healthy(fake: StripeFake, make_provider: MakeProvider) -> None:
    assert make_provider(account=fake.account).health().ok
    health = make_provider(account="acct_another").health()
    assert not health.ok and "another account" in health.detail
    fake.fail("503", op="account")
    assert not make_provider(account=fake.account).health().ok


def test_a_currency_that_the_account_lacks_is_declined(fake: StripeFake, provider: StripeProvider) -> None:
    fake.books.refused_currencies.add("chf")
    for checkout in (None, BACK):
        done = charge(provider, order(fake.customer(), "5.00", "CHF", checkout=checkout), f"k{checkout}")
        assert isinstance(done.outcome, Declined) and done.outcome.code == "currency_not_supported"


@pytest.mark.parametrize(("amount", "code"), [("0.20", "amount_too_small"), ("2000000.00", "amount_too_large")])
def test_an_amount_that_stripe_refuses_is_declined(
    fake: StripeFake, provider: StripeProvider, amount: str, code: str
) -> None:
    done = charge(provider, order(fake.customer(), amount))
    assert isinstance(done.outcome, Declined) and done.outcome.code == code and not fake.effects()


def test_customers_that_are_none_are_not_linked_nor_charged(fake: StripeFake, provider: StripeProvider) -> None:
    gone = fake.customer()
    fake.books.customers[gone]["deleted"] = True
    for wrong in (gone, "cus_nobody", "acct_1", "cus_../balance", "cus_" + "x" * 200):
        with pytest.raises(ValidationError):
            provider.link("ana", wrong)
    done = charge(provider, order("cus_nobody"))
    assert isinstance(done.outcome, Declined) and done.outcome.code == "resource_missing"


def test_a_customer_is_made_once_per_key_with_a_method(fake: StripeFake, provider: StripeProvider) -> None:
    made = provider.create_customer("one", email="ana@shop.example", method="pm_card_visa")
    assert provider.create_customer("one", email="ana@shop.example", method="pm_card_visa") == made
    assert not isinstance(charge(provider, order(made)).outcome, Declined)
    with pytest.raises(ProviderError):
        provider.create_customer("two", method="pm_of_nobody")


@pytest.mark.parametrize("fault", ["503", "html_after", "drop_before", "401"])
def test_pages_that_were_not_made_are_an_error_and_can_be_asked_for_again(
    fake: StripeFake, provider: StripeProvider, fault: str
) -> None:
    known = fake.customer()
    wanted = SetupOrder("set_1", known, BACK, linked=True)
    fake.fail(fault, op="setup")  # type: ignore[arg-type]
    fake.fail(fault, op="portal")  # type: ignore[arg-type]
    with pytest.raises(ProviderError, match="No money moved"):
        provider.setup_method(wanted, "set_1")
    with pytest.raises(ProviderError):
        provider.portal(known, "https://shop.example/")
    assert provider.setup_method(wanted, "set_1").url
    assert provider.portal(known, "https://shop.example/").startswith("https://")
