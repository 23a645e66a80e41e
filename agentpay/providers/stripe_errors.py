"""What Stripe's refusals mean: closed tables, one row a case. What no row knows proves nothing. Pure.

A row is by what Stripe's own texts promise: a declined card moved no money, a refused parameter did nothing. The codes
on the right are ours; where Stripe asks that the customer is not told more (a card reported stolen), ours says no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from agentpay.providers.outcomes import Declined, NotSent, Outcome, Unknown

AUTHENTICATION: Final = "authentication_required"
NO_METHOD: Final = "no_saved_method"
EXPIRED: Final = "expired_card"

DECLINES: Final[Mapping[str, str]] = MappingProxyType({
    "approve_with_id": "generic_decline",
    "authentication_not_handled": AUTHENTICATION,
    "authentication_required": AUTHENTICATION,
    "call_issuer": "generic_decline",
    "card_not_supported": "card_not_supported",
    "card_velocity_exceeded": "limit_exceeded",
    "currency_not_supported": "currency_not_supported",
    "debit_not_authorized": "not_authorized",
    "do_not_honor": "generic_decline",
    "do_not_try_again": "generic_decline",
    "duplicate_transaction": "duplicate_transaction",
    "expired_card": EXPIRED,
    "fraudulent": "generic_decline",
    "generic_decline": "generic_decline",
    "incorrect_address": "incorrect_details",
    "incorrect_cvc": "incorrect_details",
    "incorrect_number": "incorrect_details",
    "incorrect_pin": "incorrect_details",
    "incorrect_zip": "incorrect_details",
    "insufficient_funds": "insufficient_funds",
    "invalid_account": "invalid_account",
    "invalid_amount": "amount_refused",
    "invalid_cvc": "incorrect_details",
    "invalid_expiry_month": "incorrect_details",
    "invalid_expiry_year": "incorrect_details",
    "invalid_number": "incorrect_details",
    "invalid_pin": "incorrect_details",
    "issuer_not_available": "try_again_later",
    "lost_card": "generic_decline",
    "merchant_blacklist": "generic_decline",
    "mobile_device_authentication_required": AUTHENTICATION,
    "new_account_information_available": "generic_decline",
    "no_action_taken": "generic_decline",
    "not_permitted": "generic_decline",
    "offline_pin_required": AUTHENTICATION,
    "online_or_offline_pin_required": AUTHENTICATION,
    "pickup_card": "generic_decline",
    "pin_try_exceeded": "limit_exceeded",
    "previously_declined_do_not_retry": "generic_decline",
    "processing_error": "try_again_later",
    "reenter_transaction": "try_again_later",
    "restricted_card": "generic_decline",
    "revocation_of_all_authorizations": "not_authorized",
    "revocation_of_authorization": "not_authorized",
    "security_violation": "generic_decline",
    "service_not_allowed": "generic_decline",
    "stolen_card": "generic_decline",
    "stop_payment_order": "not_authorized",
    "testmode_decline": "testmode_decline",
    "transaction_not_allowed": "generic_decline",
    "try_again_later": "try_again_later",
    "withdrawal_count_limit_exceeded": "limit_exceeded",
})  # fmt: skip
"""Stripe's decline codes, and those of its card errors that have no decline code of their own."""

REFUSALS: Final[Mapping[str, str]] = MappingProxyType({
    "account_closed": "invalid_account",
    "account_invalid": "payee_refused",
    "amount_too_large": "amount_too_large",
    "amount_too_small": "amount_too_small",
    "charge_already_refunded": "charge_already_refunded",
    "charge_disputed": "charge_disputed",
    "country_unsupported": "country_unsupported",
    "insufficient_capabilities_for_transfer": "payee_refused",
    "invalid_charge_amount": "amount_refused",
    "invalid_charge_amount_no_decimal_compatible": "amount_refused",
    "livemode_mismatch": "mode_mismatch",
    "parameter_invalid_integer": "amount_refused",
    "payment_intent_incompatible_payment_method": "card_not_supported",
    "payment_method_currency_mismatch": "currency_not_supported",
    "payment_method_customer_decline": "generic_decline",
    "payment_method_not_available": "try_again_later",
    "payment_method_provider_decline": "generic_decline",
    "payment_method_provider_timeout": "try_again_later",
    "payment_method_unactivated": "method_not_activated",
    "refund_disputed_payment": "charge_disputed",
    "resource_missing": "resource_missing",
    "testmode_charges_only": "mode_mismatch",
    "transfers_not_allowed": "payee_refused",
})  # fmt: skip
"""Codes of requests that Stripe refused (status 400, 402 or 404) before anything was done."""

PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({
    "amount": "amount_refused",
    "currency": "currency_not_supported",
    "line_items[0][price_data][currency]": "currency_not_supported",
    "line_items[0][price_data][unit_amount]": "amount_refused",
    "payment_intent": "resource_missing",
    "transfer_data[destination]": "payee_refused",
    "on_behalf_of": "payee_refused",
})  # fmt: skip
"""Parameters that Stripe names where it refuses a request without a code: a currency the account lacks, a refund of
more than is left."""

