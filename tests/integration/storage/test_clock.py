"""Time: read inside the write; on SQLite it never runs backwards, on PostgreSQL it is the server's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentpay.clock import FixedClock
from agentpay.errors import ClockWentBack
from agentpay.storage import Store
from agentpay.storage.texts import keep, text_of
from conftest import START, OpenStore

sqlite_only = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def test_a_write_sees_the_clock_that_was_passed(store: Store, clock: FixedClock) -> None:
    assert store.write(lambda tx: tx.now()) == START
    clock.advance(timedelta(hours=1))
    assert store.write(lambda tx: tx.now()) == START + timedelta(hours=1)
    assert store.read(lambda tx: tx.now()) == START + timedelta(hours=1)


def test_the_time_is_never_before_the_rows_that_were_locked(store: Store) -> None:
    later = START + timedelta(minutes=3)
    assert store.write(lambda tx: tx.now(None, later, START)) == later


@sqlite_only
@pytest.mark.parametrize("back", [0, 1, 5])
def test_a_clock_a_little_behind_is_taken_as_standing_still(store: Store, clock: FixedClock, back: int) -> None:
    clock.advance(timedelta(seconds=-back))
    assert store.write(lambda tx: tx.now()) == START
    assert store.read(lambda tx: tx.now()) == START


@sqlite_only
def test_a_clock_far_behind_is_refused_until_an_operator_accepts_it(store: Store, clock: FixedClock) -> None:
    clock.advance(timedelta(seconds=-5, microseconds=-1))
    with pytest.raises(ClockWentBack, match="2026-01-31 10:00:00"):
        store.write(lambda tx: keep(tx, "a", "b", "c"))
    assert store.read(lambda tx: text_of(tx, "a", "b")) is None
    assert store.write(lambda tx: tx.now(), accept_clock=True) == clock.now()
    clock.advance(timedelta(seconds=1))
    assert store.write(lambda tx: tx.now()) == clock.now()


@sqlite_only
def test_several_programs_see_one_time(store: Store, open_store: OpenStore) -> None:
    ahead = open_store(clock=FixedClock(START + timedelta(seconds=4)))
    assert ahead.write(lambda tx: tx.now()) == START + timedelta(seconds=4)
    assert store.write(lambda tx: tx.now()) == START + timedelta(seconds=4)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_without_a_clock_the_time_is_the_servers(open_store: OpenStore) -> None:
    store = open_store(clock=None)
    here = datetime.now(UTC)
    first, second = store.write(lambda tx: (tx.now(), tx.now()))
    assert abs(first - here) < timedelta(seconds=5)
    assert first < second  # the clock's, not the transaction's
    assert abs(store.read(lambda tx: tx.now()) - here) < timedelta(seconds=5)
