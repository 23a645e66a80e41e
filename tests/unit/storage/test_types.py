"""Column types and the insert of defaults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpay.storage.tables import TextRow
from agentpay.storage.transaction import _with_defaults
from agentpay.storage.types import from_micros, to_micros


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_survives(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment


def test_a_moment_elsewhere_is_the_same_moment() -> None:
    there = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))
    assert from_micros(to_micros(there)) == there
    assert from_micros(to_micros(there)).tzinfo is UTC


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        to_micros(datetime(2026, 1, 31))  # noqa: DTZ001


def test_a_column_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="TextRow has no color"):
        _with_defaults(TextRow, {"owner_id": "a", "color": "red"})
