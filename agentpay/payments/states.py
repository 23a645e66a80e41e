"""What an outcome does to a payment or a refund: one table, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from agentpay.payments.models import PaymentStatus
from agentpay.providers.outcomes import OutcomeName

Effect = Literal["capture", "release", "void", "keep", "late", "none"]
"""What becomes of the hold. `late` is a success after the hold was let go: recorded, counted again, and flagged."""


@dataclass(frozen=True)
class Step:
    """The status after an outcome, and what becomes of the hold."""

    status: PaymentStatus
    effect: Effect


_OPEN: Final[dict[OutcomeName, Step]] = {
    "succeeded": Step("succeeded", "capture"),
    "requires_action": Step("requires_action", "keep"),
    "pending": Step("pending", "keep"),
    "declined": Step("declined", "release"),
    "not_sent": Step("not_sent", "void"),
    "unknown": Step("unknown", "keep"),
}


def after(status: PaymentStatus, outcome: OutcomeName) -> Step:
    """The step that an outcome causes.

    A payment that succeeded stays so. One that ended otherwise changes only by a late success, which is never lost.
    """
    if status in ("pending", "requires_action", "unknown"):
        return _OPEN[outcome]
    if outcome == "succeeded" and status != "succeeded":
        return Step("succeeded", "late")
    return Step(status, "none")


def says_more(before: str, outcome: OutcomeName) -> bool:
    """Whether an outcome adds to what is known of an attempt.

    What was proved stands, but for a success that comes after a proof of the contrary.
    """
    if before in ("succeeded", "declined", "not_sent"):
        return outcome == "succeeded" and before != "succeeded"
    return True
