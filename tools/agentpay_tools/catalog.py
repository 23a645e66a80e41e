"""The catalog: every tool there is, in the order in which a client sees them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from agentpay_tools import arguments as given
from agentpay_tools import money_handlers as money
from agentpay_tools import outputs as out
from agentpay_tools import read_handlers as read
from agentpay_tools.spec import AnySpec, Hints, Spec

_READS: Final = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)
_COUNTS: Final = Hints(read_only=False, destructive=False, idempotent=True, open_world=False)
_MOVES: Final = Hints(read_only=False, destructive=True, idempotent=True, open_world=True)

_ACTING: Final[tuple[AnySpec, ...]] = (
    Spec(
        name="check_access",
        title="Check access",
        description="Says whether a customer may use a feature now, why, and how much is left. Ask before you do paid "
        "work. allowed=false is an answer, not an error: next_step says what would help.",
        arguments=given.CheckAccess,
        output=out.AccessOutput,
        hints=_READS,
        handler=read.check_access,
    ),
    Spec(
        name="charge",
        title="Charge",
        description="Moves real money: charges a customer, or sends from the operator's wallet where the payee is "
        "paypal:<e-mail> or eip155. After a time-out repeat with the SAME idempotency_key. approval_required means NOT "
        "PAID YET: a person decides, then repeat with the same key. On pending, requires_action or unknown do not pay "
        "again. Never split an amount to pass a limit.",
        arguments=given.Charge,
        output=out.ChargeOutput,
        hints=_MOVES,
        handler=money.charge,
        money="charge",
    ),
    Spec(
        name="subscribe",
        title="Subscribe",
        description="Subscribes a customer to a plan (see list_plans) and charges its first period. Access begins when "
        "status is active. approval_required means NOT PAID YET: a person decides, then repeat with the same "
        "idempotency_key.",
        arguments=given.Subscribe,
        output=out.SubscriptionOutput,
        hints=_MOVES,
        handler=money.subscribe,
        money="subscribe",
    ),
    Spec(
        name="record_usage",
        title="Record usage",
        description="Counts a customer's use of a feature, after the work is done. Refused where the limit would be "
        "passed. A plan may bill it later.",
        arguments=given.RecordUsage,
        output=out.UsageOutput,
        hints=_COUNTS,
        handler=read.record_usage,
    ),
    Spec(
        name="refund",
        title="Refund",
        description="Gives a charge back to the customer, all that is left of it or a part. What was sent to an e-mail "
        "or an address cannot be refunded.",
        arguments=given.Refund,
        output=out.RefundOutput,
        hints=_MOVES,
        handler=money.refund,
        money="refund",
    ),
    Spec(
        name="cancel_subscription",
        title="Cancel subscription",
        description="Ends a customer's subscription at the end of the paid period, or at once. Refunds nothing.",
        arguments=given.CancelSubscription,
        output=out.CancelOutput,
        hints=_MOVES,
        handler=money.cancel_subscription,
    ),
)

_READING: Final[tuple[AnySpec, ...]] = (
    Spec(
        name="get_payment",
        title="Get payment",
        description="Reads how one of your payments stands: by payment_id, or by the idempotency_key that you used. "
        "Use it after a time-out or an error, before you pay anything again.",
        arguments=given.GetPayment,
        output=out.PaymentReadOutput,
        hints=_READS,
        handler=read.get_payment,
    ),
    Spec(
        name="get_approval",
        title="Get approval",
        description="Reads whether people have decided on a payment that waits for approval. approved: repeat the call "
        "that asked, with the same idempotency_key, to run it.",
        arguments=given.GetApproval,
        output=out.ApprovalOutput,
        hints=_READS,
        handler=read.get_approval,
    ),
    Spec(
        name="get_subscription",
        title="Get subscription",
        description="Reads a customer's subscription: plan, status, paid period.",
        arguments=given.GetSubscription,
        output=out.SubscriptionReadOutput,
        hints=_READS,
        handler=read.get_subscription,
    ),
    Spec(
        name="list_payments",
        title="List payments",
        description="Lists your payments of a customer, newest first, a page at a time.",
        arguments=given.ListPayments,
        output=out.PaymentsOutput,
        hints=_READS,
        handler=read.list_payments,
    ),
    Spec(
        name="list_plans",
        title="List plans",
        description="Lists the plans that are sold, with price, period and features.",
        arguments=given.ListPlans,
        output=out.PlansOutput,
        hints=_READS,
        handler=read.list_plans,
    ),
    Spec(
        name="get_budget",
        title="Get budget",
        description="Reads what you may spend now, your limits, and the tools, currencies and providers you may use. "
        "can_spend_now may still need approval.",
        arguments=given.GetBudget,
        output=out.BudgetOutput,
        hints=_READS,
        handler=read.get_budget,
    ),
)

CATALOG: Final[Mapping[str, AnySpec]] = MappingProxyType({spec.name: spec for spec in _ACTING + _READING})
"""Every tool by its name. A test holds it to `agentpay_policies.names.TOOL_NAMES`."""
