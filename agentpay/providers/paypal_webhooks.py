"""Whether a webhook is PayPal's: by its signature and certificate, or by asking PayPal.

PayPal signs `transmission id|time|webhook id|CRC of the body`. The webhook id is ours, from the settings: that of the
request is worth nothing. A CRC is no hash: who could read a signed webhook on its way could make another body with the
same one. Nobody can who is not inside of the encrypted connection; and `PayPalProvider.refetch_event` asks PayPal.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from agentpay.errors import ProviderError, WebhookInvalid
from agentpay.providers.paypal_certificates import Certificates, checked_url
from agentpay.providers.paypal_client import Client, Reply

LONGEST_BODY: Final = 1024 * 1024
OLDEST: Final = timedelta(days=4)
"""PayPal delivers a webhook again for three days."""

_AHEAD: Final = timedelta(minutes=10)
_ALGORITHM: Final = "SHA256withRSA"
_HEADERS: Final = {
    "auth_algo": "paypal-auth-algo",
    "cert_url": "paypal-cert-url",
    "transmission_id": "paypal-transmission-id",
    "transmission_sig": "paypal-transmission-sig",
    "transmission_time": "paypal-transmission-time",
}
_LONGEST_HEADER: Final = 2000


class Verifier:
    """Verifies webhooks for one webhook id. `by_endpoint`: PayPal is asked; else its certificate decides."""

    def __init__(self, webhook_id: str, *, by_endpoint: bool = False, certificates: Certificates | None = None) -> None:
        self.webhook_id = webhook_id
        self._by_endpoint = by_endpoint
        self._certificates = certificates or Certificates()

    def verified(self, body: bytes, headers: Mapping[str, str], now: datetime, client: Client) -> Mapping[str, Any]:
        """The event in a webhook, once it is known to be PayPal's and ours.

        Raises:
            WebhookInvalid: nothing of it may be believed.
            ProviderError: PayPal was asked, and did not answer.
        """
        given = _given(headers)
        checked_url(given["cert_url"])
        _check_age(given["transmission_time"], now)
        event = _event(body)
        if self._by_endpoint:
            self._ask(given, body, client)
        else:
            self._check(given, body, now)
        return event

    def _check(self, given: Mapping[str, str], body: bytes, now: datetime) -> None:
        crc = binascii.crc32(body) & 0xFFFFFFFF
        parts = (given["transmission_id"], given["transmission_time"], self.webhook_id, str(crc))
        key = self._certificates.key(given["cert_url"], now)
        try:
            signature = base64.b64decode(given["transmission_sig"], validate=True)
            key.verify(signature, "|".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            raise WebhookInvalid("The webhook's signature is not PayPal's for this webhook id.") from None

    def _ask(self, given: Mapping[str, str], body: bytes, client: Client) -> None:
        question = json.dumps({**given, "webhook_id": self.webhook_id}).removesuffix("}")
        answer = client.verify_webhook(f'{question}, "webhook_event": {body.decode()}}}')
        if not (isinstance(answer, Reply) and answer.good):
            raise ProviderError("PayPal did not say whether the webhook is its own: it delivers it again.")
        if answer.body.get("verification_status") != "SUCCESS":
            raise WebhookInvalid("PayPal says that the webhook is not its own, or not for this webhook id.")


def _given(headers: Mapping[str, str]) -> dict[str, str]:
    given = {name: headers.get(header, "") for name, header in _HEADERS.items()}
    missing = [_HEADERS[name] for name, value in given.items() if not value or len(value) > _LONGEST_HEADER]
    if missing:
        raise WebhookInvalid(f"The webhook has no usable {', '.join(missing)}.")
    if given["auth_algo"] != _ALGORITHM or not all(value.isascii() and value.isprintable() for value in given.values()):
        raise WebhookInvalid("The webhook's headers are not PayPal's.")
    return given


def _check_age(text: str, now: datetime) -> None:
    try:
        sent = datetime.fromisoformat(text)
    except ValueError:
        raise WebhookInvalid("The webhook does not say when it was sent.") from None
    if sent.tzinfo is None or not now - OLDEST <= sent <= now + _AHEAD:
        raise WebhookInvalid("The webhook is too old, or from the future.")


def _event(body: bytes) -> Mapping[str, Any]:
    if len(body) > LONGEST_BODY:
        raise WebhookInvalid("The webhook is too long.")
    try:
        event = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise WebhookInvalid("The webhook is no JSON.") from None
    if not isinstance(event, dict):
        raise WebhookInvalid("The webhook is no event.")
    return event


def _refuse(text: str) -> float:
    raise ValueError(text)
