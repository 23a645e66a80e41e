"""What each tool answers: ONE flat object a tool, which holds the answer or the refusal.

Clients validate refusals against the same schema as answers, so every field but `status` is optional and a refusal is
`status` plus `error`. Amounts are decimal strings, times ISO 8601 in UTC. Every string is stripped of characters that
nobody can see when the object is made, so no handler can forget it.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from agentpay_policies.text import stripped
from agentpay_tools.texts import iso

_EMOJI_JOINERS = "\u200d\ufe0f"


def _visible_id(text: str) -> str:
    # An id may hold what joins emoji (see `agentpay_policies.text.identifier`), and has to come back as it was given.
    return "".join(char if char in _EMOJI_JOINERS else stripped(char) for char in text)


def _decimal_text(value: object) -> object:
    # Not str(): Decimal("0E-8") is how a zero of eight decimals prints itself.
    return format(value, "f") if isinstance(value, Decimal) else value


def _utc_text(value: object) -> object:
    return iso(value) if isinstance(value, datetime) else value


Text = Annotated[str, AfterValidator(stripped)]
Id = Annotated[str, AfterValidator(_visible_id)]
Absent = SkipJsonSchema[None]
OptText = Text | Absent
OptId = Id | Absent
OptInt = int | Absent
OptBool = bool | Absent
OptAmount = Annotated[str | Absent, BeforeValidator(_decimal_text)]
OptTime = Annotated[str | Absent, BeforeValidator(_utc_text)]

_OBJECTS = WithJsonSchema({"type": "array", "items": {"type": "object"}})
"""How a list of parts stands in a schema: the parts' own fields are in docs/tools.md. `tools/list` must stay small."""

Refusal = Literal["declined", "denied", "not_sent", "invalid", "conflict", "duplicate", "internal"]
"""The statuses with which a call is refused."""

UnderWay = Literal["pending", "requires_action", "approval_required", "unknown"]
"""The statuses of a payment whose money may still move."""

Moving = Literal["succeeded", UnderWay]
"""The statuses of a payment or a refund that a call may come back with."""

ReadRefusal = Literal["denied", "invalid", "internal"]
"""Those of them that a tool has which moves and changes nothing."""

SubscriptionStatus = Literal["incomplete", "active", "past_due", "canceled", "expired"]


class Part(BaseModel):
    """A piece of an answer."""

    model_config = ConfigDict(frozen=True)


class Error(Part):
    """Why a call was refused. `violations` holds each reason of the policy."""

    code: str
    message: Text
    retryable: bool
    next_step: Text
    retry_at: OptTime = None
    violations: Annotated[list[dict[str, Text]] | Absent, WithJsonSchema({"type": "array"})] = None

    # This stands in the schema of every tool: what is required is said here only.
    model_config = ConfigDict(frozen=True, json_schema_extra=lambda made: made.pop("required"))


class Output(Part):
    """The base of all outputs; each narrows `status`."""

    status: str
    error: Error | Absent = None


class AccessOutput(Output):
    """Answer of check_access. Not allowed is an answer, no error."""

    status: Literal["ok", ReadRefusal]
    allowed: OptBool = None
    reason: OptText = None
    plan: OptId = None
    used: OptInt = None
    limit: OptInt = None
    remaining: OptInt = None
    unlimited: OptBool = None
    resets_at: OptTime = None
    next_step: OptText = None


class ChargeOutput(Output):
    """Answer of charge. `look_alike` stands only with DUPLICATE_SUSPECTED, `decline_code` with PAYMENT_DECLINED."""

    status: Literal[Moving, Refusal]
    payment_id: OptId = None
    direction: OptText = None
    customer: OptId = None
    amount: OptAmount = None
    currency: OptText = None
    payee: OptText = None
    provider: OptText = None
    created_at: OptTime = None
    url: OptText = None
    approval_id: OptId = None
    expires_at: OptTime = None
    next_step: OptText = None
    replayed: OptBool = None
    decline_code: OptText = None
    look_alike: OptId = None


class SubscriptionOutput(Output):
    """Answer of subscribe.

    `status` is the payment's while the subscription is incomplete and its payment under way, else the subscription's.
    """

    status: Literal[SubscriptionStatus, UnderWay, Refusal]
    subscription_status: OptText = None
    subscription_id: OptId = None
    customer: OptId = None
    plan: OptId = None
    period_end: OptTime = None
    cancel_at_period_end: OptBool = None
    payment_id: OptId = None
    approval_id: OptId = None
    expires_at: OptTime = None
    url: OptText = None
    next_step: OptText = None
    replayed: OptBool = None


class CancelOutput(Output):
    """Answer of cancel_subscription."""

    status: Literal[SubscriptionStatus, "conflict", ReadRefusal]
    subscription_id: OptId = None
    customer: OptId = None
    plan: OptId = None
    period_end: OptTime = None
    cancel_at_period_end: OptBool = None
    next_step: OptText = None
    replayed: OptBool = None


