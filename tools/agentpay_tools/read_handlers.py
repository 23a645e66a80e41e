"""The tools that read, and record_usage, which counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentpay.payments.models import Payment, Refund
from agentpay.plans.models import PaymentPlan
from agentpay_policies.budget import BudgetView, LimitView, Spendable
from agentpay_tools import arguments as given
from agentpay_tools import outputs as out
from agentpay_tools import texts
from agentpay_tools.handle import Handle
from agentpay_tools.money_handlers import subscription_fields, subscription_text
from agentpay_tools.spec import Answer

if TYPE_CHECKING:
    from agentpay.access.models import Access


def check_access(handle: Handle, args: given.CheckAccess) -> Answer[out.AccessOutput]:
    """Say whether a customer may use a feature now."""
    access = handle.check_access(args.customer, args.feature, args.quantity)
    body = out.AccessOutput.model_validate(
        {
            "status": "ok",
            "allowed": access.allowed,
            "reason": access.reason,
            "plan": access.plan,
            "used": access.used,
            "limit": access.limit,
            "remaining": access.remaining,
            "unlimited": access.unlimited,
            "resets_at": access.resets_at,
            "next_step": access.next_step or None,
        }
    )
    return body, [texts.sentences(_access_text(args, access), access.next_step)]


def _access_text(args: given.CheckAccess, access: Access) -> str:
    verdict = "Allowed" if access.allowed else "NOT allowed"
    facts = texts.pairs(
        reason=access.reason,
        plan=access.plan,
        used=access.used,
        limit=access.limit,
        remaining="unlimited" if access.unlimited else access.remaining,
        resets_at=texts.moment(access.resets_at) if access.resets_at else None,
    )
    return f"{verdict}: customer {args.customer}, feature {args.feature}, quantity {args.quantity} ({facts})."


def record_usage(handle: Handle, args: given.RecordUsage) -> Answer[out.UsageOutput]:
    """Count a use of a feature, once a key."""
    record = handle.record_usage(
        args.customer,
        args.feature,
        args.quantity,
        cost=args.cost,
        currency=args.currency,
        idempotency_key=args.idempotency_key,
    )
    body = out.UsageOutput.model_validate(
        {
            "status": "ok",
            "usage_id": record.id,
            "customer": record.customer,
            "feature": record.feature,
            "quantity": record.quantity,
            "cost": record.cost,
            "currency": record.currency,
            "plan": record.plan,
            "remaining": record.remaining,
            "recorded_at": record.recorded_at,
            "replayed": record.replayed,
        }
    )
    cost = texts.figure(record.cost, record.currency) if record.cost is not None and record.currency else None
    facts = texts.pairs(id=record.id, plan=record.plan, cost=cost, remaining=record.remaining)
    text = f"Recorded: {record.quantity} of {record.feature} for customer {record.customer} ({facts})."
    return body, [texts.sentences(text, record.replayed and texts.repeat(record.recorded_at, record.recorded_at))]


def get_payment(handle: Handle, args: given.GetPayment) -> Answer[out.PaymentReadOutput]:
    """Read a payment by its id or by its key; a refund by the key of a refund."""
    if args.payment_id is not None:
        found = handle.get_payment(args.payment_id)
    else:
        found = handle.get_payment(idempotency_key=args.idempotency_key, operation=args.operation)
    return _refund_read(found) if isinstance(found, Refund) else _payment_read(found)


def _payment_read(payment: Payment) -> Answer[out.PaymentReadOutput]:
    body = out.PaymentReadOutput.model_validate(
        {
            **_item(payment),
            "status": "ok",
            "customer": payment.customer,
            "provider": payment.provider,
            "url": payment.url,
            "approval_id": payment.approval_id,
            "expires_at": payment.expires_at,
            "decline_code": payment.decline_code,
            "next_step": payment.next_step or None,
        }
    )
    begins = "NOT PAID YET: " if payment.status == "approval_required" else ""
    approval = payment.approval_id and f"Approval: {payment.approval_id}{texts.until(payment.expires_at)}."
    text = f"{begins}{_line(payment)}, for customer {payment.customer}."
    return body, [texts.sentences(text, approval, payment.url, payment.next_step)]


def _refund_read(refund: Refund) -> Answer[out.PaymentReadOutput]:
    body = out.PaymentReadOutput.model_validate(
        {
            "status": "ok",
            "payment_status": refund.status,
            "payment_id": refund.payment_id,
            "refund_id": refund.id,
            "amount": refund.amount,
            "currency": refund.currency,
            "description": refund.reason,
            "created_at": refund.created_at,
            "approval_id": refund.approval_id,
            "expires_at": refund.expires_at,
            "next_step": refund.next_step or None,
        }
    )
    begins = "NOT PAID YET: " if refund.status == "approval_required" else ""
    sum_ = texts.figure(refund.amount, refund.currency)
    text = f"{begins}refund {refund.id} of {sum_} for payment {refund.payment_id} is {refund.status}."
    return body, [texts.sentences(text, refund.next_step)]


def _item(payment: Payment) -> dict[str, object]:
    return {
        "payment_id": payment.id,
        "payment_status": payment.status,
        "direction": payment.direction,
        "amount": payment.amount,
        "currency": payment.currency,
        "payee": payment.payee,
        "refunded": payment.refunded,
        "created_at": payment.created_at,
        "description": payment.description,
    }


def _line(payment: Payment) -> str:
    facts = texts.pairs(
        payee=payment.payee,
        refunded=texts.figure(payment.refunded, payment.currency) if payment.refunded else None,
        decline_code=payment.decline_code,
        made=texts.moment(payment.created_at),
        what_for=payment.description,
    )
    return f"payment {payment.id} of {texts.figure(payment.amount, payment.currency)} is {payment.status} ({facts})"


def get_approval(handle: Handle, args: given.GetApproval) -> Answer[out.ApprovalOutput]:
    """Read how an approval stands."""
    found = handle.get_approval(args.approval_id)
    body = out.ApprovalOutput.model_validate(
        {
            "status": "ok",
            "approval_status": found.status,
            "approval_id": found.id,
            "payment_id": found.payment_id,
            "operation": found.operation,
            "customer": found.customer,
            "amount": found.amount,
            "currency": found.currency,
            "payee": found.payee,
            "expires_at": found.expires_at,
            "votes": found.votes,
            "needed": found.needed,
            "url": found.url,
            "next_step": found.next_step or None,
        }
    )
    sum_ = texts.figure(found.amount, found.currency)
    votes = f"{found.votes} of {found.needed} votes{texts.until(found.expires_at)}"
    text = (
        f"Approval {found.id} is {found.status} ({votes}): "
        f"{found.operation} of {sum_} to {found.payee} for customer {found.customer}, payment {found.payment_id}."
    )
    return body, [texts.sentences(text, found.next_step)]


def get_subscription(handle: Handle, args: given.GetSubscription) -> Answer[out.SubscriptionReadOutput]:
    """Read a customer's subscription."""
    found = handle.get_subscription(args.customer, args.plan)
    body = out.SubscriptionReadOutput.model_validate(
        {
            **subscription_fields(found),
            "status": "ok",
            "period_start": found.period_start,
            "subscription_status": found.status,
            "payment_id": found.payment_id,
            "payment_status": found.payment_status,
        }
    )
    paying = f"Its payment {found.payment_id} is {found.payment_status}." if found.payment_status else None
    return body, [texts.sentences(subscription_text(found), paying, found.next_step)]