MESSAGES: Final[Mapping[str, str]] = MappingProxyType({
    "amount_refused": "Stripe does not take this amount.",
    "amount_too_large": "The amount is more than Stripe charges at once.",
    "amount_too_small": "The amount is less than Stripe charges.",
    AUTHENTICATION: "The customer's bank wants the customer to authenticate. Make a checkout for them.",
    "canceled": "The payment was canceled at Stripe.",
    "card_not_supported": "The customer's method cannot be used for this.",
    "charge_already_refunded": "Nothing is left of the charge to refund.",
    "charge_disputed": "The charge is disputed: it cannot be refunded.",
    "checkout_expired": "The page was not paid in time.",
    "country_unsupported": "Stripe does not do this in the account's country.",
    "currency_not_supported": "The account, or the customer's method, cannot be charged in this currency.",
    "duplicate_transaction": "The bank takes it for a repeat of a payment made a moment ago.",
    EXPIRED: "The customer's card has expired.",
    "generic_decline": "The customer's bank declined, and said no more.",
    "incorrect_details": "The details of the customer's method are not right.",
    "insufficient_funds": "The customer's method has too little on it.",
    "invalid_account": "The account behind the customer's method is closed or wrong.",
    "limit_exceeded": "A limit of the customer's method is exceeded.",
    "method_not_activated": "The Stripe account has not activated this kind of method.",
    "mode_mismatch": "Test and live were mixed at Stripe.",
    NO_METHOD: "The customer has no saved method at Stripe. Make a checkout for them.",
    "not_authorized": "The customer withdrew the permission to charge.",
    "payee_refused": "Stripe cannot pay this account.",
    "refund_failed": "The refund failed at Stripe: the money is still with the operator.",
    "resource_missing": "Stripe does not know the customer, the method or the charge.",
    "testmode_decline": "A test card was used in live mode, or the other way round.",
    "try_again_later": "The bank or Stripe cannot do it at present.",
})  # fmt: skip
"""What each of our codes says. Nothing of what Stripe wrote is passed on."""


_PAID_PERHAPS: Final = frozenset({"succeeded", "processing", "requires_capture"})
"""What an intent that comes with a refusal must not be, for the refusal to say that it is not paid."""


@dataclass(frozen=True)
class Fault:
    """What came back instead of an answer: the status (None: none came), and what Stripe's error says."""

    status: int | None
    kind: str = ""
    code: str = ""
    decline_code: str = ""
    param: str = ""
    intent_status: str = ""
    request_id: str = ""
    connected: bool = True

    @property
    def evidence(self) -> str:
        """What may be kept of it: no text of Stripe's, which could have anything in it."""
        where = f" ({self.request_id})" if self.request_id else ""
        what = f"status {self.status}" if self.status is not None else "no answer"
        return f"Stripe: {what}, {self.kind or 'no type'}, {self.code or 'no code'}{where}"


def declined(code: str, reference: str | None = None) -> Declined:
    """A decline by one of our codes."""
    return Declined(code, MESSAGES[code], reference)


def outcome_of(fault: Fault, reference: str | None = None) -> Outcome:
    """What a fault proves of the request that met it. `reference` is Stripe's id of what the request was about."""
    if fault.status is None:
        return Unknown(fault.evidence, reference) if fault.connected else NotSent("No connection to Stripe was made.")
    if fault.status in (401, 403, 429):  # refused at the door, by the key or for the rate: nothing was done
        return NotSent(fault.evidence)
    if fault.kind == "idempotency_error":  # it says nothing about the request that the key belongs to
        return Unknown(fault.evidence, reference)
    if fault.intent_status in _PAID_PERHAPS:  # this request was refused, and an earlier one was not
        return Unknown(fault.evidence, reference)
    if fault.status == 402 and fault.kind == "card_error":
        return _of_card(fault, reference)
    if fault.status in (400, 402, 404) and fault.kind == "invalid_request_error":
        code = REFUSALS.get(fault.code) if fault.code else PARAMETERS.get(fault.param)
        return Unknown(fault.evidence, reference) if code is None else declined(code, reference)
    return Unknown(fault.evidence, reference)


def decline_of(code: str, decline_code: str) -> str | None:
    """Our code for a card error's; None where no row has it."""
    return DECLINES.get(decline_code) or DECLINES.get(code) or REFUSALS.get(code)


def _of_card(fault: Fault, reference: str | None) -> Outcome:
    """A card error. One that no row knows is a decline only where Stripe sent the intent along, unpaid."""
    code = decline_of(fault.code, fault.decline_code)
    if code is None and fault.intent_status == "requires_payment_method":
        code = "generic_decline"
    return Unknown(fault.evidence, reference) if code is None else declined(code, reference)
