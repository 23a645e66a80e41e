"""Periods by the true calendar, in UTC. Pure.

Every period is computed from the anchor, never from the period before: an anchor on the 31st of January gives the 28th
of February and the 31st of March. Periods are half-open and contiguous: each begins at the moment the one before ends.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from agentpay.plans.models import BillingPeriod

_DAYS: Final = {BillingPeriod.DAILY: 1, BillingPeriod.WEEKLY: 7}
_MONTHS: Final = {BillingPeriod.MONTHLY: 1, BillingPeriod.YEARLY: 12}


@dataclass(frozen=True)
class Period:
    """From `start` on and before `end`; without an end where the plan has no billing period. Numbers begin at 1."""

    number: int
    start: datetime
    end: datetime | None

    def covers(self, moment: datetime) -> bool:
        """Whether the moment lies in it."""
        return self.start <= moment and (self.end is None or moment < self.end)


def boundary(anchor: datetime, length: BillingPeriod, count: int) -> datetime:
    """The moment `count` periods after the anchor."""
    anchor = anchor.astimezone(UTC)
    if length in _DAYS:
        return anchor + timedelta(days=_DAYS[length] * count)
    return _months_later(anchor, _MONTHS[length] * count)


def nth(anchor: datetime, length: BillingPeriod | None, number: int) -> Period:
    """The period of that number. Without a length there is one, without an end."""
    if length is None:
        return Period(1, anchor, None)
    return Period(number, boundary(anchor, length, number - 1), boundary(anchor, length, number))


def at(anchor: datetime, length: BillingPeriod | None, moment: datetime) -> Period:
    """The period that a moment lies in; the first where the moment is before the anchor."""
    if length is None or moment < anchor:
        return nth(anchor, length, 1)
    number = max(1, _estimate(anchor.astimezone(UTC), length, moment.astimezone(UTC)))
    while boundary(anchor, length, number) <= moment:
        number += 1
    return nth(anchor, length, number)


def _estimate(anchor: datetime, length: BillingPeriod, moment: datetime) -> int:
    """The number of the period, or a little less."""
    if length in _DAYS:
        return (moment - anchor) // timedelta(days=_DAYS[length])
    months = (moment.year - anchor.year) * 12 + moment.month - anchor.month
    return months // _MONTHS[length] - 1


def _months_later(anchor: datetime, months: int) -> datetime:
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return anchor.replace(year=year, month=month + 1, day=min(anchor.day, last))