def list_payments(handle: Handle, args: given.ListPayments) -> Answer[out.PaymentsOutput]:
    """A page of a customer's payments, newest first."""
    page = handle.list_payments(args.customer, limit=args.limit, cursor=args.cursor)
    body = out.PaymentsOutput.model_validate(
        {"status": "ok", "payments": [_item(payment) for payment in page.items], "next_cursor": page.next_cursor}
    )
    lines = [_line(payment) for payment in page.items] or [f"No payments of customer {args.customer}."]
    more = [f"There are more: pass cursor {page.next_cursor}."] if page.next_cursor else []
    return body, lines + more


def list_plans(handle: Handle, _args: given.ListPlans) -> Answer[out.PlansOutput]:
    """Every plan that is sold."""
    plans = handle.list_plans()
    body = out.PlansOutput.model_validate({"status": "ok", "plans": [_plan(plan) for plan in plans]})
    return body, [_plan_line(plan) for plan in plans] or ["There are no plans."]


def _plan(plan: PaymentPlan) -> dict[str, object]:
    return {
        "id": plan.id,
        "name": plan.name,
        "payment_type": str(plan.payment_type),
        "price": plan.price,
        "currency": plan.currency,
        "features": [feature.name for feature in plan.features],
        "billing_period": None if plan.billing_period is None else str(plan.billing_period),
        "price_per_request": plan.price_per_request,
        "requests_per_period": plan.requests_per_period,
        "free_requests": plan.free_requests or None,
        "description": plan.description,
    }


