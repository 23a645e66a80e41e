"""Counters by bucket of time: what lets a window be summed at the same cost whatever number of payments lies in it.

Each counter is kept by the minute, the hour, the day and for ever. A window from `start` until now is summed from
whole minutes up to the next full hour, whole hours up to the next full day, and days from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa

from agentpay.spending.tables import CounterRow, SubjectRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay_policies.decisions import CounterKey, Reading, Sum

_COUNTERS = table(CounterRow)
_SUBJECTS = table(SubjectRow)
_C = _COUNTERS.c

_AT_ONCE: Final = 5_000

MOST: Final = 2**62
"""Where a counter stops, within a BIGINT: every cap is far below it, so whoever reached it is above his cap anyway."""

_PART: Final = 10**9
_KEY: Final = tuple(column == sa.bindparam(column.key) for column in (_C.subject, _C.operation, _C.direction, _C.unit))
"""The conditions on a counter's key. The two queries stand ready, since every decision runs one for each limit."""
_EVER: Final = sa.select(
    sa.literal_column("0").label("high"), sa.func.coalesce(sa.func.sum(_C.value), 0).label("low")
).where(*_KEY, _C.grain == "lifetime")


def _span(grain: str, *, ends: bool = True) -> sa.Select[tuple[int, int]]:
    """The sum of a grain's buckets from one moment to another; every one is a range of the primary key.

    In two parts, so that no sum overflows.
    """
    bounds = [_C.bucket >= sa.bindparam(f"{grain}_from", type_=_C.bucket.type)]
    bounds += [_C.bucket < sa.bindparam(f"{grain}_to", type_=_C.bucket.type)] if ends else []
    high, low = sa.func.sum(_C.value // _PART).label("high"), sa.func.sum(_C.value % _PART).label("low")
    return sa.select(high, low).where(*_KEY, _C.grain == grain, *bounds)


_PARTS: Final = sa.union_all(_span("minute"), _span("hour"), _span("day", ends=False)).subquery()
_SINCE: Final = sa.select(
    *(sa.func.coalesce(sa.func.sum(part), 0).label(part.key) for part in (_PARTS.c.high, _PARTS.c.low))
)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_GRAINS: Final[dict[str, timedelta]] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}


def floored(moment: datetime, size: timedelta) -> datetime:
    """The start of the bucket in which a moment lies."""
    return moment - (moment - EPOCH) % size


def _ceiled(moment: datetime, size: timedelta) -> datetime:
    start = floored(moment, size)
    return start if start == moment else start + size


def buckets(moment: datetime) -> dict[str, datetime]:
    """The bucket of each grain in which a moment counts."""
    return {**{grain: floored(moment, size) for grain, size in _GRAINS.items()}, "lifetime": EPOCH}


def lock_policy(tx: Tx, *, to_change: bool) -> None:
    """Keep the active policy, and which counters there are, as they are; or, to change them, keep everybody else out.

    It comes before the subjects in the order of locks. On SQLite a write transaction already excludes every other.
    """
    if tx.dialect == "postgresql":
        name = "pg_advisory_xact_lock" if to_change else "pg_advisory_xact_lock_shared"
        tx.execute(sa.text(f"SELECT {name}(4711, 2)"))


def lock_subjects(tx: Tx, subjects: Iterable[str]) -> None:
    """Lock agents and budgets before their counters are read: sums come from a later statement, so they are current."""
    if tx.dialect == "sqlite":
        return
    names = sorted(set(subjects))
    ordered = sa.select(_SUBJECTS.c.subject).where(_SUBJECTS.c.subject.in_(names)).order_by(_SUBJECTS.c.subject)
    if names and len(tx.lock(ordered)) < len(names):
        for name in names:
            tx.insert_new(SubjectRow, subject=name)
        tx.lock(ordered)


def add(tx: Tx, values: Mapping[CounterKey, int], at: datetime) -> None:
    """Count amounts in their buckets."""
    rows = [
        {**_columns(key), "grain": grain, "bucket": bucket, "value": min(value, MOST)}
        for key, value in sorted(values.items())
        if value
        for grain, bucket in buckets(at).items()
    ]
    if not rows:
        return
    insert = tx.insert_into(_COUNTERS)
    more = insert.excluded.value
    value = sa.case((_C.value > MOST - more, MOST), else_=_C.value + more)
    tx.execute(
        insert.on_conflict_do_update(index_elements=list(_COUNTERS.primary_key.columns), set_={"value": value}), rows
    )


