"""When an agent may act: from a moment, until a moment, and within hours of the week as the clock on the wall shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal, get_args

from agentpay_policies.windows import zone

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: Final[tuple[Weekday, ...]] = get_args(Weekday)

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z")
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})\Z")
END_OF_DAY: Final = 24 * 60


@dataclass(frozen=True, order=True)
class TimeWindow:
    """Hours of some days of the week in a time zone. `begin` and `end` are minutes after midnight, `end` up to 1440.

    Where `end` is before `begin` the window goes over midnight, and `days` are those on which it begins. The clock on
    the wall decides: an hour that comes twice in autumn is twice inside or outside, a skipped one is neither.
    """

    days: tuple[Weekday, ...]
    begin: int
    end: int
    tz: str

    def contains(self, now: datetime) -> bool:
        """Whether the moment lies inside: the first minute does, the last does not."""
        local = now.astimezone(zone(self.tz))
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.begin < self.end:
            return WEEKDAYS[today] in self.days and self.begin <= minute < self.end
        if minute >= self.begin:
            return WEEKDAYS[today] in self.days
        return minute < self.end and WEEKDAYS[today - 1] in self.days

    def openings(self, now: datetime) -> Iterator[datetime]:
        """The moments of the next eight days at which it begins, as far as the clock on the wall ever shows them."""
        today = now.astimezone(zone(self.tz)).date()
        for ahead in range(-1, 9):
            day = today + timedelta(days=ahead)
            if WEEKDAYS[day.weekday()] in self.days:
                yield from self._opening(day, now)

    def _opening(self, day: date, now: datetime) -> Iterator[datetime]:
        for fold in (0, 1):
            clock = time(self.begin // 60, self.begin % 60, fold=fold)
            moment = datetime.combine(day, clock, tzinfo=zone(self.tz)).astimezone(UTC)
            if moment > now and self.contains(moment):
                yield moment

    def __str__(self) -> str:
        return f"{', '.join(self.days)} {format_clock(self.begin)} to {format_clock(self.end)} ({self.tz})"


def inside(windows: Iterable[TimeWindow], now: datetime) -> bool:
    """Whether a moment lies in one of the windows; where there is none, every moment does."""
    found = tuple(windows)
    return not found or any(window.contains(now) for window in found)


def next_opening(windows: Iterable[TimeWindow], now: datetime) -> datetime | None:
    """When the first of the windows opens next; None: not within eight days."""
    return min((moment for window in windows for moment in window.openings(now)), default=None)


def parse_clock(text: str) -> int:
    """A time of day as policy files write it, `"08:30"`, in minutes after midnight; `"24:00"` is the day's end.

    Raises:
        ValueError: anything else.
    """
    if text == "24:00":
        return END_OF_DAY
    if not (found := _CLOCK.match(text)):
        raise ValueError('not a time of day: write it as "08:30", from "00:00" to "24:00"')
    return int(found[1]) * 60 + int(found[2])


def format_clock(minute: int) -> str:
    """Minutes after midnight as `08:30`."""
    return f"{minute // 60:02}:{minute % 60:02}"


def parse_moment(text: str) -> datetime:
    """A moment as policy files write it, `"2026-01-31T09:00:00+01:00"`, in UTC. The offset must be there.

    Raises:
        ValueError: anything else.
    """
    said = 'not a moment: write it with its offset, such as "2026-01-31T09:00:00+01:00" or "2026-01-31T08:00:00Z"'
    if not _MOMENT.match(text):
        raise ValueError(said)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise ValueError(said) from exc


def format_moment(moment: datetime) -> str:
    """A moment as `2026-01-31T08:00:00Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
