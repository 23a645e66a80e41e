"""What PayPal's refusals mean: one closed table from its issues. What it does not know is Unknown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from agentpay.providers.outcomes import Declined, NotSent, Outcome, Unknown

Meaning = Literal["not_approved", "done", "gone"]
"""What is no outcome yet: the payer has to approve; it was done already, so it is looked up; there is no such thing."""

DECLINES: Final[Mapping[str, str]] = {
    # The payer, or what they pay with.
    "INSTRUMENT_DECLINED": "instrument_declined",
    "PAYMENT_SOURCE_DECLINED_BY_PROCESSOR": "instrument_declined",
    "ALIAS_DECLINED_BY_PROCESSOR": "instrument_declined",
    "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING": "instrument_declined",
    "CARD_EXPIRED": "expired_card",
    "REFERENCED_CARD_EXPIRED": "expired_card",
    "PAYER_CANNOT_PAY": "payer_cannot_pay",
    "PAYER_ACCOUNT_RESTRICTED": "payer_restricted",
    "PAYER_ACCOUNT_LOCKED_OR_CLOSED": "payer_restricted",
    "PAYMENT_SOURCE_INFO_CANNOT_BE_VERIFIED": "payment_source_refused",
    "PAYMENT_SOURCE_CANNOT_BE_USED": "payment_source_refused",
    "MISMATCHED_VAULT_ID_TO_PAYMENT_SOURCE": "payment_source_refused",
    "PAYMENT_SOURCE_NOT_SUPPORTED": "payment_source_refused",
    "PAYMENT_SOURCE_MISMATCH": "payment_source_refused",
    "TOKEN_ID_NOT_FOUND": "saved_method_gone",
    "TOKEN_EXPIRED": "saved_method_gone",
    "BILLING_AGREEMENT_NOT_FOUND": "saved_method_gone",
    "AGREEMENT_ALREADY_CANCELLED": "saved_method_gone",
    "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED": "too_many_attempts",
    # Rules of PayPal's, or of the payee's account.
    "TRANSACTION_REFUSED": "transaction_refused",
    "TRANSACTION_BLOCKED_BY_PAYEE": "transaction_refused",
    "PAYEE_BLOCKED_TRANSACTION": "transaction_refused",
    "COMPLIANCE_VIOLATION": "compliance",
    "TRANSACTION_LIMIT_EXCEEDED": "limit_exceeded",
    "TRANSACTION_RECEIVING_LIMIT_EXCEEDED": "limit_exceeded",
    "DOMESTIC_TRANSACTION_REQUIRED": "country_not_supported",
    "PAYEE_ACCOUNT_INVALID": "payee_refused",
    "PAYEE_ACCOUNT_NOT_VERIFIED": "payee_refused",
    "PAYEE_ACCOUNT_RESTRICTED": "payee_refused",
    "PAYEE_ACCOUNT_LOCKED_OR_CLOSED": "payee_refused",
    "INVALID_ACCOUNT_STATUS": "payee_refused",
    "NOT_ENABLED_TO_VAULT_PAYMENT_SOURCE": "not_enabled",
    # The order.
    "ORDER_EXPIRED": "order_expired",
    # What we asked for.
    "INVALID_CURRENCY_CODE": "currency_refused",
    "CURRENCY_NOT_SUPPORTED": "currency_refused",
    "CURRENCY_NOT_SUPPORTED_FOR_COUNTRY": "currency_refused",
    "DECIMAL_PRECISION": "amount_refused",
    "DECIMALS_NOT_SUPPORTED": "amount_refused",
    "CANNOT_BE_ZERO_OR_NEGATIVE": "amount_refused",
    "CANNOT_BE_NEGATIVE": "amount_refused",
    "MAX_VALUE_EXCEEDED": "amount_refused",
    "AMOUNT_MISMATCH": "amount_refused",
    "INVALID_REQUEST": "request_refused",
    "MALFORMED_REQUEST": "request_refused",
    "MALFORMED_REQUEST_JSON": "request_refused",
    "VALIDATION_ERROR": "request_refused",
    "INVALID_PARAMETER": "request_refused",
    "INVALID_PARAMETER_SYNTAX": "request_refused",
    "INVALID_PARAMETER_VALUE": "request_refused",
    "INVALID_STRING_LENGTH": "request_refused",
    "INVALID_STRING_MAX_LENGTH": "request_refused",
    "MISSING_REQUIRED_PARAMETER": "request_refused",
    "PAYPAL_REQUEST_ID_REQUIRED": "request_refused",
    "INCOMPATIBLE_PARAMETER_VALUE": "request_refused",
    # Refunds.
    "CAPTURE_FULLY_REFUNDED": "already_refunded",
    "REFUND_AMOUNT_EXCEEDED": "refund_exceeds_charge",
    "REFUND_AMOUNT_TOO_LOW": "amount_refused",
    "REFUND_CAPTURE_CURRENCY_MISMATCH": "currency_refused",
    "CURRENCY_MISMATCH": "currency_refused",
    "REFUND_NOT_ALLOWED": "refund_refused",
    "REFUND_IS_RESTRICTED": "refund_refused",
    "PARTIAL_REFUND_NOT_ALLOWED": "refund_refused",
    "MAX_NUMBER_OF_REFUNDS_EXCEEDED": "refund_refused",
    "REFUND_TIME_LIMIT_EXCEEDED": "refund_too_late",
    "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK": "disputed",
    "TRANSACTION_DISPUTED": "disputed",
    "REFUND_FAILED_INSUFFICIENT_FUNDS": "insufficient_funds",
    "PENDING_CAPTURE": "capture_pending",
    # Payouts.
    "INSUFFICIENT_FUNDS": "insufficient_funds",
    "RECEIVER_UNREGISTERED": "receiver_refused",
    "RECEIVER_UNCONFIRMED": "receiver_refused",
    "RECEIVER_ACCOUNT_LOCKED": "receiver_refused",
    "RECEIVER_COUNTRY_NOT_ALLOWED": "receiver_refused",
    "RECEIVING_LIMIT_EXCEEDED": "limit_exceeded",
    "SENDING_LIMIT_EXCEEDED": "limit_exceeded",
    "CURRENCY_COMPLIANCE": "compliance",
    "REGULATORY_BLOCKED": "compliance",
    "REGULATORY_PENDING": "compliance",
    "RISK_DECLINE": "transaction_refused",
    "SENDER_ACCOUNT_LOCKED": "sender_refused",
    "SENDER_ACCOUNT_UNVERIFIED": "sender_refused",
}
"""Refusals for good, by PayPal's issue, or its error's name where it has none. The codes are ours, and closed."""

MEANINGS: Final[Mapping[str, Meaning]] = {
    "ORDER_NOT_APPROVED": "not_approved",
    "ORDER_IS_PENDING_APPROVAL": "not_approved",
    "PAYER_ACTION_REQUIRED": "not_approved",
    "CONSENT_NEEDED": "not_approved",
    "ORDER_ALREADY_CAPTURED": "done",
    "ORDER_ALREADY_COMPLETED": "done",
    "ORDER_COMPLETED_OR_VOIDED": "done",  # the order itself says which of the two
}

CREDENTIALS: Final = "PayPal refused our credentials: they are wrong, revoked, or of its other environment"

_NOT_PERMITTED: Final = frozenset({"NOT_AUTHORIZED", "PERMISSION_DENIED", "AUTHORIZATION_ERROR"})


@dataclass(frozen=True)
class Problem:
    """An answer of PayPal's that is no success. `issue` is its own word, fit to be shown: it has no text of others."""

    status: int
    issue: str

    @property
    def means(self) -> Meaning | None:
        """What has to be done about it; None where it is an outcome."""
        if self.status == 404:
            return "gone"
        return MEANINGS.get(self.issue) if self.status in (400, 422) else None


