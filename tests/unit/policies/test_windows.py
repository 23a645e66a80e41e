"""Windows: true calendars over daylight saving, whole minutes, and how durations are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpay_policies.windows import Window, floor_minute, format_duration, parse_duration, zone


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("unit", "tz", "now", "start", "end"),
    [
        ("day", "UTC", "2026-03-10T12:30:45", "2026-03-10T00:00", "2026-03-11T00:00"),
        ("day", "UTC", "2026-03-10T00:00:00", "2026-03-10T00:00", "2026-03-11T00:00"),
        ("day", "Europe/Berlin", "2026-03-28T23:30", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("week", "UTC", "2026-03-15T23:59", "2026-03-09T00:00", "2026-03-16T00:00"),  # Sunday
        ("week", "UTC", "2026-03-16T00:00", "2026-03-16T00:00", "2026-03-23T00:00"),  # Monday
        ("month", "Europe/Berlin", "2026-02-28T23:00", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("month", "UTC", "2024-02-29T10:00", "2024-02-01T00:00", "2024-03-01T00:00"),
        ("month", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("year", "Asia/Kathmandu", "2026-01-01T00:00", "2025-12-31T18:15", "2026-12-31T18:15"),
        ("day", "Asia/Beirut", "2023-03-26T12:00", "2023-03-25T22:00", "2023-03-26T21:00"),  # midnight is skipped
        ("day", "America/Havana", "2026-11-01T12:00", "2026-11-01T04:00", "2026-11-02T05:00"),  # midnight comes twice
    ],
)
def test_calendar_windows(unit: Any, tz: str, now: str, start: str, end: str) -> None:
    window = Window("calendar", unit=unit, tz=tz)
    assert window.start(utc(now)) == utc(start)
    assert window.end(utc(now)) == utc(end)


def test_a_rolling_window_counts_its_oldest_minute_whole() -> None:
    window = Window("rolling", length=timedelta(hours=1))
    assert window.start(utc("2026-03-10T12:30:59")) == utc("2026-03-10T11:30")
    assert window.start(utc("2026-03-10T12:31:00")) == utc("2026-03-10T11:31")
    assert window.leaves(utc("2026-03-10T11:31")) == utc("2026-03-10T12:31")


def test_lifetime_has_no_start() -> None:
    assert Window("lifetime").start(utc("2026-03-10T12:30")) is None
    assert Window("lifetime").end(utc("2026-03-10T12:30")) is None


@settings(max_examples=100, deadline=None)
@given(
    minutes=st.integers(0, 90 * 365 * 24 * 60),
    unit=st.sampled_from(["day", "week", "month", "year"]),
    tz=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "Australia/Lord_Howe"]
    ),
)
def test_calendar_windows_follow_one_another(minutes: int, unit: Any, tz: str) -> None:
    now = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes, seconds=30)
    window = Window("calendar", unit=unit, tz=tz)
    start, end = window.start(now), window.end(now)
    assert start is not None and end is not None
    assert start <= now < end
    assert start == floor_minute(start)
    assert window.start(end) == end
    assert window.start(end - timedelta(microseconds=1)) == start


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("30m", 1800), ("24h", 86400), ("7d", 604800), ("400d", 400 * 86400)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


@pytest.mark.parametrize("text", ["", "24", "h", "1.5h", "-1h", "1h30m", " 1h", "1h\n", "1H", "1w", "١h", "1e3s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "../../etc/passwd",
        "/etc/localtime",
        "Europe",
        "localtime",
        "right/UTC",
        "a\x00b",
        "é",
        "UTC\n",
    ],
)
def test_no_zones(name: str) -> None:
    with pytest.raises(ValueError, match="not a time zone"):
        zone(name)
