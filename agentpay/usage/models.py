"""What usage looks like from outside: frozen results."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from agentpay_policies.money import Price


@dataclass(frozen=True)
class UsageRecord:
    """One use, as it was recorded. `cost` is None where the units were included.

    `remaining` is what is left of the feature now; None where nothing is counted down.
    """

    id: str
    customer: str
    feature: str
    quantity: int
    cost: Decimal | None
    currency: str | None
    plan: str | None
    remaining: int | None
    recorded_at: datetime
    replayed: bool = False


@dataclass(frozen=True)
class FeatureUsage:
    """How one feature stands. `used`, `held`, `limit` and `remaining` are those of its pools, which it may share.

    `recorded` counts the units of this feature alone, in the time asked for.
    """

    feature: str
    plan: str | None
    recorded: int
    used: int
    held: int
    limit: int | None
    remaining: int | None
    unlimited: bool
    resets_at: datetime | None


@dataclass(frozen=True)
class Usage:
    """What a customer used: by feature, and what of it is not billed yet, by currency."""

    customer: str
    features: tuple[FeatureUsage, ...]
    unbilled: tuple[Price, ...]

    def feature(self, name: str) -> FeatureUsage | None:
        """One feature, or None where the customer neither has nor used it."""
        return next((one for one in self.features if one.feature == name), None)
