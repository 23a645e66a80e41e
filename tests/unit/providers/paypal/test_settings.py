"""PayPal's settings: what is refused, and that a secret is shown nowhere."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paypalrestsdk
import pytest

from agentpay.errors import ConfigurationError, ModeMismatch
from agentpay.providers.paypal import PayPalProvider, from_settings
from agentpay.testing.paypal_fake import PayPalFake
from unit.house.sources import ROOT
from unit.providers.paypal.calls import Caller

SECRET = "EL1tVxAjhT7cJimnz5-Nsx9k2reTKSVfErNQF-CmrwJgxRtylkGTKlU4RvrX"
GIVEN: dict[str, Any] = {"client_id": "AXr9", "client_secret": SECRET}


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("AGENTPAY_LIVE", "PAYPAL_CLIENT_ID", "PAYPAL_CLIENT_SECRET", "PAYPAL_MODE", "PAYPAL_WEBHOOK_ID"):
        monkeypatch.delenv(name, raising=False)
    yield


def test_the_settings_have_paypals_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYPAL_CLIENT_ID", "AXr9")
    monkeypatch.setenv("PAYPAL_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("PAYPAL_WEBHOOK_ID", "8PT597110X687430L")
    provider = from_settings()
    assert (provider.name, provider.account, provider.mode) == ("paypal", "AXr9", "test")
    assert provider.capabilities().webhooks


def test_the_file_of_the_project_names_the_factory() -> None:
    """What is installed is made from it."""
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["agentpay.providers"]
    assert entries["paypal"] == "agentpay.providers.paypal:from_settings"


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"client_id": None}, "PAYPAL_CLIENT_ID"),
        ({"client_secret": None}, "PAYPAL_CLIENT_SECRET"),
        ({"client_secret": ""}, "PAYPAL_CLIENT_SECRET"),
        ({"mode": "production"}, "PAYPAL_MODE"),
        ({"webhook_id": "../x"}, "PAYPAL_WEBHOOK_ID"),
        ({"webhook_verification": "none"}, "PAYPAL_WEBHOOK_VERIFICATION"),
        ({"return_url": "javascript:x", "cancel_url": "https://b.example"}, "PAYPAL_RETURN_URL"),
        *(
            ({"return_url": wrong, "cancel_url": "https://b.example"}, "PAYPAL_RETURN_URL")
            for wrong in ("https:/a.example", "https://", "https://u:p@a.example", "https://a.example/ b", "http://a.b")
        ),  # PayPal would refuse each charge for good instead
        ({"return_url": "https://a.example"}, "PAYPAL_RETURN_URL and PAYPAL_CANCEL_URL"),
        ({"timeout": 0}, "PAYPAL_TIMEOUT"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(given: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigurationError, match=names) as refused:
        from_settings(**{**GIVEN, **given})
    assert SECRET not in str(refused.value) and "../x" not in str(refused.value)


def test_live_needs_agentpay_live_and_the_sandbox_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModeMismatch, match="AGENTPAY_LIVE"):
        from_settings(**GIVEN, mode="live")
    monkeypatch.setenv("AGENTPAY_LIVE", "1")
    assert from_settings(**GIVEN, mode="live").mode == "live"
    with pytest.raises(ModeMismatch, match="sandbox"):
        from_settings(**GIVEN)


@pytest.mark.parametrize(
    ("endpoint", "mode"),
    [
        ("http://api-m.paypal.com", "test"),
        ("https://api-m.paypal.com", "test"),
        ("https://api-m.sandbox.paypal.com", "live"),
        ("http://127.0.0.1:1", "live"),
        ("https://user:pw@api-m.sandbox.paypal.com", "test"),
        ("ftp://127.0.0.1", "test"),
        ("nowhere", "test"),
    ],
)
def test_an_endpoint_of_another_mode_or_in_the_clear_is_refused(endpoint: str, mode: Any) -> None:
    with pytest.raises(ConfigurationError):
        PayPalProvider(**GIVEN, endpoint=endpoint, mode=mode)


def test_an_api_of_paypalrestsdk_gives_its_credentials_mode_and_endpoint(fake: PayPalFake) -> None:
    api = paypalrestsdk.Api(
        mode="sandbox", endpoint=fake.url, client_id=fake.client_id, client_secret=fake.client_secret
    )
    provider = PayPalProvider.from_paypalrestsdk(api, timeout=1.0)
    assert (provider.account, provider.mode) == (fake.client_id, "test")
    assert provider.health().ok
    assert Caller(provider).charge().reference.startswith("order:")
    live = paypalrestsdk.Api(mode="live", client_id="x", client_secret="y")
    with pytest.raises(ModeMismatch):
        PayPalProvider.from_paypalrestsdk(live)
    assert PayPalProvider.from_paypalrestsdk(paypalrestsdk.Api(mode="sandbox", client_id="x", client_secret="y"))


def test_a_sandbox_key_in_live_mode_is_told_by_health_and_moves_nothing(fake: PayPalFake) -> None:
    """PayPal's live side knows no such application: it answers as to any wrong credentials."""
    provider = fake.provider(client_id="a-key-of-the-other-side")
    health = provider.health()
    assert not health.ok and "other environment" in health.detail


def test_a_secret_is_in_no_repr_and_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    provider = from_settings(**GIVEN)
    shown = f"{provider!r} {provider} {provider._client!r} {provider._client.rest!r} {provider._client.credentials!r}"
    assert SECRET not in shown + caplog.text
