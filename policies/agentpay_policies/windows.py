"""Where a limit's window begins and ends: the true calendar of a time zone, or so many minutes back.

A rolling window begins on a whole minute, so that its oldest bucket counts whole: budget is freed up to a minute late,
never early.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

CalendarUnit = Literal["day", "week", "month", "year"]
CALENDAR_UNITS: Final[tuple[CalendarUnit, ...]] = ("day", "week", "month", "year")

LONGEST_ROLLING: Final = timedelta(days=400)

_ZONE_NAME: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}\Z")
_NO_ZONES: Final = ("localtime", "posixrules", "Factory", "posix/", "right/")


@dataclass(frozen=True)
class Window:
    """The time that a limit looks back over: rolling with a length, calendar with a unit and a zone, or lifetime."""

    kind: Literal["rolling", "calendar", "lifetime"]
    length: timedelta | None = None
    unit: CalendarUnit | None = None
    tz: str | None = None

    def start(self, now: datetime) -> datetime | None:
        """The moment, on a whole minute of UTC, from which on everything counts; None: from the beginning."""
        if self.kind == "lifetime":
            return None
        if self.kind == "rolling":
            assert self.length is not None
            return floor_minute(now - self.length)
        return _midnight(self._first_day(now), self._zone())

    def end(self, now: datetime) -> datetime | None:
        """When a calendar window ends and the next begins; None for the others, which have no end of their own."""
        return _midnight(self._next_day(self._first_day(now)), self._zone()) if self.kind == "calendar" else None

    def leaves(self, bucket_end: datetime) -> datetime | None:
        """When a bucket that ended at `bucket_end` counts no more; None where it always counts.

        For a calendar window that is the end of the window the bucket lies in.
        """
        if self.kind == "rolling":
            assert self.length is not None
            return bucket_end + self.length
        return self.end(bucket_end - timedelta(microseconds=1))

    def __str__(self) -> str:
        if self.kind == "rolling":
            assert self.length is not None
            return f"rolling {format_duration(self.length)}"
        return f"calendar {self.unit} ({self.tz})" if self.kind == "calendar" else "lifetime"

    def _zone(self) -> ZoneInfo:
        assert self.tz is not None
        return zone(self.tz)

    def _first_day(self, now: datetime) -> date:
        today = now.astimezone(self._zone()).date()
        if self.unit == "day":
            return today
        if self.unit == "week":
            return today - timedelta(days=today.weekday())
        return today.replace(day=1) if self.unit == "month" else today.replace(month=1, day=1)

    def _next_day(self, first: date) -> date:
        if self.unit in ("day", "week"):
            return first + timedelta(days=1 if self.unit == "day" else 7)
        if self.unit == "month":
            return (first + timedelta(days=31)).replace(day=1)
        return first.replace(year=first.year + 1)


def floor_minute(moment: datetime) -> datetime:
    """The whole minute of UTC in which the moment lies."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def _midnight(day: date, tz: ZoneInfo) -> datetime:
    # fold=0 is right on both odd days: a skipped midnight is the jump itself, and of two the first begins the day.
    return datetime.combine(day, time(0), tzinfo=tz).astimezone(UTC)


@cache
def zone(name: str) -> ZoneInfo:
    """A time zone of the IANA database by its name.

    Raises:
        ValueError: there is none, or the name means another zone on another machine.
    """
    if not _ZONE_NAME.match(name) or name.startswith(_NO_ZONES):
        raise ValueError(f"{name[:40]!r} is not a time zone")
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as exc:
        raise ValueError(f"{name[:40]!r} is not a time zone") from exc


_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])\Z")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> timedelta:
    """A duration as policy files write it: `0s`, `30m`, `24h`, `7d`.

    Raises:
        ValueError: anything else.
    """
    if not (found := _DURATION.match(text)):
        raise ValueError("not a duration: write a whole number with s, m, h or d, such as 30m or 24h")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def format_duration(length: timedelta) -> str:
    """The shortest way to write a duration of whole seconds: `24h` becomes `1d`."""
    seconds = int(length.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"
