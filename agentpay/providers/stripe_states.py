"""What an object of Stripe's means: its status as an outcome. Pure; a status that no row knows proves nothing, nor does
an object of another amount than the one that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentpay.providers.outcomes import Declined, Outcome, Pending, RequiresAction, Succeeded, Unknown
from agentpay.providers.stripe_errors import AUTHENTICATION, NO_METHOD, decline_of, declined
from agentpay.providers.stripe_requests import AMOUNT, OP, in_units

Object = Mapping[str, Any]

UNFINISHED: Final = "It was begun at Stripe and not paid. The operator goes on with it: continue_payment."
_UNPAID: Final = ("requires_payment_method", "requires_confirmation")


def is_unpaid(intent: Object) -> bool:
    """Whether an intent waits for a method, or for being confirmed with it."""
    return intent["status"] in _UNPAID


def is_as_asked(holder: Object) -> bool:
    """Whether an intent or a refund is of the amount that our mark on it names, and nothing less was captured. Somebody
    else's, and a page's, which Stripe may show in a currency of the customer's, have no mark."""
    asked = (holder.get("metadata") or {}).get(AMOUNT)
    amounts = [holder.get("amount")]
    if holder["status"] == "succeeded" and "amount_received" in holder:
        amounts.append(holder["amount_received"])
    return asked is None or all(asked == in_units(units, holder.get("currency")) for units in amounts)


def refusal_of(intent: Object) -> str | None:
    """Why the last try to pay an intent failed, as one of our codes; None where none failed."""
    error = intent.get("last_payment_error")
    if not error:
        return None
    code, decline_code = (str(error.get(name) or "") for name in ("code", "decline_code"))
    return decline_of(code, decline_code) or "generic_decline"


def of_intent(intent: Object) -> Outcome:
    """The outcome that an intent is, for the request that was to pay it."""
    reference, status = str(intent["id"]), intent["status"]
    if status == "canceled":
        return _of_canceled(intent)
    if not is_as_asked(intent):
        return Unknown("The intent is not of the amount that was asked for.", reference)
    if status == "succeeded":
        return Succeeded(reference)
    if status == "processing":
        return Pending(reference)
    if status == "requires_action":
        return RequiresAction(reference, url=_url(intent), instructions=None if _url(intent) else UNFINISHED)
    if is_unpaid(intent):
        refused = refusal_of(intent)
        if refused is None or refused == AUTHENTICATION:  # to be confirmed yet, or to be canceled yet: nobody else can
            return RequiresAction(reference, instructions=UNFINISHED)
        return declined(refused, reference)
    return Unknown(f"The intent is {str(status)[:40]!a}.", reference)


def _of_canceled(intent: Object) -> Declined:
    """A canceled intent can never be paid: the evidence on which a page may be offered, or the payment is over."""
    why = refusal_of(intent)
    if why is None:
        why = NO_METHOD if intent.get("cancellation_reason") == "abandoned" else "canceled"
    return declined(why, str(intent["id"]))


def _url(intent: Object) -> str | None:
    action = intent.get("next_action") or {}
    found = (action.get("redirect_to_url") or {}).get("url")
    return None if found is None else str(found)


def of_page(page: Object) -> Outcome:
    """The outcome that a checkout page is. `payment_intent` is the expanded intent, its id, or none."""
    reference = str(page["id"])
    if page["status"] == "open":
        return RequiresAction(reference, url=str(page["url"]))
    if page["status"] == "expired":
        return declined("checkout_expired", reference)
    if page["status"] != "complete":
        return Unknown(f"The page is {str(page['status'])[:40]!a}.", reference)
    paid = intent_id(page)
    if page["payment_status"] == "paid" and paid is not None:
        return Succeeded(paid)
    intent = page.get("payment_intent")
    if not isinstance(intent, Mapping) or intent["status"] in ("processing", "requires_action"):
        return Pending(reference)
    return of_intent(intent)


def intent_id(holder: Object) -> str | None:
    """The id of the intent of a page, refund or dispute, expanded or not."""
    intent = holder.get("payment_intent")
    return str(intent["id"]) if isinstance(intent, Mapping) else intent


def of_refund(refund: Object) -> Outcome:
    """The outcome that a refund is."""
    reference, status = str(refund["id"]), refund["status"]
    if not is_as_asked(refund):
        return Unknown("The refund is not of the amount that was asked for.", reference)
    if status == "succeeded":
        return Succeeded(reference)
    if status in ("pending", "requires_action"):
        return Pending(reference)
    if status in ("failed", "canceled"):
        return declined("refund_failed", reference)
    return Unknown(f"The refund is {str(status)[:40]!a}.", reference)


def made_by(holder: Object) -> str | None:
    """Which kind of request of ours made an intent; None where it is not ours."""
    metadata = holder.get("metadata") or {}
    found = metadata.get(OP)
    return None if found is None else str(found)
