"""Rows as results: what a caller gets to see."""

from __future__ import annotations

from typing import Final

from agentpay.customers import service as customers
from agentpay.errors import AgentPayError, NotSent, PaymentDeclined, PolicyDenied
from agentpay.payments.models import Dispute, Payment, PaymentStatus, Refund
from agentpay.spending import approvals
from agentpay.storage import texts
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.codes import VIOLATIONS
from agentpay_policies.decisions import Violation
from agentpay_policies.money import Money

_NEXT: Final[dict[PaymentStatus, str]] = {
    "approval_required": "A person must approve. Then repeat the call with the same idempotency key.",
    "pending": "The provider is at work. Read the payment again later; do not pay again.",
    "requires_action": "The customer must act: give them the url. Do not pay again.",
    "unknown": "The outcome is not known yet. Do not pay again: it is looked up until it is known.",
    "succeeded": "",
    "declined": "Ask the customer for another way to pay, then use a new idempotency key.",
    "not_sent": "Nothing was sent. Repeat with the same idempotency key.",
    "refused": "It was not approved. Do not repeat it.",
    "canceled": "It was canceled. Nothing was paid.",
}


def payment_view(tx: Tx, row: Row, *, replayed: bool = False) -> Payment:
    """A payment as it stands."""
    approval = approvals.latest(tx, row.id) if row.status in ("approval_required", "refused") else None
    money = Money.from_minor(row.amount_minor, row.currency)
    next_step = _NEXT[row.status]
    if row.status == "requires_action" and row.url is None:
        how = texts.text_of(tx, row.id, "instructions")
        next_step = f"The customer must act: {how or 'ask the operator how.'} Do not pay again."
    if row.status == "approval_required" and approval is not None and approval.status == "approved":
        next_step = "Approved, and not paid yet: repeat the call with the same idempotency key; it runs once."
    return Payment(
        id=row.id,
        status=row.status,
        direction=row.direction,
        customer=customers.by_id(tx, row.customer_id).external_id,
        amount=money.amount,
        currency=row.currency,
        payee=row.payee,
        provider=row.provider,
        refunded=Money.from_minor(row.refunded_minor, row.currency).amount,
        created_at=row.created_at,
        url=row.url if row.status == "requires_action" else None,
        approval_id=None if approval is None else approval.id,
        next_step=next_step,
        replayed=replayed,
        description=texts.text_of(tx, row.id, "description"),
        decline_code=row.decline_code,
        late=row.late,
        disputed=Money.from_minor(row.disputed_minor, row.currency).amount,
        updated_at=row.updated_at,
        expires_at=None if approval is None else approval.expires_at,
    )


def refund_view(tx: Tx, row: Row, *, replayed: bool = False) -> Refund:
    """A refund as it stands."""
    approval = approvals.latest(tx, row.id) if row.status in ("approval_required", "refused") else None
    return Refund(
        id=row.id,
        payment_id=row.payment_id,
        status=row.status,
        amount=Money.from_minor(row.amount_minor, row.currency).amount,
        currency=row.currency,
        reason=texts.text_of(tx, row.id, "description"),
        replayed=replayed,
        approval_id=None if approval is None else approval.id,
        next_step=_NEXT[row.status],
        created_at=row.created_at,
        expires_at=None if approval is None else approval.expires_at,
        at_provider=row.origin != "agentpay",
        returned=row.returned and row.status == "succeeded",
    )


def dispute_view(row: Row) -> Dispute:
    """A dispute or reversal as it stands."""
    return Dispute(
        id=row.id,
        payment_id=row.payment_id,
        provider=row.provider,
        kind=row.kind,
        reference=row.reference,
        status=row.status,
        amount=Money.from_minor(row.amount_minor, row.currency).amount,
        withdrawn=Money.from_minor(row.withdrawn_minor, row.currency).amount,
        currency=row.currency,
        reason=row.reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def refusal_of(tx: Tx, row: Row) -> AgentPayError | None:
    """What is raised where a call ends on this row; None where the row is an answer."""
    if row.status == "declined":
        message = texts.text_of(tx, row.id, "decline") or "The payment was declined."
        return PaymentDeclined(message, payment_id=row.id, decline_code=row.decline_code or "generic_decline")
    if row.status == "not_sent":
        return NotSent("The request did not reach the provider.", payment_id=row.id)
    if row.status == "canceled":
        return PaymentDeclined("The payment was canceled.", payment_id=row.id, decline_code="canceled")
    if row.status == "refused":
        return _not_approved(tx, row)
    return None


def _not_approved(tx: Tx, row: Row) -> PolicyDenied:
    approval = approvals.latest(tx, row.id)
    denied = approval is not None and approval.status == "denied"
    code = "APPROVAL_DENIED" if denied else "APPROVAL_EXPIRED"
    message = "A person decided against it." if denied else "Nobody approved it in time."
    violation = Violation(code=code, message=message, next_step=VIOLATIONS[code].next_step)
    return PolicyDenied(message, violations=(violation,), payment_id=row.id, next_step=violation.next_step)
