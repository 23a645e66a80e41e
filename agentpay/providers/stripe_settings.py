"""What Stripe is given: by its own names, from the environment, `.env` or `agentpay.toml`.

| variable | means |
|---|---|
| STRIPE_API_KEY | a secret (`sk_`) or restricted (`rk_`) key; a test key unless AGENTPAY_LIVE=1 |
| STRIPE_WEBHOOK_SECRET | `whsec_…` of the webhook endpoint; two with a comma between them while one is replaced |
| STRIPE_ACCOUNT | `acct_…` that the key belongs to: stamped on the database, compared by `health` |
| STRIPE_SUCCESS_URL, STRIPE_CANCEL_URL | where a customer comes back to from a page that a charge turned out to need |
| STRIPE_PAYMENT_METHOD_TYPES | such as `card,link`: only these; without it what the Dashboard allows |
| STRIPE_ON_BEHALF_OF | `1`: a payment to `stripe:acct_…` is made on behalf of that account |
| STRIPE_API_BASE | for tests: `http://127.0.0.1:…` of a Stripe of one's own; with a test key only |
| STRIPE_REVERSE_TRANSFER | `0`: a refund of one leaves the money with that account (default: it is taken back) |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import SecretStr

from agentpay.errors import ConfigurationError, ValidationError
from agentpay.providers.base import Mode, ReturnUrls
from agentpay.providers.urls import return_urls
from agentpay.settings import SourcedSettings, load, load_settings

_KEY: Final = re.compile(r"(?:sk|rk)_(test|live)_[A-Za-z0-9_]{1,250}\Z")
_SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/=_-]{1,250}\Z")
_ACCOUNT: Final = re.compile(r"acct_[A-Za-z0-9]{1,64}\Z")
_LOCAL: Final = re.compile(r"http://127\.0\.0\.1:[0-9]{1,5}\Z")
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


class StripeSettings(SourcedSettings):
    """The names above, as they stand. Secrets are not in its `repr`."""

    stripe_api_key: SecretStr | None = None
    stripe_webhook_secret: SecretStr | None = None
    stripe_account: str | None = None
    stripe_success_url: str | None = None
    stripe_cancel_url: str | None = None
    stripe_payment_method_types: str = ""
    stripe_on_behalf_of: bool = False
    stripe_reverse_transfer: bool = True
    stripe_api_base: str | None = None


@dataclass(frozen=True)
class StripeConfig:
    """The same, checked."""

    api_key: str = field(repr=False)
    mode: Mode
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    account: str | None = None
    urls: ReturnUrls | None = None
    method_types: tuple[str, ...] = ()
    on_behalf_of: bool = False
    reverse_transfer: bool = True
    base_url: str | None = None


def stripe_config(**given: object) -> StripeConfig:
    """The settings in force, checked; what is given by its name without `stripe_` wins.

    Raises:
        ConfigurationError: no key, a wrong one, or one of the other mode; the message never shows it.
    """
    settings = load(StripeSettings, **{f"stripe_{name}": value for name, value in given.items()})
    key = _plain(settings.stripe_api_key)
    mode = _mode(key)
    _check_live(mode, live=load_settings().live)
    return StripeConfig(
        api_key=key,
        mode=mode,
        webhook_secrets=_secrets(_plain(settings.stripe_webhook_secret)),
        account=_account(settings.stripe_account),
        urls=_urls(settings.stripe_success_url, settings.stripe_cancel_url),
        method_types=_types(settings.stripe_payment_method_types),
        on_behalf_of=settings.stripe_on_behalf_of,
        reverse_transfer=settings.stripe_reverse_transfer,
        base_url=_base(settings.stripe_api_base, mode),
    )


def _plain(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


def _mode(key: str) -> Literal["test", "live"]:
    if not key:
        raise ConfigurationError("STRIPE_API_KEY is not set.", next_step="Set it to a key of Stripe's test mode.")
    if key.startswith("pk_"):
        raise ConfigurationError("STRIPE_API_KEY is a publishable key, which cannot charge; it begins with sk_ or rk_.")
    found = _KEY.match(key)
    if found is None:
        raise ConfigurationError("STRIPE_API_KEY is no key of Stripe's: it begins with sk_test_ or rk_test_.")
    return "live" if found[1] == "live" else "test"


def _check_live(mode: Mode, *, live: bool) -> None:
    if mode == "live" and not live:
        raise ConfigurationError(
            "STRIPE_API_KEY is a live key: real money would move, and AGENTPAY_LIVE is not 1.",
            next_step="Use a test key, or set AGENTPAY_LIVE=1 where real money is meant to move.",
        )
    if mode == "test" and live:
        raise ConfigurationError(
            "STRIPE_API_KEY is a test key, and AGENTPAY_LIVE is 1: nothing would be paid.",
            next_step="Use a live key, or leave AGENTPAY_LIVE unset.",
        )


def _secrets(text: str) -> tuple[str, ...]:
    secrets = tuple(part.strip() for part in text.split(",")) if text else ()
    if not all(map(_SECRET.match, secrets)):
        raise ConfigurationError("STRIPE_WEBHOOK_SECRET is no secret of a webhook endpoint: it begins with whsec_.")
    return secrets


def _account(text: str | None) -> str | None:
    if text is not None and not _ACCOUNT.match(text):
        raise ConfigurationError("STRIPE_ACCOUNT is no account: it begins with acct_.")
    return text


def _urls(success: str | None, cancel: str | None) -> ReturnUrls | None:
    if success is None and cancel is None:
        return None
    if success is None or cancel is None:
        raise ConfigurationError("STRIPE_SUCCESS_URL and STRIPE_CANCEL_URL are set together, or neither.")
    try:
        return return_urls(success_url=success, cancel_url=cancel)
    except ValidationError as exc:
        raise ConfigurationError(f"STRIPE_SUCCESS_URL or STRIPE_CANCEL_URL: {exc.message}") from None


def _base(text: str | None, mode: Mode) -> str | None:
    """Where requests go instead of Stripe: to this machine itself, so that no key is sent to a stranger."""
    if text is not None and (mode != "test" or not _LOCAL.match(text)):
        raise ConfigurationError("STRIPE_API_BASE is http://127.0.0.1:PORT, for a test key only.")
    return text


def _types(text: str) -> tuple[str, ...]:
    types = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    if not all(map(_TYPE.match, types)):
        raise ConfigurationError("STRIPE_PAYMENT_METHOD_TYPES is a list of names such as card,link.")
    return types
