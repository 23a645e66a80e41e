"""What Stripe's webhooks tell: the signature checked over the very bytes, then the event as values of ours.

The SDK's signature check is used, and its objects, which are no mappings, are not: the body is read as plain data once
it is proved to be Stripe's. An intent that a checkout page made is told by its page, since its customer may fail and
try again on it; of an intent that a charge made only success is told, since everything else is a step of the charge
itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

import stripe

from agentpay.errors import WebhookInvalid
from agentpay.providers.base import Mode
from agentpay.providers.events import AttemptNews, DisputeNews, MethodNews, News, RefundNews, WebhookEvent
from agentpay.providers.outcomes import Pending, Succeeded
from agentpay.providers.stripe_errors import declined
from agentpay.providers.stripe_money import from_units
from agentpay.providers.stripe_requests import KEY, PAYMENT, RECURRING, SETUP
from agentpay.providers.stripe_states import intent_id, is_as_asked, made_by, of_intent, of_page

Object = Mapping[str, Any]

TOLERANCE: Final = timedelta(seconds=300)
LONGEST_BODY: Final = 1_000_000
HEADER: Final = "stripe-signature"


@dataclass(frozen=True)
class Endpoint:
    """What a webhook is checked against. `account` is ours, where it is known; `name` stands in the event."""

    secrets: tuple[str, ...]
    mode: Mode
    account: str | None
    name: str


def parse(body: bytes, headers: Mapping[str, str], now: datetime, endpoint: Endpoint) -> WebhookEvent:
    """The event of a webhook.

    Raises:
        WebhookInvalid: the signature, the age, the mode, the account or the form is wrong.
    """
    _verify(body, headers.get(HEADER, ""), now, endpoint.secrets)
    event = _event(body)
    if event["livemode"] is not (endpoint.mode == "live"):
        raise WebhookInvalid(f"The webhook is not of {endpoint.mode} mode.")
    if event.get("account") not in (None, endpoint.account):
        raise WebhookInvalid("The webhook is about another account.")
    try:
        news = _news(str(event["type"]), event["data"]["object"], event["data"].get("previous_attributes") or {})
        created = datetime.fromtimestamp(int(event["created"]), UTC)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError):
        raise WebhookInvalid(f"The webhook {event['id'][:80]!a} has not the form of its kind.") from None
    return WebhookEvent(event["id"], endpoint.name, str(event["type"])[:120], created, news)


def _verify(body: bytes, header: str, now: datetime, secrets: tuple[str, ...]) -> None:
    if not secrets:
        raise WebhookInvalid("STRIPE_WEBHOOK_SECRET is not set, so that no webhook can be believed.")
    if len(body) > LONGEST_BODY or len(header) > 4096:
        raise WebhookInvalid("The webhook is longer than any of Stripe's.")
    sent = _sent_at(header)
    if not any(_signed(body, header, secret) for secret in secrets):
        raise WebhookInvalid("The webhook is not signed with the secret of this endpoint.")
    if abs(now.timestamp() - sent) > TOLERANCE.total_seconds():
        raise WebhookInvalid("The webhook is too old, or this machine's clock is wrong.")


def _sent_at(header: str) -> int:
    """The time that was signed. A header with several has none: the SDK would check another one than we do. One that is
    not ASCII has no signature either, and would make the SDK raise."""
    stamps = [value for name, _, value in (part.partition("=") for part in header.split(",")) if name == "t"]
    stamp = stamps[0] if len(stamps) == 1 and header.isascii() else ""
    if not stamp.isdigit() or len(stamp) > 12:
        raise WebhookInvalid("The webhook has no signature of Stripe's.")
    return int(stamp)


def _signed(body: bytes, header: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, header, secret, None)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return True


def _event(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise WebhookInvalid("The webhook is signed, and no JSON.") from None
    well_formed = (
        isinstance(event, dict)
        and event.get("object") == "event"
        and isinstance(event.get("id"), str)
        and 0 < len(event["id"]) <= 255
        and isinstance(event.get("type"), str)
        and isinstance(event.get("livemode"), bool)
        and isinstance(event.get("data"), dict)
        and isinstance(event["data"].get("object"), dict)
    )
    if not well_formed:
        raise WebhookInvalid("The webhook is signed, and no event.")
    found: dict[str, Any] = event
    return found


# -- what each kind tells ----------------------------------------------------------------------------------------------

Reader = Callable[[Object, Object], tuple[News, ...]]


def _news(kind: str, about: Object, before: Object) -> tuple[News, ...]:
    reader = READERS.get(kind)
    return () if reader is None else reader(about, before)


def _metadata(holder: Object, name: str) -> str | None:
    found = (holder.get("metadata") or {}).get(name)
    return None if found is None else str(found)


def _intent(intent: Object, _before: Object) -> tuple[News, ...]:
    made = made_by(intent)
    if made is None:
        return ()
    outcome = of_intent(intent)
    if made != "crypto" and not isinstance(outcome, Succeeded | Pending):
        return ()
    if made == "page" and not isinstance(outcome, Succeeded):
        return ()
    reference = str(intent["id"])
    parent = reference if made == "create" else None
    return (AttemptNews("charge", outcome, key=_metadata(intent, KEY), reference=reference, parent=parent),)


def _page(page: Object, _before: Object) -> tuple[News, ...]:
    if page["mode"] == "setup":
        return _saved(page, _metadata(page, SETUP)) if page["status"] == "complete" else ()
    if _metadata(page, PAYMENT) is None:
        return ()
    told = AttemptNews("charge", of_page(page), key=_metadata(page, KEY), reference=str(page["id"]))
    kept = _metadata(page, RECURRING) is not None and page["payment_status"] == "paid"
    return (told, *(_saved(page, _metadata(page, PAYMENT)) if kept else ()))


def _page_failed(page: Object, _before: Object) -> tuple[News, ...]:
    """A slow method, such as a debit, failed in the end."""
    if _metadata(page, PAYMENT) is None:
        return ()
    outcome = declined("generic_decline", intent_id(page) or str(page["id"]))
    return (AttemptNews("charge", outcome, key=_metadata(page, KEY), reference=str(page["id"])),)


def _saved(holder: Object, setup: str | None) -> tuple[News, ...]:
    customer = holder.get("customer")
    return () if customer is None else (MethodNews(str(customer), "saved", setup),)


RefundStatus = Literal["pending", "succeeded", "failed"]
_REFUNDS: Final[Mapping[str, RefundStatus]] = MappingProxyType({
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "failed",
})  # fmt: skip


def _refund(refund: Object, _before: Object) -> tuple[News, ...]:
    status, charge = _REFUNDS.get(refund["status"]), intent_id(refund) or refund.get("charge")
    money = from_units(int(refund["amount"]), str(refund["currency"]))
    if status is None or money is None or charge is None or not is_as_asked(refund):
        return ()
    return (RefundNews(str(charge), str(refund["id"]), money, status, key=_metadata(refund, KEY)),)


def _refunds_of(charge: Object, before: Object) -> tuple[News, ...]:
    """The refunds that a charge carries: newer versions leave them out, and tell each by itself."""
    refunds = (charge.get("refunds") or {}).get("data") or ()
    return tuple(news for refund in refunds for news in _refund(refund, before))


DisputeStatus = Literal["open", "won", "lost"]
_DISPUTES: Final[Mapping[str, DisputeStatus]] = MappingProxyType({
    "needs_response": "open",
    "under_review": "open",
    "lost": "lost",
    "won": "won",
    "prevented": "won",
})  # fmt: skip
"""An inquiry (`warning_…`) takes no money, and is none of these."""


def _dispute(dispute: Object, _before: Object) -> tuple[News, ...]:
    status, charge = _DISPUTES.get(dispute["status"]), intent_id(dispute) or dispute.get("charge")
    money = from_units(int(dispute["amount"]), str(dispute["currency"]))
    if status is None or money is None or charge is None:
        return ()
    return (DisputeNews(str(charge), str(dispute["id"]), money, status, str(dispute.get("reason") or "")[:80]),)


def _setup(intent: Object, _before: Object) -> tuple[News, ...]:
    return _saved(intent, _metadata(intent, SETUP))


def _attached(method: Object, _before: Object) -> tuple[News, ...]:
    return _saved(method, None)


def _detached(_method: Object, before: Object) -> tuple[News, ...]:
    customer = before.get("customer")
    return () if customer is None else (MethodNews(str(customer), "removed"),)


def _customer_gone(customer: Object, _before: Object) -> tuple[News, ...]:
    return (MethodNews(str(customer["id"]), "removed"),)


READERS: Final[Mapping[str, Reader]] = MappingProxyType({
    "payment_intent.succeeded": _intent,
    "payment_intent.processing": _intent,
    "payment_intent.payment_failed": _intent,
    "payment_intent.canceled": _intent,
    "payment_intent.requires_action": _intent,
    "checkout.session.completed": _page,
    "checkout.session.async_payment_succeeded": _page,
    "checkout.session.async_payment_failed": _page_failed,
    "checkout.session.expired": _page,
    "charge.refunded": _refunds_of,
    "charge.refund.updated": _refund,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
    "charge.dispute.created": _dispute,
    "charge.dispute.updated": _dispute,
    "charge.dispute.closed": _dispute,
    "charge.dispute.funds_withdrawn": _dispute,
    "charge.dispute.funds_reinstated": _dispute,
    "setup_intent.succeeded": _setup,
    "payment_method.attached": _attached,
    "payment_method.detached": _detached,
    "customer.deleted": _customer_gone,
})  # fmt: skip
"""Every kind that means something to us. Another one is an event without news."""
