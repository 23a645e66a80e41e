"""What Stripe is given: checked at the start, refused with the reason, and never shown."""

from __future__ import annotations

from typing import Any

import pytest

from agentpay.errors import ConfigurationError
from agentpay.providers.registry import create_payment_provider, installed_providers
from agentpay.providers.stripe import StripeProvider, from_settings
from agentpay.providers.stripe_settings import StripeSettings, stripe_config

TEST, LIVE = "sk_test_abcDEF123456", "sk_live_abcDEF123456"
SECRET = "whsec_abcDEF123456"


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No settings of the machine: neither its environment nor its files."""
    monkeypatch.chdir(tmp_path)
    for name in ("STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_ACCOUNT", "AGENTPAY_LIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("key", [TEST, "rk_test_abcDEF123456"])
def test_a_test_key_is_for_test_mode(key: str) -> None:
    assert stripe_config(api_key=key).mode == "test"


@pytest.mark.parametrize("key", [LIVE, "rk_live_abcDEF123456"])
def test_a_live_key_needs_agentpay_live(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="AGENTPAY_LIVE is not 1"):
        stripe_config(api_key=key)
    monkeypatch.setenv("AGENTPAY_LIVE", "1")
    assert stripe_config(api_key=key).mode == "live"


def test_a_test_key_with_agentpay_live_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPAY_LIVE", "1")
    with pytest.raises(ConfigurationError, match="a test key, and AGENTPAY_LIVE is 1"):
        stripe_config(api_key=TEST)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "STRIPE_API_KEY is not set"),
        ({"api_key": "pk_test_abcDEF123456"}, "publishable"),
        ({"api_key": "sk_abcDEF123456"}, "no key of Stripe's"),
        ({"api_key": "sk_test_"}, "no key of Stripe's"),
        ({"api_key": f"{TEST}\n"}, "no key of Stripe's"),
        ({"api_key": f" {TEST}"}, "no key of Stripe's"),
        ({"api_key": "sk_test_\u00e4bc"}, "no key of Stripe's"),
        ({"api_key": TEST, "webhook_secret": TEST}, "whsec_"),
        ({"api_key": TEST, "webhook_secret": f"{SECRET},"}, "whsec_"),
        ({"api_key": TEST, "account": "cus_1"}, "acct_"),
        ({"api_key": TEST, "success_url": "https://shop.example"}, "together"),
        ({"api_key": TEST, "success_url": "http://shop.example", "cancel_url": "https://x.example"}, "https"),
        ({"api_key": TEST, "payment_method_types": "card,,"}, "card,link"),
        ({"api_key": TEST, "api_base": "https://api.stripe.example"}, "127.0.0.1"),
        ({"api_key": TEST, "api_base": "http://127.0.0.1.evil.example:80"}, "127.0.0.1"),
    ],
)
def test_what_is_wrong_is_refused_and_not_shown(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        stripe_config(**given)
    assert "abcDEF" not in str(refused.value) and refused.value.next_step


def test_settings_come_by_stripes_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "STRIPE_API_KEY": TEST,
        "STRIPE_WEBHOOK_SECRET": f"{SECRET}, whsec_older",
        "STRIPE_ACCOUNT": "acct_1A2b3C",
        "STRIPE_SUCCESS_URL": "https://shop.example/done",
        "STRIPE_CANCEL_URL": "https://shop.example/back",
        "STRIPE_PAYMENT_METHOD_TYPES": "card, link",
        "STRIPE_ON_BEHALF_OF": "1",
        "STRIPE_REVERSE_TRANSFER": "0",
    }.items():
        monkeypatch.setenv(name, value)
    config = stripe_config()
    assert (config.webhook_secrets, config.account) == ((SECRET, "whsec_older"), "acct_1A2b3C")
    assert (config.method_types, config.on_behalf_of, config.reverse_transfer) == (("card", "link"), True, False)
    provider = create_payment_provider("stripe")
    assert (provider.name, provider.account, provider.mode) == ("stripe", "acct_1A2b3C", "test")
    provider.close()


def test_no_secret_is_in_a_repr() -> None:
    provider = from_settings(api_key=TEST, webhook_secret=SECRET)
    texts = [repr(provider), str(provider), repr(stripe_config(api_key=TEST, webhook_secret=SECRET)),
             repr(StripeSettings(stripe_api_key=TEST))]  # type: ignore[arg-type]  # fmt: skip
    assert not any("abcDEF" in text for text in texts)
    provider.close()


def test_stripe_is_a_plug_in_like_any_other() -> None:
    assert "stripe" in installed_providers()
    made = create_payment_provider("stripe", api_key=TEST)
    assert isinstance(made, StripeProvider) and made.account == "default"
    made.close()
    made.close()
