"""What is shown of each kind of thing: the columns of its lists, its records and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from agentpay_servers.output import Column, money

if TYPE_CHECKING:
    from agentpay.billing.credits import CreditGrant
    from agentpay.billing.usage_bills import Bill
    from agentpay.customers.models import Customer
    from agentpay.payments.models import Dispute, Payment, Refund
    from agentpay.plans.models import PaymentPlan
    from agentpay.spending.cards import Asking, Card
    from agentpay.spending.models import Approval, Approver
    from agentpay.spending.standing import Standing
    from agentpay.subscriptions.models import Subscription
    from agentpay.usage.models import FeatureUsage, UsageRecord
    from agentpay.webhooks.models import ReceivedEvent
    from agentpay_policies.money import Money, Price


def _disputed(payment: Payment) -> str:
    return money(payment.disputed, payment.currency) if payment.disputed else ""


PLANS: Final[Sequence[Column[PaymentPlan]]] = (
    Column("id", lambda plan: plan.id),
    Column("version", lambda plan: plan.version),
    Column("name", lambda plan: plan.name),
    Column("payment_type", lambda plan: plan.payment_type.value),
    Column("price", lambda plan: plan.price, lambda plan: money(plan.price, plan.currency)),
    Column("currency", lambda plan: plan.currency, since="json"),
    Column("billing_period", lambda plan: plan.billing_period and plan.billing_period.value),
    Column("term", lambda plan: plan.term, since="record"),
    Column("price_per_request", lambda plan: plan.price_per_request),
    Column("requests_per_period", lambda plan: plan.requests_per_period),
    Column("free_requests", lambda plan: plan.free_requests),
    Column("group", lambda plan: plan.group, since="record"),
    Column("description", lambda plan: plan.description, since="record"),
    Column(
        "features",
        lambda plan: [{"name": one.name, "limit": one.limit, "price": one.price} for one in plan.features],
        lambda plan: [one.name for one in plan.features],
    ),
)

CUSTOMERS: Final[Sequence[Column[Customer]]] = (
    Column("customer", lambda customer: customer.external_id),
    Column("id", lambda customer: customer.id),
    Column("created_at", lambda customer: customer.created_at),
)

SUBSCRIPTIONS: Final[Sequence[Column[Subscription]]] = (
    Column("id", lambda one: one.id),
    Column("customer", lambda one: one.customer, since="record"),
    Column("plan", lambda one: one.plan, lambda one: f"{one.plan} (version {one.plan_version})"),
    Column("plan_version", lambda one: one.plan_version, since="json"),
    Column("status", lambda one: one.status),
    Column("period_start", lambda one: one.period_start, since="record"),
    Column("period_end", lambda one: one.period_end),
    Column("cancel_at_period_end", lambda one: one.cancel_at_period_end, since="record"),
    Column("term", lambda one: one.term, since="record"),
    Column("ends_at", lambda one: one.ends_at, since="record"),
    Column("group", lambda one: one.group, since="record"),
    Column("payment_id", lambda one: one.payment_id),
    Column("payment_status", lambda one: one.payment_status, since="record"),
    Column("approval_id", lambda one: one.approval_id, since="record"),
    Column("url", lambda one: one.url, since="record"),
    Column("created_at", lambda one: one.created_at, since="record"),
    Column("replayed", lambda one: one.replayed, since="record"),
    Column("next_step", lambda one: one.next_step, since="record"),
)

PAYMENTS: Final[Sequence[Column[Payment]]] = (
    Column("id", lambda payment: payment.id),
    Column("status", lambda payment: payment.status, lambda payment: payment.status + " (late)" * payment.late),
    Column("customer", lambda payment: payment.customer),
    Column("amount", lambda payment: payment.amount, lambda payment: money(payment.amount, payment.currency)),
    Column("currency", lambda payment: payment.currency, since="json"),
    Column("refunded", lambda payment: payment.refunded, lambda payment: money(payment.refunded, payment.currency)),
    Column("disputed", lambda payment: payment.disputed, lambda payment: _disputed(payment), since="record"),
    Column("direction", lambda payment: payment.direction, since="record"),
    Column("payee", lambda payment: payment.payee),
    Column("provider", lambda payment: payment.provider),
    Column("created_at", lambda payment: payment.created_at),
    Column("updated_at", lambda payment: payment.updated_at, since="record"),
    Column("description", lambda payment: payment.description, since="record"),
    Column("decline_code", lambda payment: payment.decline_code, since="record"),
    Column("late", lambda payment: payment.late, since="json"),
    Column("url", lambda payment: payment.url, since="record"),
    Column("approval_id", lambda payment: payment.approval_id, since="record"),
    Column("expires_at", lambda payment: payment.expires_at, since="record"),
    Column("replayed", lambda payment: payment.replayed, since="record"),
    Column("next_step", lambda payment: payment.next_step, since="record"),
)

REFUNDS: Final[Sequence[Column[Refund]]] = (
    Column("id", lambda refund: refund.id),
    Column("payment_id", lambda refund: refund.payment_id),
    Column("status", lambda refund: refund.status, lambda refund: refund.status + " (came back)" * refund.returned),
    Column("amount", lambda refund: refund.amount, lambda refund: money(refund.amount, refund.currency)),
    Column("currency", lambda refund: refund.currency, since="json"),
    Column("reason", lambda refund: refund.reason),
    Column("at_provider", lambda refund: refund.at_provider),
    Column("returned", lambda refund: refund.returned, since="json"),
    Column("created_at", lambda refund: refund.created_at),
    Column("approval_id", lambda refund: refund.approval_id, since="record"),
    Column("expires_at", lambda refund: refund.expires_at, since="record"),
    Column("replayed", lambda refund: refund.replayed, since="record"),
    Column("next_step", lambda refund: refund.next_step, since="record"),
)

DISPUTES: Final[Sequence[Column[Dispute]]] = (
    Column("id", lambda one: one.id),
    Column("kind", lambda one: one.kind),
    Column("status", lambda one: one.status),
    Column("payment_id", lambda one: one.payment_id),
    Column("amount", lambda one: one.amount, lambda one: money(one.amount, one.currency)),
    Column("withdrawn", lambda one: one.withdrawn, lambda one: money(one.withdrawn, one.currency)),
    Column("currency", lambda one: one.currency, since="json"),
    Column("reason", lambda one: one.reason),
    Column("provider", lambda one: one.provider, since="json"),
    Column("reference", lambda one: one.reference, since="json"),
    Column("created_at", lambda one: one.created_at),
    Column("updated_at", lambda one: one.updated_at, since="json"),
)

WEBHOOKS: Final[Sequence[Column[ReceivedEvent]]] = (
    Column("id", lambda one: one.id),
    Column("status", lambda one: one.status),
    Column("provider", lambda one: one.provider),
    Column("kind", lambda one: one.kind),
    Column(
        "changed",
        lambda one: [{"object_id": change.object_id, "change": change.change} for change in one.changed],
        lambda one: [f"{change.change} {change.object_id}" for change in one.changed],
    ),
    Column("received_at", lambda one: one.received_at),
    Column("next_try_at", lambda one: one.next_try_at),
    Column("tries", lambda one: one.tries, since="json"),
    Column("event_id", lambda one: one.event_id, since="json"),
    Column("created_at", lambda one: one.created_at, since="json"),
)

USAGE: Final[Sequence[Column[FeatureUsage]]] = (
    Column("feature", lambda usage: usage.feature),
    Column("plan", lambda usage: usage.plan),
    Column("recorded", lambda usage: usage.recorded),
    Column("used", lambda usage: usage.used),
    Column("held", lambda usage: usage.held),
    Column("limit", lambda usage: usage.limit, lambda usage: "unlimited" if usage.unlimited else usage.limit),
    Column("remaining", lambda usage: usage.remaining),
    Column("unlimited", lambda usage: usage.unlimited, since="json"),
    Column("resets_at", lambda usage: usage.resets_at),
)

USAGE_RECORDS: Final[Sequence[Column[UsageRecord]]] = (
    Column("id", lambda record: record.id),
    Column("customer", lambda record: record.customer),
    Column("feature", lambda record: record.feature),
    Column("quantity", lambda record: record.quantity),
    Column(
        "cost", lambda record: record.cost, lambda record: record.cost and money(record.cost, record.currency or "")
    ),
    Column("currency", lambda record: record.currency, since="json"),
    Column("plan", lambda record: record.plan),
    Column("remaining", lambda record: record.remaining),
    Column("recorded_at", lambda record: record.recorded_at),
    Column("replayed", lambda record: record.replayed),
)

AMOUNTS: Final[Sequence[Column[Money | Price]]] = (
    Column("amount", lambda one: one.amount, lambda one: money(one.amount, one.currency)),
    Column("currency", lambda one: one.currency, since="json"),
)

BILLS: Final[Sequence[Column[Bill]]] = (
    Column("customer", lambda bill: bill.customer),
    Column("status", lambda bill: bill.status),
    Column("amount", lambda bill: bill.amount, lambda bill: money(bill.amount, bill.currency)),
    Column("currency", lambda bill: bill.currency, since="json"),
    Column("left", lambda bill: bill.left, lambda bill: money(bill.left, bill.currency)),
    Column("payment_id", lambda bill: bill.payment and bill.payment.id),
    Column("payment_status", lambda bill: bill.payment and bill.payment.status),
    Column("replayed", lambda bill: bool(bill.payment and bill.payment.replayed)),
    Column("next_step", lambda bill: bill.payment and bill.payment.next_step),
)

GRANTS: Final[Sequence[Column[CreditGrant]]] = (
    Column("id", lambda grant: grant.id),
    Column("customer", lambda grant: grant.customer),
    Column("amount", lambda grant: grant.amount, lambda grant: money(grant.amount, grant.currency)),
    Column("currency", lambda grant: grant.currency, since="json"),
    Column("balance", lambda grant: grant.balance, lambda grant: money(grant.balance, grant.currency)),
    Column("granted_at", lambda grant: grant.granted_at),
    Column("replayed", lambda grant: grant.replayed),
)

APPROVALS: Final[Sequence[Column[Approval]]] = (
    Column("id", lambda one: one.id),
    Column("status", lambda one: one.status),
    Column("operation", lambda one: one.operation),
    Column("direction", lambda one: one.direction),
    Column("agent", lambda one: one.agent),
    Column("customer", lambda one: one.customer),
    Column("payee", lambda one: one.payee, lambda one: f"{one.payee} ({'NEW' if one.payee_is_new else 'known'})"),
    Column("payee_is_new", lambda one: one.payee_is_new, since="json"),
    Column("amount", lambda one: one.amount, lambda one: money(one.amount, one.currency)),
    Column("currency", lambda one: one.currency, since="json"),
    Column("provider", lambda one: one.provider, since="record"),
    Column(
        "description", lambda one: one.description, lambda one: one.description and f"“{one.description}”", "record"
    ),
    Column("payment_id", lambda one: one.payment_id, since="record"),
    Column("created_at", lambda one: one.created_at, since="record"),
    Column("expires_at", lambda one: one.expires_at),
    Column("votes", lambda one: one.votes, lambda one: f"{one.votes} of {one.needed}"),
    Column("needed", lambda one: one.needed, since="json"),
    Column("approvers", lambda one: one.approvers, since="record"),
    Column("url", lambda one: one.url, since="record"),
    Column("next_step", lambda one: one.next_step, since="json"),
)

CARD: Final[Sequence[Column[Card]]] = (
    Column("id", lambda card: card.id),
    Column("status", lambda card: card.status),
    Column("operation", lambda card: card.operation),
    Column("direction", lambda card: card.direction),
    Column("amount", lambda card: money(card.amount, card.currency)),
    Column("agent", lambda card: card.agent),
    Column("customer", lambda card: card.customer),
    Column("payee", lambda card: f"{card.payee} ({'NEW' if card.payee_is_new else 'known'})"),
    Column("provider", lambda card: f"{card.provider}, account {card.account}, {card.mode} mode"),
    Column("method", lambda card: card.method),
    Column("plan", lambda card: card.plan),
    Column("description", lambda card: card.description and f"“{card.description}”"),
    Column("the payee reads", lambda card: card.memo and f"“{card.memo}”"),
    Column("payment", lambda card: card.payment_id),
    Column("refund of", lambda card: card.refund_of),
    Column("asked at", lambda card: card.created_at),
    Column("expires at", lambda card: card.expires_at),
    Column("votes", lambda card: f"{card.votes} of {card.needed}"),
    Column(
        "today",
        lambda card: (
            f"the agent collected {card.today.collected} and sent {card.today.sent}; {card.today.waiting} wait"
        ),
    ),
)
"""As people read a card; its JSON is `Card.as_data()`."""

ASKING: Final[Sequence[Column[Asking]]] = (
    Column("rule", lambda one: one.rule),
    Column("asks", lambda one: one.sentence or f"{one.quorum} of {', '.join(one.members)}"),
    Column("approved_by", lambda one: one.approved_by),
)

STANDINGS: Final[Sequence[Column[Standing]]] = (
    Column("rule", lambda one: one.rule),
    Column("counts", lambda one: one.subject),
    Column("window", lambda one: one.window),
    Column("limit", lambda one: one.limit),
    Column("used", lambda one: one.used),
    Column("held", lambda one: one.held),
    Column("remaining", lambda one: one.remaining),
    Column("asked", lambda one: one.asked),
    Column("fits", lambda one: one.fits, lambda one: "yes" if one.fits else "NO"),
    Column("shared", lambda one: one.shared, since="json"),
)

APPROVERS: Final[Sequence[Column[Approver]]] = (
    Column("name", lambda approver: approver.name),
    Column("enrolled_by", lambda approver: approver.enrolled_by),
    Column("enrolled_at", lambda approver: approver.enrolled_at),
    Column("locked_until", lambda approver: approver.locked_until),
)
