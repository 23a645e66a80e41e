"""The answer of an access check."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

AllowedReason = Literal["included", "free", "credits", "metered"]
DeniedReason = Literal["no_plan", "limit_reached", "expired", "past_due", "unknown_feature", "credits_exhausted"]
Reason = AllowedReason | DeniedReason


@dataclass(frozen=True)
class Access:
    """Whether a customer may use a feature now; true when allowed.

    `reason` is one of a closed set of words: how the last unit would be paid, or why there is none. `plan` is the plan
    that it would be taken from. `limit` and `remaining` are None where nothing is counted down.
    """

    allowed: bool
    reason: Reason
    plan: str | None
    used: int
    limit: int | None
    remaining: int | None
    unlimited: bool
    resets_at: datetime | None
    next_step: str

    def __bool__(self) -> bool:
        return self.allowed
