"""Hours of the week: days, midnight, daylight saving, and when it opens next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpay_policies.schedule import (
    WEEKDAYS,
    TimeWindow,
    format_clock,
    format_moment,
    inside,
    next_opening,
    parse_clock,
    parse_moment,
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours(begin: str, end: str, days: str = "mon tue wed thu fri sat sun", tz: str = "UTC") -> TimeWindow:
    chosen = tuple(day for day in WEEKDAYS if day in days.split())
    return TimeWindow(chosen, parse_clock(begin), parse_clock(end), tz)


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        (hours("08:30", "17:00"), "2026-03-10T08:30", True),
        (hours("08:30", "17:00"), "2026-03-10T08:29:59", False),
        (hours("08:30", "17:00"), "2026-03-10T16:59:59", True),
        (hours("08:30", "17:00"), "2026-03-10T17:00", False),
        (hours("00:00", "24:00", "tue"), "2026-03-10T23:59:59", True),
        (hours("00:00", "24:00", "tue"), "2026-03-11T00:00", False),
        (hours("22:00", "06:00", "fri"), "2026-03-13T22:00", True),  # Friday night
        (hours("22:00", "06:00", "fri"), "2026-03-14T05:59", True),  # the morning after
        (hours("22:00", "06:00", "fri"), "2026-03-14T22:00", False),  # Saturday night
        (hours("22:00", "06:00", "fri"), "2026-03-13T05:59", False),  # the morning before
        (hours("22:00", "06:00", "sun"), "2026-03-16T05:00", True),  # over the week's end
        (hours("08:00", "09:00", tz="Asia/Tokyo"), "2026-03-09T23:30", True),
        (hours("02:00", "03:00", tz="Europe/Berlin"), "2026-03-29T01:30", False),  # that hour is skipped
        (hours("02:00", "03:00", tz="Europe/Berlin"), "2026-10-25T00:30", True),  # it comes twice:
        (hours("02:00", "03:00", tz="Europe/Berlin"), "2026-10-25T01:30", True),  # inside both times
        (hours("03:00", "04:00", tz="Europe/Berlin"), "2026-10-25T01:59", False),
        (hours("01:00", "04:00", tz="Europe/Berlin"), "2026-03-29T00:59", True),
        (hours("01:00", "04:00", tz="Europe/Berlin"), "2026-03-29T01:00", True),  # 03:00 summer time
    ],
)
def test_inside(window: TimeWindow, now: str, expected: bool) -> None:
    assert window.contains(utc(now)) is expected


def test_no_window_shuts_nothing_and_one_of_several_is_enough() -> None:
    assert inside((), utc("2026-03-10T03:00"))
    morning, evening = hours("08:00", "09:00"), hours("20:00", "21:00")
    assert inside((morning, evening), utc("2026-03-10T20:30"))
    assert not inside((morning, evening), utc("2026-03-10T12:30"))
    assert next_opening((morning, evening), utc("2026-03-10T12:30")) == utc("2026-03-10T20:00")


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        (hours("08:00", "09:00", "tue"), "2026-03-10T09:00", "2026-03-17T08:00"),
        (hours("08:00", "09:00", "tue"), "2026-03-10T07:00", "2026-03-10T08:00"),
        (hours("02:30", "03:00", "sun", "Europe/Berlin"), "2026-10-25T01:00", "2026-10-25T01:30"),  # the second 02:30
        (hours("02:30", "02:45", "sun", "Europe/Berlin"), "2026-03-28T12:00", "2026-04-05T00:30"),  # skipped once
        (hours("08:00", "09:00", "tue", "America/New_York"), "2026-03-03T20:00", "2026-03-10T12:00"),  # DST between
    ],
)
def test_when_it_opens_next(window: TimeWindow, now: str, opens: str) -> None:
    assert next_opening((window,), utc(now)) == utc(opens)


@settings(max_examples=150, deadline=None)
@given(
    minutes=st.integers(0, 3 * 365 * 24 * 60),
    begin=st.integers(0, 1439),
    end=st.integers(1, 1440),
    days=st.sets(st.sampled_from(WEEKDAYS), min_size=1),
    tz=st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe"]),
)
def test_the_next_opening_is_open_and_not_past(minutes: int, begin: int, end: int, days: set[str], tz: str) -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    window = TimeWindow(tuple(day for day in WEEKDAYS if day in days), begin, end, tz)
    opens = next_opening((window,), now)
    if begin != end and opens is not None:
        assert opens > now and window.contains(opens)


@pytest.mark.parametrize(
    "text", ["8:30", "08:30:00", "24:01", "25:00", "08.30", "0830", "٠٨:٣٠", "08:30\n", "", "08:60"]
)
def test_no_clock(text: str) -> None:
    with pytest.raises(ValueError, match="not a time of day"):
        parse_clock(text)


def test_clocks() -> None:
    assert [format_clock(parse_clock(text)) for text in ("00:00", "08:05", "24:00")] == ["00:00", "08:05", "24:00"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T09:00:00+01:00", "2026-01-31T08:00:00Z"),
        ("2026-01-31 09:00Z", "2026-01-31T09:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert format_moment(parse_moment(text)) == moment
    assert parse_moment(moment) == parse_moment(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31",
        "2026-01-31T09:00:00",
        "2026-02-30T09:00:00Z",
        "2026-01-31T25:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-01-31T09:00:00Z\n",
        "tomorrow",
        "",
        "２026-01-31T09:00:00Z",
        "2026-01-31T09:00:00.5Z",
    ],
)
def test_no_moments(text: str) -> None:
    with pytest.raises(ValueError, match="not a moment"):
        parse_moment(text)
