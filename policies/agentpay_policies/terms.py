"""What a subscription commits a customer to: its billing period, how many of them, and what that comes to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

Period = Literal["daily", "weekly", "monthly", "yearly"]
PERIODS: Final[tuple[Period, ...]] = get_args(Period)

TermUnit = Literal["days", "weeks", "months", "years"]
_UNITS: Final[dict[Period, TermUnit]] = {"daily": "days", "weekly": "weeks", "monthly": "months", "yearly": "years"}
_DAYS: Final[dict[TermUnit, int]] = {"days": 1, "weeks": 7}
_MONTHS: Final[dict[TermUnit, int]] = {"months": 1, "years": 12}

_TERM: Final = re.compile(r"([1-9][0-9]{0,3}) (day|week|month|year)s?\Z")
LONGEST_TERM_YEARS: Final = 100


@dataclass(frozen=True)
class Term:
    """A length of the calendar: so many days, weeks, months or years."""

    number: int
    unit: TermUnit

    @classmethod
    def of(cls, period: Period, number: int) -> Term:
        """So many billing periods."""
        return cls(number, _UNITS[period])

    def fits(self, longest: Term) -> bool:
        """Whether it is no longer than another, wherever in the calendar both begin. In doubt it is longer."""
        if self.unit in _DAYS and longest.unit in _DAYS:
            return self.number * _DAYS[self.unit] <= longest.number * _DAYS[longest.unit]
        if self.unit in _MONTHS and longest.unit in _MONTHS:
            return self.number * _MONTHS[self.unit] <= longest.number * _MONTHS[longest.unit]
        return self._days(366, 31) <= longest._days(365, 28)

    def _days(self, year: int, month: int) -> int:
        if self.unit in _DAYS:
            return self.number * _DAYS[self.unit]
        years, months = divmod(self.number * _MONTHS[self.unit], 12)
        return years * year + months * month

    def __str__(self) -> str:
        return f"{self.number} {self.unit if self.number > 1 else self.unit[:-1]}"


def parse_term(text: str) -> Term:
    """A term as policy files write it: `12 months`, `1 year`.

    Raises:
        ValueError: anything else.
    """
    if not (found := _TERM.match(text)):
        raise ValueError("not a term: write a whole number with days, weeks, months or years, such as 12 months")
    unit = next(unit for unit in get_args(TermUnit) if unit == f"{found[2]}s")
    return Term(int(found[1]), unit)


def committed_minor(minor: int, term: int, counts: Literal["committed", "paid"]) -> int:
    """What a subscription counts, in minor units: the price of one period, or of every period it commits to.

    >>> committed_minor(1000, 12, "committed"), committed_minor(1000, 12, "paid")
    (12000, 1000)
    """
    return minor * term if counts == "committed" else minor
