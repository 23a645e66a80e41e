"""Counters by bucket sum exactly what a naive sum over the holds gives, whatever the window."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentpay.spending import counters
from agentpay.storage import Store, Tx
from agentpay.storage.schema import prepare
from agentpay_policies.decisions import CounterKey, Reading

KEYS = [
    CounterKey("agent:bot", "charge", "collect", "USD"),
    CounterKey("agent:bot", "charge", "send", "USD"),
    CounterKey("budget:x|customer:cus_1", "subscribe", "collect", "count"),
]
BASE = datetime(2026, 3, 28, tzinfo=UTC)  # the night in which Europe changes its clocks is inside
SPAN = int(timedelta(days=5).total_seconds() * 10**6)

MOMENTS = st.integers(0, SPAN).map(lambda micros: BASE + timedelta(microseconds=micros))
MINUTES = st.one_of(st.none(), MOMENTS.map(lambda at: at.replace(second=0, microsecond=0)))
HOLDS = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 10**12), MOMENTS, st.booleans()), max_size=12)


@pytest.fixture(scope="module")
def memory() -> Iterator[Store]:
    store = Store("memory://")
    prepare(store)
    yield store
    store.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(holds=HOLDS, start=MINUTES, keys=st.sets(st.sampled_from(KEYS), min_size=1))
def test_a_window_is_the_sum_of_what_lies_in_it(
    memory: Store, holds: list[tuple[CounterKey, int, datetime, bool]], start: datetime | None, keys: set[CounterKey]
) -> None:
    reading = Reading(tuple(sorted(keys)), start)
    expected = sum(
        value for key, value, at, released in holds if key in keys and not released and (start is None or at >= start)
    )

    def fill(tx: Tx) -> tuple[int, int]:
        counters.make_anew(tx, {})
        for key, value, at, released in holds:
            counters.add(tx, {key: value}, at)
            if released:
                counters.take_back(tx, [key.subject], key.operation, key.direction, key.unit, value, at)
        found = counters.detailed(tx, reading, 0, BASE + timedelta(days=5))
        assert found.total == counters.total(tx, reading)
        return counters.total(tx, reading), sum(value for _, _, value in found.buckets) if start else found.total

    total, told = memory.write(fill)
    assert (total, told) == (expected, expected)


@given(at=MOMENTS)
def test_each_bucket_holds_its_moment(at: datetime) -> None:
    found = counters.buckets(at)
    assert found["lifetime"] == counters.EPOCH
    for grain, length in (("minute", 60), ("hour", 3600), ("day", 86400)):
        assert found[grain] <= at < found[grain] + timedelta(seconds=length)
        assert found[grain].timestamp() % length == 0


def test_a_counter_stops_before_it_outgrows_its_column_and_no_sum_of_several_does(memory: Store) -> None:
    minute, most = timedelta(minutes=1), 2**62

    def fill(tx: Tx) -> list[int]:
        counters.make_anew(tx, {(BASE, KEYS[0]): 10**20})
        for number in range(1, 4):
            counters.add(tx, {KEYS[0]: 8 * 10**18}, BASE + number * minute)
            counters.add(tx, {KEYS[0]: 1}, BASE + number * minute)
        starts = (None, BASE, BASE + minute)
        return [counters.total(tx, Reading((KEYS[0],), start)) for start in starts]

    assert memory.write(fill) == [most, most, 3 * most]
