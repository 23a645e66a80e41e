"""What PayPal's orders, captures, refunds and payouts say, as outcomes. Pure.

Only what is ours and has the amount that was asked for is believed: everything else is Unknown, for a person to see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agentpay.providers.outcomes import Declined, Outcome, Pending, RequiresAction, Succeeded, Unknown
from agentpay.providers.paypal_errors import DECLINES
from agentpay.providers.paypal_ids import Mark, reference
from agentpay.providers.paypal_money import read
from agentpay_policies.money import Money

_PAID: Final = frozenset({"COMPLETED", "REFUNDED", "PARTIALLY_REFUNDED"})
_WAITING: Final = frozenset({"CREATED", "SAVED", "PAYER_ACTION_REQUIRED"})
_PAGES: Final = ("payer-action", "approve")

_PAYOUT_DONE: Final = frozenset({"SUCCESS"})
_PAYOUT_OPEN: Final = frozenset({"PENDING", "UNCLAIMED", "ONHOLD", "HELD", "NEW"})
_PAYOUT_OVER: Final[Mapping[str, str]] = {
    "FAILED": "payout_failed",
    "DENIED": "payout_denied",
    "BLOCKED": "payout_blocked",
    "CANCELED": "payout_canceled",
    "RETURNED": "payout_returned",
    "REFUNDED": "payout_returned",
    "REVERSED": "payout_returned",
}


def order(found: object, *, key: str | None = None, expected: Mark | None = None) -> Outcome:
    """What an order says: of its captures, if it has some, else of its payer. `key`: whose it must be; `expected`: the
    mark that it must have, where that is known: the answer to a request of ours does not always carry it.

    `Pending` with the order's own reference: the payer approved, and nobody captured it yet. It is for us to go on.
    """
    if not isinstance(found, Mapping):
        return Unknown("PayPal's answer makes no sense")
    ref = reference("order", found.get("id"))
    unit, mark = unit_of(found), mark_of(found) or expected
    if unit is None and expected is not None and "purchase_units" not in found:
        unit = {}  # an answer in short
    if ref is None or unit is None:
        return Unknown("PayPal's answer is no order of one purchase")
    if mark is None or expected not in (None, mark) or key not in (None, mark.key):
        return Unknown(f"{ref} at PayPal is not the order that was asked for")
    if "amount" in unit and read(unit["amount"]) != mark.money:
        return Unknown(f"{ref} at PayPal is not of {mark.money}", ref)
    taken = list(_captures(unit))
    if taken:
        return _best([capture(one, expected=mark.money) for one in taken])
    return _uncaptured(found, ref)


def capture(found: object, *, expected: Money | None = None) -> Outcome:
    """What a capture says. `expected`: the amount that it must have; else that of the mark which it carries."""
    if not isinstance(found, Mapping):
        return Unknown("PayPal's answer makes no sense")
    ref = reference("capture", found.get("id"))
    mark, money = Mark.read(found.get("custom_id")), read(found.get("amount"))
    wanted = expected or (mark and mark.money)
    if ref is None or money is None or wanted is None:
        return Unknown("PayPal's answer is no capture of ours", ref)
    if money != wanted:
        return Unknown(f"PayPal captured {money}, and {wanted} was ordered", ref)
    status = found.get("status")
    if status in _PAID:
        return Succeeded(ref)
    if status == "PENDING":
        return Pending(ref)
    if status in ("DECLINED", "FAILED"):
        return Declined("capture_declined", f"PayPal's capture is {status}.", ref)
    return Unknown("PayPal's capture has a status that is not known", ref)


def refund(found: object, *, expected: Money, key: str | None = None) -> Outcome:
    """What a refund says. `key`: whose it must be, where it carries a mark."""
    if not isinstance(found, Mapping):
        return Unknown("PayPal's answer makes no sense")
    ref, mark = reference("refund", found.get("id")), Mark.read(found.get("custom_id"))
    if ref is None or read(found.get("amount")) != expected:
        return Unknown(f"PayPal's refund is not of {expected}", ref)
    if key is not None and mark is not None and mark.key != key:
        return Unknown("PayPal's refund is not the one that was asked for", ref)
    status = found.get("status")
    if status == "COMPLETED":
        return Succeeded(ref)
    if status == "PENDING":
        return Pending(ref)
    if status in ("FAILED", "CANCELLED"):
        return Declined("refund_failed", f"PayPal's refund is {status}.", ref)
    return Unknown("PayPal's refund has a status that is not known", ref)


def payout(found: object, *, expected: Money, key: str | None = None) -> Outcome:
    """What a payout says: of its one item once it has one, else of the batch. `key`: whose it must be.

    An item that is not claimed is pending: the receiver has 30 days, and then the money comes back.
    """
    header = found.get("batch_header") if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not isinstance(header, Mapping):
        return Unknown("PayPal's answer makes no sense")
    ref = reference("payout", header.get("payout_batch_id"))
    if ref is None:
        return Unknown("PayPal's answer is no payout")
    sender = header.get("sender_batch_header")
    if key is not None and (not isinstance(sender, Mapping) or sender.get("sender_batch_id") != key):
        return Unknown("PayPal's payout is not the one that was asked for", ref)
    items = found.get("items")
    if isinstance(items, list) and items:
        return payout_item(items[0], ref, expected=expected) if len(items) == 1 else Unknown("it has more items", ref)
    status = header.get("batch_status")
    if status in ("DENIED", "CANCELED"):
        return Declined(_PAYOUT_OVER[str(status)], f"PayPal's payout is {status}.", ref)
    return Pending(ref) if status in ("NEW", "PENDING", "PROCESSING", "SUCCESS") else Unknown("no known status", ref)


def payout_item(item: object, ref: str, *, expected: Money | None) -> Outcome:
    """What the item of a payout says."""
    if not isinstance(item, Mapping):
        return Unknown("PayPal's answer makes no sense", ref)
    what, status = item.get("payout_item"), item.get("transaction_status")
    if expected is not None and (not isinstance(what, Mapping) or read(what.get("amount")) != expected):
        return Unknown(f"PayPal's payout is not of {expected}", ref)
    if status in _PAYOUT_DONE:
        return Succeeded(ref)
    if status in _PAYOUT_OPEN:
        return Pending(ref)
    if isinstance(status, str) and status in _PAYOUT_OVER:
        errors = item.get("errors")
        issue = errors.get("name") if isinstance(errors, Mapping) else None
        code = DECLINES.get(issue, _PAYOUT_OVER[status]) if isinstance(issue, str) else _PAYOUT_OVER[status]
        return Declined(code, f"PayPal's payout is {status}: the money is back, or never left.", ref)
    return Unknown("PayPal's payout has a status that is not known", ref)


def unit_of(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The one purchase of an order."""
    units = found.get("purchase_units")
    one = units[0] if isinstance(units, list) and len(units) == 1 else None
    return one if isinstance(one, Mapping) else None


