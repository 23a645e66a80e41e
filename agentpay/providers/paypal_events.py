"""What PayPal's events tell, as news. Pure. An event that means nothing to us, or makes no sense, has none."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from agentpay.errors import WebhookInvalid
from agentpay.providers import paypal_reading as reading
from agentpay.providers.events import (
    AttemptNews,
    DisputeNews,
    MethodNews,
    News,
    RefundNews,
    ReversalNews,
    WebhookEvent,
)
from agentpay.providers.outcomes import Declined, Outcome, Pending, Unknown
from agentpay.providers.paypal_ids import WALLETS, Mark, reference
from agentpay.providers.paypal_money import read
from agentpay_policies.money import Money

logger = logging.getLogger(__name__)

Resource = Mapping[str, Any]
Reader = Callable[[str, Resource], News | None]

_REFUNDS: Final[Mapping[str, Literal["pending", "succeeded", "failed"]]] = {
    "PENDING": "pending",
    "COMPLETED": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "failed",
}
_WON: Final = frozenset(
    {"RESOLVED_SELLER_FAVOUR", "RESOLVED_SELLER_FAVOR", "RESOLVED_WITH_PAYOUT", "CANCELED_BY_BUYER", "DENIED"}
)
_LOST: Final = frozenset({"RESOLVED_BUYER_FAVOUR", "RESOLVED_BUYER_FAVOR", "ACCEPTED"})
_COME_BACK: Final = frozenset({"PAYMENT.PAYOUTS-ITEM.REFUNDED", "PAYMENT.PAYOUTS-ITEM.RETURNED"})
_WORD: Final = re.compile(r"[A-Z][A-Z0-9._-]{0,99}\Z")


def webhook_event(told: object, account: str) -> WebhookEvent:
    """An event of PayPal's, once it is known to be so.

    Raises:
        WebhookInvalid: it is not of the form that PayPal's events have.
    """
    if not isinstance(told, Mapping):
        raise WebhookInvalid("PayPal's event makes no sense.")
    identifier, kind, at = told.get("id"), told.get("event_type"), _moment(told.get("create_time"))
    if not isinstance(identifier, str) or not 0 < len(identifier) <= 100 or at is None:
        raise WebhookInvalid("PayPal's event has no id, or no time.")
    if not isinstance(kind, str) or not _WORD.match(kind):
        raise WebhookInvalid("PayPal's event is of no kind.")
    resource, reader = told.get("resource"), _READERS.get(kind)
    news = reader(kind, resource) if reader is not None and isinstance(resource, Mapping) else None
    back = _payout_back(kind, resource) if isinstance(news, AttemptNews) and isinstance(resource, Mapping) else ()
    return WebhookEvent(identifier, account, kind, at, () if news is None else (news, *back))


def webhook_events(told: Sequence[object], account: str) -> Iterator[WebhookEvent]:
    """The events of a list. One that makes no sense keeps no other from being told."""
    for one in told:
        try:
            yield webhook_event(one, account)
        except WebhookInvalid as exc:
            logger.warning("an event that PayPal lists is left out: %s", exc.message)


def _order(kind: str, found: Resource) -> News | None:
    ref, mark = reference("order", found.get("id")), reading.mark_of(found)
    if ref is None or mark is None:
        return None
    return _attempt(Pending(ref) if kind == "CHECKOUT.ORDER.APPROVED" else reading.order(found), mark, ref)


def _approval_reversed(_kind: str, found: Resource) -> News | None:
    """The payer approved, and nobody captured it in time."""
    ref = reference("order", found.get("order_id", found.get("id")))
    if ref is None:
        return None
    outcome = Declined("approval_expired", "The approval expired before anything was captured.", ref)
    return AttemptNews("charge", outcome, reference=ref)


def _capture(_kind: str, found: Resource) -> News | None:
    mark = Mark.read(found.get("custom_id"))
    return None if mark is None else _attempt(reading.capture(found), mark, _related(found, "order_id", "order"))


def _attempt(outcome: Outcome, mark: Mark, order: str | None) -> News | None:
    """News of a charge. Of one in two steps the mark names the attempt that made the order; what was captured of it
    belongs to a later one, which is found by what PayPal calls it, or by that order."""
    ref = getattr(outcome, "reference", None)
    if isinstance(outcome, Unknown) or ref is None:
        return None
    if ref == order:
        return AttemptNews("charge", outcome, key=mark.key, reference=ref)
    return AttemptNews("charge", outcome, key=mark.key if mark.steps == 1 else None, reference=ref, parent=order)


def _refund(_kind: str, found: Resource) -> News | None:
    charge, ref = _related(found, "capture_id", "capture"), reference("refund", found.get("id"))
    money, status = read(found.get("amount")), _REFUNDS.get(str(found.get("status")))
    if charge is None or ref is None or money is None or status is None:
        return None
    mark = Mark.read(found.get("custom_id"))
    return RefundNews(charge, ref, money, status, key=mark.key if mark is not None and mark.steps == 0 else None)


def _reversal(_kind: str, found: Resource) -> News | None:
    charge, ref = _related(found, "capture_id", "capture"), reference("refund", found.get("id"))
    money = read(found.get("amount"))
    if charge is None or ref is None or money is None:
        return None
    return ReversalNews(charge, ref, money, "reversed", _word(_at(found, "status_details", "reason")) or "reversed")


def _method(kind: str, found: Resource) -> News | None:
    source, identifier = found.get("payment_source"), found.get("id")
    names = source if isinstance(source, Mapping) else {}
    wallet = next((one for one in sorted(WALLETS) if one in names), "paypal" if not names else None)
    if wallet is None or reference("order", identifier) is None:
        return None
    setup = _at(found, "customer", "merchant_customer_id")
    removed = kind != "VAULT.PAYMENT-TOKEN.CREATED"
    return MethodNews(
        f"{wallet}:{identifier}", "removed" if removed else "saved", setup if isinstance(setup, str) else None
    )


def _payout_item(_kind: str, found: Resource) -> News | None:
    ref, key = reference("payout", found.get("payout_batch_id")), found.get("sender_batch_id")
    if ref is None or not isinstance(key, str):
        return None
    outcome = reading.payout_item(found, ref, expected=None)
    return None if isinstance(outcome, Unknown) else AttemptNews("charge", outcome, key=key, reference=ref)


def _payout_back(kind: str, found: Resource) -> tuple[News, ...]:
    """A payout came back: what that is to one that had succeeded. One that had not is declined by the same event."""
    ref, money = reference("payout", found.get("payout_batch_id")), read(_at(found, "payout_item", "amount"))
    if kind not in _COME_BACK or ref is None or money is None:
        return ()
    return (ReversalNews(ref, ref, money, "reversed", kind.rpartition(".")[2].lower()),)


def _payout_batch(_kind: str, found: Resource) -> News | None:
    """What is known of a payout before its item is told: that PayPal has it, and by which id."""
    key = _at(found, "batch_header", "sender_batch_header", "sender_batch_id")
    ref = reference("payout", _at(found, "batch_header", "payout_batch_id"))
    if ref is None or not isinstance(key, str):
        return None
    if _at(found, "batch_header", "batch_status") == "DENIED":
        return AttemptNews(
            "charge", Declined("payout_denied", "PayPal's payout is DENIED.", ref), key=key, reference=ref
        )
    return AttemptNews("charge", Pending(ref), key=key, reference=ref)


def _dispute(_kind: str, found: Resource) -> News | None:
    disputed = found.get("disputed_transactions")
    first = disputed[0] if isinstance(disputed, list) and disputed else None
    charge = reference("capture", first.get("seller_transaction_id")) if isinstance(first, Mapping) else None
    ref, money = reference("dispute", found.get("dispute_id")), read(found.get("dispute_amount"))
    if charge is None or ref is None or money is None:
        return None
    decision = str(_at(found, "dispute_outcome", "outcome_code") or "")
    status: Literal["open", "won", "lost"] = "won" if decision in _WON else "lost" if decision in _LOST else "open"
    if status == "lost":
        money = _part(read(_at(found, "dispute_outcome", "amount_refunded")), money)
    return DisputeNews(charge, ref, money, status, _word(found.get("reason")) or "other")


def _part(refunded: Money | None, disputed: Money) -> Money:
    """What the buyer gets of a dispute that they won; all of it, where that is not told or makes no sense."""
    fits = refunded is not None and refunded.currency == disputed.currency and 0 < refunded.minor <= disputed.minor
    return refunded if refunded is not None and fits else disputed


_READERS: Final[Mapping[str, Reader]] = {
    "CHECKOUT.ORDER.APPROVED": _order,
    "CHECKOUT.ORDER.COMPLETED": _order,
    "CHECKOUT.ORDER.VOIDED": _order,
    "CHECKOUT.PAYMENT-APPROVAL.REVERSED": _approval_reversed,
    "PAYMENT.CAPTURE.COMPLETED": _capture,
    "PAYMENT.CAPTURE.DECLINED": _capture,
    "PAYMENT.CAPTURE.DENIED": _capture,
    "PAYMENT.CAPTURE.PENDING": _capture,
    "PAYMENT.CAPTURE.REFUNDED": _refund,
    "PAYMENT.CAPTURE.REVERSED": _reversal,
    "PAYMENT.REFUND.PENDING": _refund,
    "PAYMENT.REFUND.FAILED": _refund,
    "VAULT.PAYMENT-TOKEN.CREATED": _method,
    "VAULT.PAYMENT-TOKEN.DELETED": _method,
    "PAYMENT.PAYOUTSBATCH.DENIED": _payout_batch,
    "PAYMENT.PAYOUTSBATCH.PROCESSING": _payout_batch,
    "PAYMENT.PAYOUTSBATCH.SUCCESS": _payout_batch,
    "PAYMENT.PAYOUTS-ITEM.BLOCKED": _payout_item,
    "PAYMENT.PAYOUTS-ITEM.CANCELED": _payout_item,
    "PAYMENT.PAYOUTS-ITEM.DENIED": _payout_item,
    "PAYMENT.PAYOUTS-ITEM.FAILED": _payout_item,
    "PAYMENT.PAYOUTS-ITEM.HELD": _payout_item,
    "PAYMENT.PAYOUTS-ITEM.REFUNDED": _payout_item,
    "PAYMENT.PAYOUTS-ITEM.RETURNED": _payout_item,
    "PAYMENT.PAYOUTS-ITEM.SUCCEEDED": _payout_item,
    "PAYMENT.PAYOUTS-ITEM.UNCLAIMED": _payout_item,
    "CUSTOMER.DISPUTE.CREATED": _dispute,
    "CUSTOMER.DISPUTE.UPDATED": _dispute,
    "CUSTOMER.DISPUTE.RESOLVED": _dispute,
}

EVENTS: Final = tuple(_READERS)
"""The events that mean something to us, for the registration of a webhook."""


def _related(found: Resource, name: str, thing: Literal["order", "capture"]) -> str | None:
    """What a resource belongs to: by the ids that are related to it, or by its link upwards."""
    ref = reference(thing, _at(found, "supplementary_data", "related_ids", name))
    links = found.get("links")
    part = f"/{thing}s/"
    for link in links if isinstance(links, list) else []:
        href = link.get("href") if isinstance(link, Mapping) and link.get("rel") == "up" else None
        if ref is None and isinstance(href, str) and part in href:
            ref = reference(thing, href.rpartition("/")[2])
    return ref


def _at(found: object, *path: str) -> object:
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _word(value: object) -> str | None:
    """A word of PayPal's, in lower case."""
    return value.lower() if isinstance(value, str) and _WORD.match(value) else None


def _moment(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None else at.astimezone(UTC)
