"""Periods by the calendar: exact examples, and what holds for every anchor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpay.plans.models import BillingPeriod
from agentpay.subscriptions.periods import Period, at, boundary, nth

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
LENGTHS = st.sampled_from(BillingPeriod)


def day(year: int, month: int, number: int) -> datetime:
    return datetime(year, month, number, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("anchor", "length", "ends"),
    [
        (
            day(2026, 1, 31),
            BillingPeriod.MONTHLY,
            [day(2026, 2, 28), day(2026, 3, 31), day(2026, 4, 30), day(2026, 5, 31)],
        ),
        (day(2028, 1, 31), BillingPeriod.MONTHLY, [day(2028, 2, 29), day(2028, 3, 31)]),  # a leap year
        (day(2026, 11, 30), BillingPeriod.MONTHLY, [day(2026, 12, 30), day(2027, 1, 30), day(2027, 2, 28)]),
        (
            day(2028, 2, 29),
            BillingPeriod.YEARLY,
            [day(2029, 2, 28), day(2030, 2, 28), day(2031, 2, 28), day(2032, 2, 29)],
        ),
        (day(2026, 2, 27), BillingPeriod.WEEKLY, [day(2026, 3, 6), day(2026, 3, 13)]),
        (day(2028, 2, 28), BillingPeriod.DAILY, [day(2028, 2, 29), day(2028, 3, 1)]),
    ],
)
def test_ends_are_counted_from_the_anchor(anchor: datetime, length: BillingPeriod, ends: list[datetime]) -> None:
    assert [boundary(anchor, length, count) for count in range(1, len(ends) + 1)] == ends


@given(anchor=MOMENTS, length=LENGTHS, number=st.integers(1, 300))
def test_periods_are_contiguous_and_never_empty(anchor: datetime, length: BillingPeriod, number: int) -> None:
    this, following = nth(anchor, length, number), nth(anchor, length, number + 1)
    assert this.end == following.start
    assert this.end is not None
    assert this.start < this.end
    assert nth(anchor, length, 1).start == anchor


@given(anchor=MOMENTS, length=LENGTHS, later=st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_every_moment_lies_in_the_one_period_that_is_found(
    anchor: datetime, length: BillingPeriod, later: timedelta
) -> None:
    found = at(anchor, length, anchor + later)
    assert found.covers(anchor + later)
    assert found == nth(anchor, length, found.number)


@given(anchor=MOMENTS, length=LENGTHS, number=st.integers(1, 100))
def test_a_period_begins_with_its_start_and_ends_before_its_end(
    anchor: datetime, length: BillingPeriod, number: int
) -> None:
    period = nth(anchor, length, number)
    assert period.end is not None
    assert at(anchor, length, period.start).number == number
    assert at(anchor, length, period.end - timedelta(microseconds=1)).number == number
    assert at(anchor, length, period.end).number == number + 1


def test_without_a_length_there_is_one_period_without_an_end() -> None:
    anchor = day(2026, 1, 31)
    assert at(anchor, None, day(2099, 1, 1)) == nth(anchor, None, 7) == Period(1, anchor, None)


def test_before_the_anchor_is_the_first_period() -> None:
    assert at(day(2026, 1, 31), BillingPeriod.DAILY, day(2026, 1, 1)).number == 1


def test_the_calendar_is_that_of_utc() -> None:
    east = timezone(timedelta(hours=14))
    anchor = datetime(2026, 2, 1, 9, tzinfo=east)  # still the 31st of January in UTC
    assert boundary(anchor, BillingPeriod.MONTHLY, 1) == datetime(2026, 2, 28, 19, tzinfo=UTC)