def mark_of(found: Mapping[str, Any]) -> Mark | None:
    """The mark of an order, from its purchase or from what was captured of it."""
    unit = unit_of(found)
    if unit is None:
        return None
    marks = (Mark.read(one.get("custom_id")) for one in (unit, *_captures(unit)))
    return next((mark for mark in marks if mark is not None), None)


def is_ours(found: Mapping[str, Any]) -> bool:
    """Whether an order carries our mark, and has the amount that the mark names."""
    unit, mark = unit_of(found), mark_of(found)
    return unit is not None and mark is not None and read(unit.get("amount")) == mark.money


def has_captures(found: Mapping[str, Any]) -> bool:
    """Whether something was captured of any of its purchases."""
    units = found.get("purchase_units")
    return any(
        isinstance(unit, Mapping) and unit.get("payments") for unit in (units if isinstance(units, list) else [])
    )


def refunds_of(found: object) -> Iterator[Mapping[str, Any]]:
    """The refunds that an order lists."""
    unit = unit_of(found) if isinstance(found, Mapping) else None
    return _payments(unit or {}, "refunds")


def page_of(found: Mapping[str, Any]) -> str | None:
    """Where the payer approves; None where PayPal names no page, or one that is not on the web."""
    links = found.get("links")
    known = {
        link.get("rel"): link.get("href")
        for link in (links if isinstance(links, list) else [])
        if isinstance(link, Mapping)
    }
    pages = (known.get(rel) for rel in _PAGES)
    return next((page for page in pages if isinstance(page, str) and page.startswith("https://")), None)


def next_of(found: Mapping[str, Any]) -> str | None:
    """The query by which a list goes on; None where it ends. The address itself is ours to know."""
    links = found.get("links")
    for link in links if isinstance(links, list) else []:
        href = link.get("href") if isinstance(link, Mapping) and link.get("rel") == "next" else None
        if isinstance(href, str) and href.isascii() and href.isprintable():
            return href.partition("?")[2] or None
    return None


def _uncaptured(found: Mapping[str, Any], ref: str) -> Outcome:
    status = found.get("status")
    if status == "APPROVED":
        return Pending(ref)
    if status == "VOIDED":
        return Declined("order_voided", "The order was voided at PayPal.", ref)
    if status not in _WAITING:
        return Unknown("PayPal's order has a status that is not known", ref)
    page = page_of(found)
    if page is None:
        return RequiresAction(ref, instructions="The customer approves it in their own app of PayPal or Venmo.")
    return RequiresAction(ref, url=page)


def _best(outcomes: list[Outcome]) -> Outcome:
    """What several captures of one order come to: a doubt first, then a success, then what may become one."""
    for kind in (Unknown, Succeeded, Pending):
        found = [outcome for outcome in outcomes if isinstance(outcome, kind)]
        if found:
            return found[0]
    return outcomes[-1]


def _captures(unit: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return _payments(unit, "captures")


def _payments(unit: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    payments = unit.get("payments")
    listed = payments.get(kind) if isinstance(payments, Mapping) else None
    return (one for one in (listed if isinstance(listed, list) else []) if isinstance(one, Mapping))
