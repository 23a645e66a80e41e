"""What payments look like from outside: frozen results."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from agentpay_policies.names import Direction

PaymentStatus = Literal[
    "approval_required",
    "pending",
    "requires_action",
    "unknown",
    "succeeded",
    "declined",
    "not_sent",
    "refused",
    "canceled",
]
RefundStatus = PaymentStatus


@dataclass(frozen=True)
class Payment:
    """A payment as it stands. `amount` carries its currency's decimals; `replayed`: this call did nothing new."""

    id: str
    status: PaymentStatus
    direction: Direction
    customer: str
    amount: Decimal
    currency: str
    payee: str
    provider: str
    refunded: Decimal
    created_at: datetime
    url: str | None = None
    approval_id: str | None = None
    next_step: str = ""
    replayed: bool = False
    description: str | None = None
    decline_code: str | None = None
    late: bool = False
    updated_at: datetime | None = None
    expires_at: datetime | None = None

    def __bool__(self) -> bool:
        """True only when the money moved."""
        return self.status == "succeeded"


@dataclass(frozen=True)
class Refund:
    """A refund as it stands. The payment stays `succeeded`; its `refunded` grows."""

    id: str
    payment_id: str
    status: RefundStatus
    amount: Decimal
    currency: str
    reason: str | None
    replayed: bool = False
    approval_id: str | None = None
    next_step: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
