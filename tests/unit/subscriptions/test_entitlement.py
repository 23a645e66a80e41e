"""Which state follows which, and when a subscription gives access."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from agentpay.subscriptions.entitlement import Terms, entitled, shown_status
from agentpay.subscriptions.states import LIVE, TRANSITIONS, Event, Status, after, known

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SOON = NOW + timedelta(seconds=1)


def terms(status: Status = "active", until: datetime | None = SOON, *, free: bool = False, ends: bool = False) -> Terms:
    return Terms(status, free, ends, until)


@pytest.mark.parametrize(
    ("given", "access"),
    [
        (terms(), True),
        (terms("past_due"), True),  # until the end of what is paid
        (terms(ends=True), True),  # an agreed end keeps access until then
        (terms(until=NOW), False),  # half-open: the end is not in it, whether or not a job has run
        (terms("past_due", NOW), False),
        (terms(until=None), True),
        (terms(until=NOW, free=True), True),  # price 0 goes on by itself
        (terms(until=NOW, free=True, ends=True), False),
        (terms("incomplete", None), False),
        (terms("canceled"), False),
        (terms("expired"), False),
    ],
)
def test_time_decides_about_access(given: Terms, access: bool) -> None:
    assert entitled(given, NOW) is access


def test_the_status_is_shown_as_time_has_decided() -> None:
    assert shown_status(terms(), SOON, NOW) == "active"
    assert shown_status(terms(until=NOW), SOON, NOW) == "past_due"
    assert shown_status(terms(until=NOW), NOW, NOW) == "expired"
    assert shown_status(terms(until=NOW, ends=True), SOON, NOW) == "canceled"
    assert shown_status(terms("incomplete", None), None, NOW) == "incomplete"


def test_what_is_over_stays_over() -> None:
    """Nothing leaves canceled; expired is left only by one that never began, which the lifecycle sees to."""
    assert not [event for event in get_args(Event) if after("canceled", event) is not None]
    assert {event for event in get_args(Event) if after("expired", event) is not None} == {"reopen", "activate"}


def test_only_incomplete_and_past_due_become_active_by_money() -> None:
    assert {state for (state, event), to in TRANSITIONS.items() if event == "activate" and to == "active"} == {
        "incomplete",
        "expired",
    }
    assert {state for (state, event), to in TRANSITIONS.items() if event == "renew" and to == "active"} == LIVE


def test_an_unknown_word_is_no_state() -> None:
    with pytest.raises(ValueError, match="no state"):
        known("paused")
