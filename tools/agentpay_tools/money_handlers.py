"""The tools that move money: charge, subscribe, refund; and cancel_subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpay.payments.models import Payment
from agentpay_tools import arguments as given
from agentpay_tools import outputs as out
from agentpay_tools import texts
from agentpay_tools.handle import Handle
from agentpay_tools.spec import Answer

if TYPE_CHECKING:
    from agentpay.subscriptions.models import Subscription

_UNDER_WAY = frozenset({"pending", "requires_action", "approval_required", "unknown"})


def charge(handle: Handle, args: given.Charge) -> Answer[out.ChargeOutput]:
    """Charge a customer, or send where the payee is one that is sent to."""
    payment = handle.charge(
        args.customer,
        args.amount,
        args.currency,
        description=args.description,
        idempotency_key=args.idempotency_key,
        payee=args.payee,
        provider=args.provider,
        method=args.method,
        distinct_from=args.distinct_from,
    )
    body = out.ChargeOutput.model_validate(
        {
            "status": payment.status,
            "payment_id": payment.id,
            "direction": payment.direction,
            "customer": payment.customer,
            "amount": payment.amount,
            "currency": payment.currency,
            "payee": payment.payee,
            "provider": payment.provider,
            "created_at": payment.created_at,
            "url": payment.url,
            "approval_id": payment.approval_id,
            "expires_at": payment.expires_at,
            "next_step": payment.next_step or None,
            "replayed": payment.replayed,
        }
    )
    return body, [texts.sentences(_charge_text(payment), payment.next_step, _repeated(payment))]


def _charge_text(payment: Payment) -> str:
    sum_ = texts.figure(payment.amount, payment.currency)
    what = f"payment {payment.id} of {sum_}"
    match payment.status:
        case "succeeded" if payment.direction == "send":
            return f"Sent: {what} went to {payment.payee} by {payment.provider}."
        case "succeeded":
            return f"Paid: {what} from customer {payment.customer} to {payment.payee} by {payment.provider}."
        case "approval_required":
            return texts.not_paid_yet(what, payment.approval_id, payment.expires_at, payment.url)
        case _:
            return _under_way(what, payment.status, payment.url)


def _under_way(what: str, status: str, url: str | None) -> str:
    match status:
        case "requires_action":
            where = f" at {url}" if url else ""
            return f"Not finished: the customer has to act on {what}{where}; do not pay again."
        case "unknown":
            return f"It is not known yet whether {what} went through; do not pay again."
        case _:
            return f"Not finished: {what} is {status}; do not pay again."


def _repeated(payment: Payment) -> str | None:
    return texts.repeat(payment.created_at, payment.updated_at or payment.created_at) if payment.replayed else None


def subscribe(handle: Handle, args: given.Subscribe) -> Answer[out.SubscriptionOutput]:
    """Subscribe a customer to a plan, paying its first period."""
    found = handle.subscribe(args.customer, args.plan, idempotency_key=args.idempotency_key, provider=args.provider)
    body = out.SubscriptionOutput.model_validate(
        {
            **subscription_fields(found),
            "status": _subscribe_status(found),
            "subscription_status": found.status,
            "payment_id": found.payment_id,
            "approval_id": found.approval_id,
            "expires_at": found.expires_at,
            "url": found.url,
            "replayed": found.replayed,
        }
    )
    return body, [texts.sentences(_subscribe_text(found), found.next_step, _again(found))]


def _again(found: Subscription) -> str | None:
    return texts.repeat(found.created_at) if found.replayed else None


def _subscribe_status(found: Subscription) -> str:
    """The payment's status while the subscription waits for it: what is not paid must not read as done."""
    if found.status == "incomplete" and found.payment_status in _UNDER_WAY:
        return found.payment_status
    return found.status


def _subscribe_text(found: Subscription) -> str:
    what = f"the subscription of {found.customer} to {found.plan} ({found.id})"
    status = _subscribe_status(found)
    if status == "approval_required":
        return texts.not_paid_yet(
            f"{what} is incomplete: payment {found.payment_id}", found.approval_id, found.expires_at, found.url
        )
    if status in _UNDER_WAY:
        return _under_way(f"payment {found.payment_id} for {what}", status, found.url)
    return subscription_text(found)


def subscription_text(found: Subscription) -> str:
    """How a subscription stands, in a sentence."""
    lives = found.status in ("active", "past_due")
    later = found.ends_at if found.ends_at != found.period_end else None
    ends = f" and ends at {texts.moment(later)}" if later else " and ends then" if found.cancel_at_period_end else ""
    period = f", paid until {texts.moment(found.period_end)}{ends}" if found.period_end and lives else ""
    return f"Subscription {found.id} of {found.customer} to {found.plan} is {found.status}{period}."


def subscription_fields(found: Subscription) -> dict[str, object]:
    """What every answer about a subscription tells of it."""
    return {
        "subscription_id": found.id,
        "customer": found.customer,
        "plan": found.plan,
        "period_end": found.period_end,
        "cancel_at_period_end": found.cancel_at_period_end,
        "next_step": found.next_step or None,
    }


def refund(handle: Handle, args: given.Refund) -> Answer[out.RefundOutput]:
    """Give back a charge, or a part of it."""
    made = handle.refund(args.payment_id, args.amount, reason=args.reason, idempotency_key=args.idempotency_key)
    body = out.RefundOutput.model_validate(
        {
            "status": made.status,
            "refund_id": made.id,
            "payment_id": made.payment_id,
            "amount": made.amount,
            "currency": made.currency,
            "approval_id": made.approval_id,
            "expires_at": made.expires_at,
            "next_step": made.next_step or None,
            "replayed": made.replayed,
        }
    )
    what = f"refund {made.id} of {texts.figure(made.amount, made.currency)} for payment {made.payment_id}"
    match made.status:
        case "succeeded":
            text = f"Refunded: {what} is done."
        case "approval_required":
            text = texts.not_paid_yet(what, made.approval_id, made.expires_at, None)
        case "unknown":
            text = f"It is not known yet whether {what} went through; do not refund again."
        case status:
            text = f"Not finished: {what} is {status}; do not refund again."
    return body, [texts.sentences(text, made.next_step, made.replayed and texts.repeat(made.created_at))]


def cancel_subscription(handle: Handle, args: given.CancelSubscription) -> Answer[out.CancelOutput]:
    """End a subscription, at once or at the end of its period."""
    found = handle.cancel_subscription(
        args.customer, args.plan, at_period_end=args.at_period_end, idempotency_key=args.idempotency_key
    )
    body = out.CancelOutput.model_validate(
        {**subscription_fields(found), "status": found.status, "replayed": found.replayed}
    )
    return body, [texts.sentences(subscription_text(found), found.next_step, _again(found))]
