"""The mock's webhooks: how they are signed, and how one is verified and read.

`Mock-Signature: t=<seconds since 1970>,v1=<hex of HMAC-SHA256 over "<t>." and the body>`. What is older than five
minutes, or that far in the future, is refused, whoever signed it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from agentpay.canonical import canonical
from agentpay.errors import MoneyError, WebhookInvalid
from agentpay.providers.events import AttemptNews, DisputeNews, News, RefundNews, ReversalNews, WebhookEvent
from agentpay.providers.outcomes import Declined, Outcome, Pending, RequiresAction, Succeeded
from agentpay_policies.money import Money

SECRET: Final = "mock-webhook-secret"  # noqa: S105 - of a provider that is never live
"""What signs where AGENTPAY_MOCK_WEBHOOK_SECRET names no other: the mock is never live."""

HEADER: Final = "mock-signature"
TOLERANCE: Final = timedelta(minutes=5)
_ENDS: Final[Mapping[str, Literal["pending", "succeeded", "failed"]]] = {
    "pending": "pending",
    "succeeded": "succeeded",
    "declined": "failed",
}
_ACCOUNT: Final = "mock"


@dataclass(frozen=True)
class SignedEvent:
    """A webhook as it is delivered."""

    body: bytes
    headers: Mapping[str, str]


def secret_from_environment() -> str:
    """The secret by which the mock signs."""
    return os.environ.get("AGENTPAY_MOCK_WEBHOOK_SECRET") or SECRET


def signed(event: Mapping[str, object], *, secret: str, at: datetime) -> SignedEvent:
    """The delivery of an event at a moment. Its id follows from what it says; it may bring an `id` and an `account` of
    its own."""
    named = {"account": _ACCOUNT, "id": _id_of(event), **event}
    body = canonical(named).encode()
    return SignedEvent(body, {HEADER: signature(body, secret=secret, at=at)})


def signature(body: bytes, *, secret: str, at: datetime) -> str:
    """The header that goes with a body."""
    stamp = str(int(at.timestamp()))
    return f"t={stamp},v1={_mac(secret, stamp, body)}"


def parsed(body: bytes, headers: Mapping[str, str], now: datetime, *, secret: str, account: str) -> WebhookEvent:
    """The event that a delivery holds.

    Raises:
        WebhookInvalid: it is not signed so, not of these minutes, of another account, or no event.
    """
    _verify(body, headers.get(HEADER, ""), now, secret)
    try:
        event = json.loads(body.decode("utf-8"))
        if event["account"] != account:
            raise WebhookInvalid("The event is of another account.")
        created = datetime.fromisoformat(event["created"]).astimezone(UTC)
        return WebhookEvent(str(event["id"]), account, str(event["type"]), created, _news(event))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, MoneyError) as exc:
        raise WebhookInvalid(f"The body is no event of the mock's: {type(exc).__name__}.") from None


def _verify(body: bytes, header: str, now: datetime, secret: str) -> None:
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    stamp = parts.get("t", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise WebhookInvalid("The signature is missing or malformed.")
    if not hmac.compare_digest(_mac(secret, stamp, body).encode(), parts.get("v1", "").encode()):
        raise WebhookInvalid("The signature does not fit the body.")
    if abs(now - datetime.fromtimestamp(int(stamp), UTC)) > TOLERANCE:
        raise WebhookInvalid("The webhook was signed too long ago, or in the future.")


def _mac(secret: str, stamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def _id_of(event: Mapping[str, object]) -> str:
    return "mev_" + hashlib.sha256(canonical(event).encode()).hexdigest()[:24]


def _news(event: Mapping[str, Any]) -> tuple[News, ...]:
    """What an event tells. A kind that is not known tells nothing."""
    told = event.get("object") or {}
    match event["type"]:
        case "charge":
            return (AttemptNews("charge", _outcome(told), key=told.get("key"), reference=told["reference"]),)
        case "refund":
            return (
                RefundNews(told["charge"], told["reference"], _money(told), _ENDS[told["status"]], told.get("key")),
            )
        case "dispute" if told["kind"] == "reversal":
            return (ReversalNews(told["charge"], told["reference"], _money(told), told["status"], told["reason"]),)
        case "dispute":
            return (DisputeNews(told["charge"], told["reference"], _money(told), told["status"], told["reason"]),)
    return ()


def _money(told: Mapping[str, Any]) -> Money:
    return Money(told["amount"], told["currency"])


def _outcome(told: Mapping[str, Any]) -> Outcome:
    reference, status = told["reference"], told["status"]
    if status == "succeeded":
        return Succeeded(reference)
    if status == "declined":
        return Declined(told["code"] or "generic_decline", f"The mock declined: {told['code']}.", reference)
    if status == "pending":
        return Pending(reference)
    return RequiresAction(reference, told.get("url"), told.get("instructions"))