def problem(status: int, body: object) -> Problem:
    """What an answer says, by its first issue."""
    return Problem(status, _issue(body) or f"STATUS_{status}")


def outcome_of(problem: Problem, reference: str | None = None) -> Outcome:
    """What an answer proves: nothing, but what is in the tables, and a refusal by which nothing was begun."""
    if problem.status == 401:
        return NotSent(f"{CREDENTIALS} ({problem.issue}).")
    if problem.status == 403 and problem.issue in _NOT_PERMITTED:
        return NotSent(f"PayPal does not permit this to the account ({problem.issue}).")
    if problem.status == 429:
        return NotSent(f"PayPal takes no more requests for now ({problem.issue}).")
    code = DECLINES.get(problem.issue) if problem.status in (400, 403, 422) else None
    if code is not None:
        return Declined(code, f"PayPal said no: {problem.issue}.", reference)
    return Unknown(f"PayPal answered {problem.status} {problem.issue}", reference)


def _issue(body: object) -> str | None:
    """PayPal's issue, else the name of its error. Only words are taken: no text that came from outside."""
    if not isinstance(body, Mapping):
        return None
    details = body.get("details")
    first: Any = details[0] if isinstance(details, list) and details else None
    issue = first.get("issue") if isinstance(first, Mapping) else None
    for word in (issue, body.get("name"), body.get("error")):
        if isinstance(word, str) and 0 < len(word) <= 80 and word.replace("_", "").isalnum() and word.isascii():
            return word.upper()
    return None