class SubscriptionReadOutput(Output):
    """Answer of get_subscription."""

    status: Literal["ok", ReadRefusal]
    subscription_status: OptText = None
    subscription_id: OptId = None
    customer: OptId = None
    plan: OptId = None
    period_start: OptTime = None
    period_end: OptTime = None
    cancel_at_period_end: OptBool = None
    payment_id: OptId = None
    payment_status: OptText = None
    next_step: OptText = None


class UsageOutput(Output):
    """Answer of record_usage."""

    status: Literal["ok", "conflict", ReadRefusal]
    usage_id: OptId = None
    customer: OptId = None
    feature: OptId = None
    quantity: OptInt = None
    cost: OptAmount = None
    currency: OptText = None
    plan: OptId = None
    remaining: OptInt = None
    recorded_at: OptTime = None
    replayed: OptBool = None


class RefundOutput(Output):
    """Answer of refund."""

    status: Literal[Moving, Refusal]
    refund_id: OptId = None
    payment_id: OptId = None
    amount: OptAmount = None
    currency: OptText = None
    approval_id: OptId = None
    expires_at: OptTime = None
    next_step: OptText = None
    replayed: OptBool = None


class PaymentReadOutput(Output):
    """Answer of get_payment: `status` says that the read went well, `payment_status` how the payment stands.

    By the key of a refund it is the refund: `refund_id`, and of `payment_status` and `amount` the refund's.
    """

    status: Literal["ok", ReadRefusal]
    payment_status: OptText = None
    payment_id: OptId = None
    refund_id: OptId = None
    direction: OptText = None
    customer: OptId = None
    amount: OptAmount = None
    currency: OptText = None
    payee: OptText = None
    provider: OptText = None
    refunded: OptAmount = None
    description: OptText = None
    created_at: OptTime = None
    url: OptText = None
    approval_id: OptId = None
    expires_at: OptTime = None
    decline_code: OptText = None
    next_step: OptText = None


class ApprovalOutput(Output):
    """Answer of get_approval."""

    status: Literal["ok", ReadRefusal]
    approval_status: OptText = None
    approval_id: OptId = None
    payment_id: OptId = None
    operation: OptText = None
    customer: OptId = None
    amount: OptAmount = None
    currency: OptText = None
    payee: OptText = None
    expires_at: OptTime = None
    votes: OptInt = None
    needed: OptInt = None
    url: OptText = None
    next_step: OptText = None


class PaymentItem(Part):
    """A payment in a list."""

    payment_id: Id
    payment_status: Text
    direction: Text
    amount: Annotated[str, BeforeValidator(_decimal_text)]
    currency: Text
    payee: Text
    refunded: Annotated[str, BeforeValidator(_decimal_text)]
    created_at: Annotated[str, BeforeValidator(_utc_text)]
    description: OptText = None


class PaymentsOutput(Output):
    """Answer of list_payments, newest first."""

    status: Literal["ok", ReadRefusal]
    payments: Annotated[list[PaymentItem] | Absent, _OBJECTS] = None
    next_cursor: OptId = None


class PlanItem(Part):
    """A plan in a list."""

    id: Id
    name: Text
    payment_type: Text
    price: Annotated[str, BeforeValidator(_decimal_text)]
    currency: Text
    features: list[Id]
    billing_period: OptText = None
    price_per_request: OptAmount = None
    requests_per_period: OptInt = None
    free_requests: OptInt = None
    description: OptText = None


class PlansOutput(Output):
    """Answer of list_plans."""

    status: Literal["ok", ReadRefusal]
    plans: Annotated[list[PlanItem] | Absent, _OBJECTS] = None


class SpendableItem(Part):
    """The most that one charge may be now, in one currency and direction."""

    currency: Text
    direction: Text
    amount: Annotated[str, BeforeValidator(_decimal_text)]
    until: OptTime = None


class LimitItem(Part):
    """One of the agent's own limits. `limit`, `used`, `held` and `remaining` are `"150.00 USD"`, or a count `"10"`."""

    id: Id
    operation: Text
    directions: list[Text]
    window: Text
    limit: Text
    per: OptText = None
    used: OptText = None
    held: OptText = None
    remaining: OptText = None
    resets_at: OptTime = None


class BudgetOutput(Output):
    """Answer of get_budget. `shared_budget` is none, available or exhausted: others' figures are not shown."""

    status: Literal["ok", ReadRefusal]
    agent_known: OptBool = None
    halted: OptBool = None
    can_spend_now: Annotated[list[SpendableItem] | Absent, _OBJECTS] = None
    limits: Annotated[list[LimitItem] | Absent, _OBJECTS] = None
    shared_budget: OptText = None
    tools: list[Text] | Absent = None
    currencies: list[Text] | Absent = None
    providers: list[Text] | Absent = None
