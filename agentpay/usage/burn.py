"""Which allowance is used first, and how a quantity is split over several. Pure.

Included and free units go first: those without a limit, so that nothing is used up where nothing need be; then the
pool that resets soonest, and what is given for life last. After them what is paid from credits, then what is billed
afterwards. One event is priced in one currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from agentpay.usage.allowances import Allowance

_RANK: Final = {"included": 0, "free": 0, "credits": 1, "metered": 2}
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Level:
    """An allowance, and where its pool stands."""

    allowance: Allowance
    used: int = 0
    held: int = 0

    @property
    def left(self) -> int | None:
        """The units that are left; None where there is no limit."""
        limit = self.allowance.limit
        return None if limit is None else max(0, limit - self.used - self.held)


@dataclass(frozen=True)
class Part:
    """So many units of one allowance."""

    allowance: Allowance
    quantity: int

    @property
    def nanos(self) -> int:
        """What they cost, in 10⁻⁹ of the currency."""
        return self.quantity * self.allowance.unit_nanos


@dataclass(frozen=True)
class Split:
    """A quantity over allowances: the parts and what is missing add up to it.

    `short_of_credits` says that credits, and not only limits, are what is missing.
    """

    parts: tuple[Part, ...]
    missing: int
    short_of_credits: bool

    @property
    def nanos(self) -> int:
        """What all parts cost."""
        return sum(part.nanos for part in self.parts)

    @property
    def prepaid_nanos(self) -> int:
        """What of it has to come from credits."""
        return sum(part.nanos for part in self.parts if part.allowance.kind == "credits")


@dataclass(frozen=True)
class Summary:
    """What all allowances of a feature come to. Where something has no limit, there is nothing to count down."""

    used: int
    held: int
    limit: int | None
    remaining: int | None
    unlimited: bool
    resets_at: datetime | None


def ordered(levels: Iterable[Level]) -> list[Level]:
    """The levels in the order in which they are used."""
    return sorted(levels, key=lambda level: _place(level.allowance))


def currency_of(levels: Sequence[Level]) -> str | None:
    """The currency in which an event over these ordered levels is priced: that of the first one with a price."""
    return next((level.allowance.currency for level in levels if _priced(level)), None)


def split(quantity: int, levels: Sequence[Level], *, credits: int, priced: bool = True) -> Split:
    """Split a quantity over ordered levels.

    `credits` (10⁻⁹ of the currency of `currency_of`) bounds what is paid in advance. With `priced` false the caller
    has a price of its own for the whole, and unit prices bound nothing.
    """
    currency = currency_of(levels)
    parts: list[Part] = []
    missing, short = quantity, False
    for level in levels:
        if missing and not (_priced(level) and level.allowance.currency != currency):
            units = missing if level.left is None else min(missing, level.left)
            if priced and level.allowance.kind == "credits" and level.allowance.unit_nanos:
                affordable = max(0, credits) // level.allowance.unit_nanos
                short = short or affordable < units
                units = min(units, affordable)
                credits -= units * level.allowance.unit_nanos
            if units:
                parts.append(Part(level.allowance, units))
                missing -= units
    return Split(tuple(parts), missing, short and missing > 0)


def summary(levels: Sequence[Level]) -> Summary:
    """What the levels of one feature come to."""
    limits = [level.allowance.limit for level in levels]
    left = [level.left for level in levels]
    unlimited = any(
        limit is None and level.allowance.kind != "credits" for limit, level in zip(limits, levels, strict=True)
    )
    resets = [level.allowance.resets_at for level in levels if level.allowance.limit is not None]
    known = not unlimited and None not in limits
    return Summary(
        used=sum(level.used for level in levels),
        held=sum(level.held for level in levels),
        limit=sum(limit for limit in limits if limit is not None) if known else None,
        remaining=sum(units for units in left if units is not None) if known else None,
        unlimited=unlimited,
        resets_at=None if unlimited else min((moment for moment in resets if moment is not None), default=None),
    )


def _priced(level: Level) -> bool:
    return level.allowance.unit_nanos > 0


def _place(allowance: Allowance) -> tuple[object, ...]:
    rank = _RANK[allowance.kind]
    resets = allowance.resets_at or _NEVER
    if rank == 0:
        return (rank, allowance.limit is not None, resets, allowance.pool)
    return (rank, allowance.unit_nanos, resets, allowance.pool)