def take_back(
    tx: Tx, subjects: Iterable[str], operation: str, direction: str, unit: str, value: int, at: datetime
) -> None:
    """Correct the buckets in which a hold was counted; a counter that the policy does not read has no row there."""
    spots = sa.or_(*(sa.and_(_C.grain == grain, _C.bucket == bucket) for grain, bucket in buckets(at).items()))
    tx.execute(
        sa.update(_COUNTERS)
        .where(_C.subject.in_(sorted(subjects)), _C.operation == operation, _C.direction == direction, _C.unit == unit)
        .where(spots)
        .values(value=_C.value - value)
    )


def total(tx: Tx, reading: Reading) -> int:
    """The sum of a reading, from few rows however many payments there were."""
    start = reading.start
    query, spans = (_EVER, {}) if start is None else (_SINCE, _spans(start))
    found: list[Row] = [tx.execute(query, [{**_columns(key), **spans}]).one() for key in reading.keys]
    return sum(int(row.high) * _PART + int(row.low) for row in found)


def detailed(tx: Tx, reading: Reading, held: int, now: datetime) -> Sum:
    """A reading with its buckets, for an answer that says when enough is free again.

    Windows of up to two days are told by the minute, of up to sixty days by the hour, longer ones by the day.
    """
    if reading.start is None:
        return Sum(total=total(tx, reading), held=held)
    span = now - reading.start
    coarsest = "minute" if span <= timedelta(days=2) else "hour" if span <= timedelta(days=60) else "day"
    found: list[tuple[datetime, datetime, int]] = []
    for where in _conditions(reading, coarsest):
        summed = sa.select(_C.grain, _C.bucket, sa.func.sum(_C.value).label("value")).where(*where)
        for row in tx.all(summed.group_by(_C.grain, _C.bucket)):
            found.append((row.bucket, row.bucket + _GRAINS[row.grain], int(row.value)))
    found.sort()
    return Sum(total=sum(value for _, _, value in found), held=held, buckets=tuple(found))


def make_anew(tx: Tx, sums: Mapping[tuple[datetime, CounterKey], int]) -> None:
    """Forget every counter, and make them of what was counted in each minute."""
    tx.execute(sa.delete(_COUNTERS))
    values: dict[tuple[CounterKey, str, datetime], int] = defaultdict(int)
    for (minute, key), value in sums.items():
        for grain, bucket in buckets(minute).items():
            values[key, grain, bucket] += value
    filled = ((spot, value) for spot, value in values.items() if value)
    while rows := list(islice(filled, _AT_ONCE)):
        tx.execute(
            sa.insert(_COUNTERS),
            [
                {**_columns(key), "grain": grain, "bucket": at, "value": min(value, MOST)}
                for (key, grain, at), value in rows
            ],
        )


def _columns(key: CounterKey) -> dict[str, Any]:
    return {"subject": key.subject, "operation": key.operation, "direction": key.direction, "unit": key.unit}


def _spans(start: datetime) -> dict[str, datetime]:
    """From `start` on: minutes up to the next full hour, hours up to the next full day, and days from there."""
    hour = _ceiled(start, _GRAINS["hour"])
    day = _ceiled(hour, _GRAINS["day"])
    return {"minute_from": start, "minute_to": hour, "hour_from": hour, "hour_to": day, "day_from": day}


def _conditions(reading: Reading, coarsest: str = "day") -> list[tuple[sa.ColumnElement[bool], ...]]:
    """The key range of each grain; every one is a range of the primary key."""
    spots = [(_C.grain == "lifetime",)] if reading.start is None else _ranges(reading.start, coarsest)
    return [
        (
            _C.subject == key.subject,
            _C.operation == key.operation,
            _C.direction == key.direction,
            _C.unit == key.unit,
            *spot,
        )
        for key in reading.keys
        for spot in spots
    ]


def _ranges(start: datetime, coarsest: str) -> list[tuple[sa.ColumnElement[bool], ...]]:
    """From `start` on: each grain up to the first full bucket of the next one, and the coarsest without an end."""
    ranges: list[tuple[sa.ColumnElement[bool], ...]] = []
    grains = list(_GRAINS)[: list(_GRAINS).index(coarsest) + 1]
    for grain, above in zip(grains, [*grains[1:], None], strict=True):
        end = None if above is None else _ceiled(start, _GRAINS[above])
        if end is None:
            ranges.append((_C.grain == grain, _C.bucket >= start))
        elif start < end:
            ranges.append((_C.grain == grain, _C.bucket >= start, _C.bucket < end))
            start = end
    return ranges