def _plan_line(plan: PaymentPlan) -> str:
    facts = texts.pairs(
        per_request=plan.price_per_request and texts.figure(plan.price_per_request, plan.currency),
        requests_per_period=plan.requests_per_period,
        free_requests=plan.free_requests or None,
        features=texts.listed(feature.name for feature in plan.features),
    )
    period = f" {plan.billing_period}" if plan.billing_period else ""
    about = f" {plan.description}" if plan.description else ""
    return f"{plan.id}: {plan.name}, {plan.payment_type}, {plan.money}{period} ({facts}).{about}"


def get_budget(handle: Handle, args: given.GetBudget) -> Answer[out.BudgetOutput]:
    """What the agent may use and spend now."""
    view = handle.get_budget(currency=args.currency, customer=args.customer)
    body = out.BudgetOutput.model_validate(
        {
            "status": "ok",
            "agent_known": view.agent_known,
            "halted": view.halted,
            "can_spend_now": [
                {
                    "currency": item.currency,
                    "direction": item.direction,
                    "amount": item.amount.amount,
                    "until": item.until,
                }
                for item in view.can_spend_now
            ],
            "limits": [_limit(item) for item in view.limits],
            "shared_budget": view.shared_budget,
            "tools": view.tools,
            "currencies": view.currencies,
            "providers": view.providers,
        }
    )
    return body, list(_budget_lines(view))


def _limit(view: LimitView) -> dict[str, object]:
    return {
        "id": view.id,
        "operation": view.operation,
        "directions": view.directions,
        "window": view.window,
        "limit": view.limit,
        "per": view.per,
        "used": view.used,
        "held": view.held,
        "remaining": view.remaining,
        "resets_at": view.resets_at,
    }


def _budget_lines(view: BudgetView) -> Iterator[str]:
    if view.halted:
        yield "HALTED by the operator: nothing may be spent until the operator resumes."
    if not view.agent_known:
        yield "The active policy does not know this agent, so it may spend nothing."
        return
    can = "; ".join(_spendable(item) for item in view.can_spend_now) or "nothing"
    yield f"Can spend now, in one charge: {can}."
    for limit in view.limits:
        facts = texts.pairs(
            per=limit.per,
            used=limit.used,
            held=limit.held,
            remaining=limit.remaining,
            resets_at=texts.moment(limit.resets_at) if limit.resets_at else None,
        )
        yield f"Limit {limit.id} ({limit.operation}): {limit.limit} in {limit.window} ({facts})."
    yield (
        f"Tools: {texts.listed(view.tools)}. Currencies: {texts.listed(view.currencies)}. "
        f"Providers: {texts.listed(view.providers)}. Shared budget: {view.shared_budget}."
    )


def _spendable(item: Spendable) -> str:
    return f"{item.amount} ({item.direction}{texts.until(item.until)})"
