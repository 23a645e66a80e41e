"""PayPal's settings, by PayPal's own names, and what is refused of them.

| variable | means | default |
|---|---|---|
| PAYPAL_CLIENT_ID | the REST application; it is also the account that is stamped on the database | none |
| PAYPAL_CLIENT_SECRET | its secret | none |
| PAYPAL_MODE | `sandbox` or `live`; live needs AGENTPAY_LIVE=1, and sandbox refuses it | `sandbox` |
| PAYPAL_WEBHOOK_ID | the webhook that PayPal was told to send events to | none: no webhook is believed |
| PAYPAL_WEBHOOK_VERIFICATION | `offline`, by PayPal's certificate; or `endpoint`, by asking PayPal | `offline` |
| PAYPAL_RETURN_URL, PAYPAL_CANCEL_URL | where a payer comes back to from the page of a plain charge | none |
| PAYPAL_TIMEOUT | seconds for one exchange with PayPal | 20 |
"""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from agentpay.errors import ConfigurationError, ModeMismatch, ValidationError
from agentpay.providers.base import Mode, ReturnUrls
from agentpay.providers.urls import checked_url
from agentpay.settings import SourcedSettings

ENDPOINTS: Final[dict[Mode, str]] = {
    "test": "https://api-m.sandbox.paypal.com",
    "live": "https://api-m.paypal.com",
}

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class PayPalSettings(SourcedSettings):
    """The settings of the module's table."""

    model_config = SettingsConfigDict(env_prefix="PAYPAL_")

    client_id: str = Field(min_length=1, max_length=200)
    client_secret: SecretStr = Field(min_length=1, max_length=400)
    mode: Literal["sandbox", "live"] = "sandbox"
    webhook_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]{1,50}$")
    webhook_verification: Literal["offline", "endpoint"] = "offline"
    return_url: str | None = None
    cancel_url: str | None = None
    timeout: float = Field(default=20.0, ge=1, le=120)

    @field_validator("return_url", "cancel_url")
    @classmethod
    def _page(cls, value: str | None) -> str | None:
        try:
            return None if value is None else checked_url(value, "it")
        except ValidationError as exc:
            raise ValueError(exc.message) from None

    @property
    def urls(self) -> ReturnUrls | None:
        """Where the payer of a plain charge comes back to.

        Raises:
            ConfigurationError: there is one address without the other.
        """
        if (self.return_url is None) != (self.cancel_url is None):
            raise ConfigurationError("PAYPAL_RETURN_URL and PAYPAL_CANCEL_URL go together: give both, or none.")
        return ReturnUrls(self.return_url, self.cancel_url) if self.return_url and self.cancel_url else None


def checked_mode(mode: object, *, live: bool) -> Mode:
    """PayPal's mode as ours. `live`: whether AGENTPAY_LIVE says that real money may move.

    Raises:
        ConfigurationError: it is neither `sandbox` nor `live`.
        ModeMismatch: real money without AGENTPAY_LIVE=1, or the sandbox with it.
    """
    if mode not in ("sandbox", "live"):
        raise ConfigurationError("PAYPAL_MODE is sandbox or live.")
    if mode == "live" and not live:
        raise ModeMismatch("PAYPAL_MODE is live, and AGENTPAY_LIVE is not 1: real money would move.")
    if mode == "sandbox" and live:
        raise ModeMismatch("AGENTPAY_LIVE is 1, and PAYPAL_MODE is sandbox: no real money would move.")
    return "live" if mode == "live" else "test"


def checked_endpoint(endpoint: str, mode: Mode) -> str:
    """The address of PayPal's interface, without a slash at its end.

    Raises:
        ConfigurationError: it is none, is not encrypted (but on this machine, for tests), or is of the other mode.
    """
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").lower()
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK and mode == "test")
    if not secure or parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError("PayPal's endpoint is https://HOST, without credentials and without a query.")
    if host.endswith(".paypal.com") and (".sandbox." in f".{host}") != (mode == "test"):
        raise ConfigurationError(f"PayPal's endpoint {host} is not that of the mode.")
    return endpoint.rstrip("/")
