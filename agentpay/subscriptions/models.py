"""What a subscription looks like from outside, and what the usage of a customer needs to know of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agentpay.plans.models import PaymentPlan
from agentpay.subscriptions.entitlement import Terms
from agentpay.subscriptions.states import Status


@dataclass(frozen=True)
class Subscription:
    """A subscription as it stands. `customer` is the application's own id.

    `payment_id` is the payment of the last period; `approval_id`, `url`, `payment_status` and
    `expires_at` (of the approval) are those of the payment that this call made or found, where there is one. `term` is
    the number of periods that the customer is committed to, `ends_at` the end that was agreed.
    """

    id: str
    customer: str
    plan: str
    status: Status
    group: str
    period_start: datetime | None
    period_end: datetime | None
    cancel_at_period_end: bool
    created_at: datetime
    term: int = 1
    ends_at: datetime | None = None
    plan_version: int = 0
    payment_id: str | None = None
    approval_id: str | None = None
    url: str | None = None
    next_step: str = ""
    replayed: bool = False
    payment_status: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Held:
    """A live subscription, as the usage of its customer sees it."""

    subscription_id: str
    plan: PaymentPlan
    terms: Terms
    lapses_at: datetime | None
    quota_anchor: datetime
