"""Holds: taken with a decision, captured, released or voided with what stands behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final, cast

import sqlalchemy as sa

from agentpay.audit.log import salted
from agentpay.spending import active, counters
from agentpay.spending.tables import HoldRow
from agentpay.storage.tables import InstallationRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay_policies.decisions import COUNT, NANO, CounterKey, Reading

_HOLDS = table(HoldRow)
_INSTALLATION = table(InstallationRow)
_H = _HOLDS.c

_WHOLE: Final = 10**9

KeysOf = Callable[[Row], Iterable[CounterKey]]
"""Which counters a hold counts in."""


def value(hold: Row, unit: str) -> int:
    """What a live hold counts in a counter of a unit."""
    if unit == COUNT:
        return 1
    if unit.startswith(NANO):
        return int(hold.cost_nanos)
    return int(hold.weight_minor - hold.restored_minor)


def take(tx: Tx, hold: HoldRow) -> None:
    """Take a hold, and count it."""
    tx.insert(HoldRow, **hold.model_dump(exclude={"seq"}))
    row = cast(Row, hold)  # as it would be read back
    counters.add(tx, {key: value(row, key.unit) for key in active.keys(tx, row)}, hold.held_at)


def capture(tx: Tx, owner_id: str, now: datetime, *, refunded: str | None = None) -> None:
    """The money moved: what was held is spent. The counters hold it already.

    `refunded` is the payment that the money came back from: where the policy said so when the refund was decided, it
    gives that payment's budget back.
    """
    rows = _held(tx, owner_id, refunded)
    _restore(tx, rows, refunded)
    _end(tx, rows, "captured", now)


def release(tx: Tx, owner_id: str, now: datetime) -> None:
    """The money did not move: it is free again, in the bucket where it was held. The attempt still counts."""
    rows = _held(tx, owner_id)
    for hold in rows:
        _take_back(tx, hold, attempt=False)
    _end(tx, rows, "released", now)


def void(tx: Tx, owner_id: str, now: datetime) -> None:
    """Nothing was ever sent: neither the money nor the attempt counts."""
    rows = _held(tx, owner_id)
    for hold in rows:
        _take_back(tx, hold, attempt=True)
    _end(tx, rows, "void", now)


def recapture(tx: Tx, owner_id: str, now: datetime, *, refunded: str | None = None) -> None:
    """The money moved after all, late: count it again where it was held, even above a cap. The payment is flagged."""
    counters.lock_policy(tx, to_change=False)
    ended = _newest(tx, owner_id, ("released", "void"))
    if ended is None:
        return
    spent = None if refunded is None else _newest(tx, refunded, ("captured",))
    counters.lock_subjects(tx, {subject for row in (ended, spent) if row is not None for subject in path_of(row)})
    again = {
        key: value(ended, key.unit)
        for key in active.keys(tx, ended)
        if key.unit != COUNT or ended.state == "void"
    }  # fmt: skip
    counters.add(tx, again, ended.held_at)
    _restore(tx, [ended], refunded)
    _end(tx, [ended], "captured", now)


def spend_again(tx: Tx, owner_id: str, *, refunded: str) -> bool:
    """A refund that succeeded failed in the end: what it gave its charge back is spent again, even above a cap. Once:
    the caller sees to it, with the payment locked, and flags the payment where this is True."""
    refund = _newest(tx, owner_id, ("captured",))
    if refund is None or not refund.restores:
        return False
    counters.lock_policy(tx, to_change=False)
    known = _newest(tx, refunded, ("captured",))
    counters.lock_subjects(tx, set() if known is None else set(path_of(known)))
    charge = _newest(tx, refunded, ("captured",))
    back = 0 if charge is None else min(int(refund.amount_minor), int(charge.restored_minor))
    if charge is None or back == 0:
        return False
    counters.add(tx, {key: back for key in active.keys(tx, charge) if key.unit != COUNT}, charge.held_at)
    tx.execute(sa.update(_HOLDS).where(_H.seq == charge.seq).values(restored_minor=_H.restored_minor - back))
    return True


def rebuilt(tx: Tx, keys_of: KeysOf) -> dict[tuple[datetime, CounterKey], int]:
    """What every counter must say by the holds, by minute: for a policy that has just become the active one."""
    micros = sa.type_coerce(_H.held_at, sa.BigInteger)
    minute = micros - micros % sa.literal_column("60000000")
    facts = (_H.agent, _H.path, _H.operation, _H.direction, _H.customer_id, _H.payee, _H.provider, _H.currency)
    live = _H.state.in_(("held", "captured"))

    def summed(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((live, column), else_=0))

    rows = tx.all(
        sa.select(
            *facts,
            _H.approved,
            sa.type_coerce(minute, _H.held_at.type).label("held_at"),
            summed(_H.weight_minor - _H.restored_minor).label("minor"),
            # In two parts, so that no sum overflows: what an agent records may cost whatever it says.
            summed(_H.cost_nanos // _WHOLE).label("whole"),
            summed(_H.cost_nanos % _WHOLE).label("rest"),
            sa.func.count().label("attempts"),
        )
        .where(_H.state != "void")
        .group_by(*facts, _H.approved, minute)
    )
    sums: dict[tuple[datetime, CounterKey], int] = {}
    for row in rows:
        for key in keys_of(row):
            sums[row.held_at, key] = sums.get((row.held_at, key), 0) + _summed(row, key.unit)
    return sums


def _summed(row: Row, unit: str) -> int:
    if unit == COUNT:
        return int(row.attempts)
    return int(row.whole) * _WHOLE + int(row.rest) if unit.startswith(NANO) else int(row.minor)


def move_to_paths(tx: Tx, present: Callable[[str], tuple[str, ...]]) -> None:
    """Let earlier holds count for the budgets that their agent is under now, beside those it was under then."""
    for row in tx.all(sa.select(_H.agent, _H.path).distinct()):
        agent, path, subjects = row.agent, row.path, list(path_of(row))
        united = subjects + [subject for subject in present(agent) if subject not in subjects]
        if united != subjects:
            tx.execute(sa.update(_HOLDS).where(_H.agent == agent, _H.path == path).values(path="\n".join(united)))


def held_sum(tx: Tx, reading: Reading) -> int:
    """What of a reading is held and not yet spent, for a person or an agent who asks why."""
    operations = {key.operation for key in reading.keys}
    rows = tx.all(
        sa.select(_HOLDS)
        .where(_H.state == "held", _H.operation.in_(operations))
        .where(_H.held_at >= (reading.start or counters.EPOCH))
    )
    wanted = set(reading.keys)
    return sum(value(row, key.unit) for row in rows for key in wanted.intersection(active.keys(tx, row)))


def is_held(tx: Tx, owner_id: str) -> bool:
    """Whether something is held for a payment or refund."""
    return tx.first(sa.select(_H.seq).where(_H.owner_id == owner_id, _H.state == "held").limit(1)) is not None


def opaque(tx: Tx, subject: str) -> str:
    """A counter's subject as an append-only row may hold it: an e-mail address in it is a salted hash."""
    node, found, payee = subject.partition("|payee:")
    if not found or "@" not in payee:
        return subject
    return f"{node}|payee:{salted(tx.scalar(sa.select(_INSTALLATION.c.secret)), payee)}"


