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
DisputeKind = Literal["dispute", "reversal"]
DisputeStatus = Literal["open", "won", "lost", "reversed", "restored"]


@dataclass(frozen=True)
class Payment:
    """A payment as it stands. `amount` carries its currency's decimals; `replayed`: this call did nothing new;
    `disputed`: what of it is gone, or may be, by disputes and reversals."""

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
    disputed: Decimal = Decimal(0)

    def __bool__(self) -> bool:
        """True only when the money moved."""
        return self.status == "succeeded"


@dataclass(frozen=True)
class Refund:
    """A refund as it stands. The payment stays `succeeded`; its `refunded` grows. `at_provider`: it was made there, by
    no call of ours; `returned`: it failed there after it had succeeded, and its money is back."""

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
    at_provider: bool = False
    returned: bool = False


@dataclass(frozen=True)
class Dispute:
    """Money of a payment that its customer's bank, or the provider itself, took back or wants back.

    `kind` is `dispute` (open, won, lost) or `reversal` (reversed, restored); `withdrawn` is what is gone now.
    """

    id: str
    payment_id: str
    provider: str
    kind: DisputeKind
    reference: str
    status: DisputeStatus
    amount: Decimal
    withdrawn: Decimal
    currency: str
    reason: str
    created_at: datetime
    updated_at: datetime