def path_of(hold: Row) -> tuple[str, ...]:
    """The subjects that a hold counts for: the agent's entry that it was taken under, budgets, and later ones."""
    return tuple(hold.path.split("\n"))


def _newest(tx: Tx, owner_id: str, states: tuple[str, ...]) -> Row | None:
    return tx.first(
        sa.select(_HOLDS).where(_H.owner_id == owner_id, _H.state.in_(states)).order_by(_H.seq.desc()).limit(1)
    )


def _held(tx: Tx, owner_id: str, also: str | None = None) -> list[Row]:
    """The holds of an owner that are still open, with their subjects locked in order, and those of what another one
    has spent.

    The policy first: while another one becomes active, its counters are built from the holds.
    """
    counters.lock_policy(tx, to_change=False)
    rows = list(tx.all(sa.select(_HOLDS).where(_H.owner_id == owner_id, _H.state == "held").order_by(_H.seq)))
    spent = None if also is None else _newest(tx, also, ("captured",))
    locked = rows if spent is None else [*rows, spent]
    counters.lock_subjects(tx, {subject for row in locked for subject in path_of(row)})
    return rows


def _restore(tx: Tx, refunds: Iterable[Row], charge_id: str | None) -> None:
    """Give a charge's budget back in the bucket where the charge was held. Its subjects are locked; the row is read
    after that, so that two refunds never give the same back."""
    for refund in refunds:
        charge = _newest(tx, charge_id, ("captured",)) if charge_id is not None and refund.restores else None
        if charge is None:
            continue
        back = min(int(refund.amount_minor), value(charge, charge.currency))
        for key in active.keys(tx, charge):
            if key.unit != COUNT:
                _subtract(tx, charge, [key], back)
        tx.execute(sa.update(_HOLDS).where(_H.seq == charge.seq).values(restored_minor=_H.restored_minor + back))


def _take_back(tx: Tx, hold: Row, *, attempt: bool) -> None:
    """Let a hold count no more: its amount, and where nothing was ever sent the attempt too."""
    for unit, keys in _by_unit(active.keys(tx, hold)):
        if unit != COUNT or attempt:
            _subtract(tx, hold, keys, value(hold, unit))


def _by_unit(keys: Iterable[CounterKey]) -> Iterator[tuple[str, list[CounterKey]]]:
    grouped: dict[str, list[CounterKey]] = {}
    for key in keys:
        grouped.setdefault(key.unit, []).append(key)
    yield from grouped.items()


def _subtract(tx: Tx, hold: Row, keys: Iterable[CounterKey], amount: int) -> None:
    for unit, same in _by_unit(keys):
        subjects = {key.subject for key in same}
        counters.take_back(tx, subjects, hold.operation, hold.direction, unit, amount, hold.held_at)


def _end(tx: Tx, holds: Iterable[Row], state: str, now: datetime) -> None:
    seqs = [hold.seq for hold in holds]
    if seqs:
        tx.execute(sa.update(_HOLDS).where(_H.seq.in_(seqs)).values(state=state, ended_at=now))
