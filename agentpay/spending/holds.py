"""Holds: taken with a decision, captured, released or voided with what stands behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

import sqlalchemy as sa

from agentpay.audit.log import salted
from agentpay.spending import active, counters
from agentpay.spending.tables import HoldRow
from agentpay.storage.tables import InstallationRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay_policies.decisions import COUNT, CounterKey, Reading, Request
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee

_HOLDS = table(HoldRow)
_INSTALLATION = table(InstallationRow)
_H = _HOLDS.c

KeysOf = Callable[[Request, tuple[str, ...]], Iterable[CounterKey]]
"""Which counters a hold counts in, by its request and its path."""


def capture(tx: Tx, owner_id: str, now: datetime) -> None:
    """The money moved: what was held is spent. The counters hold it already."""
    _end(tx, _held(tx, owner_id), "captured", now)


def release(tx: Tx, owner_id: str, now: datetime) -> None:
    """The money did not move: it is free again, in the bucket where it was held. The attempt still counts."""
    rows = _held(tx, owner_id)
    for hold in rows:
        _take_back(tx, hold, hold.currency, hold.amount_minor)
    _end(tx, rows, "released", now)


def void(tx: Tx, owner_id: str, now: datetime) -> None:
    """Nothing was ever sent: neither the money nor the attempt counts."""
    rows = _held(tx, owner_id)
    for hold in rows:
        _take_back(tx, hold, hold.currency, hold.amount_minor)
        _take_back(tx, hold, COUNT, 1)
    _end(tx, rows, "void", now)


def recapture(tx: Tx, owner_id: str, now: datetime) -> None:
    """The money moved after all, late: count it again where it was held, even above a cap. The payment is flagged."""
    hold = tx.first(
        sa.select(_HOLDS).where(_H.owner_id == owner_id, _H.state.in_(("released", "void"))).order_by(_H.seq.desc())
    )
    if hold is None:
        return
    counters.lock_subjects(tx, path_of(hold))
    again = {hold.currency: hold.amount_minor} | ({COUNT: 1} if hold.state == "void" else {})
    keys = active.keys(tx, request_of(hold), path_of(hold))
    counters.add(tx, {key: again[key.unit] for key in keys if key.unit in again}, hold.held_at)
    _end(tx, [hold], "captured", now)


def rebuilt(tx: Tx, keys_of: KeysOf) -> dict[tuple[datetime, CounterKey], int]:
    """What every counter must say by the holds, by minute: for a policy that has just become the active one."""
    micros = sa.type_coerce(_H.held_at, sa.BigInteger)
    minute = micros - micros % sa.literal_column("60000000")
    facts = (_H.agent, _H.path, _H.operation, _H.direction, _H.customer_id, _H.payee, _H.provider, _H.currency)
    live = _H.state.in_(("held", "captured"))
    rows = tx.all(
        sa.select(
            *facts,
            sa.type_coerce(minute, _H.held_at.type).label("held_at"),
            sa.func.sum(sa.case((live, _H.amount_minor), else_=0)).label("amount_minor"),
            sa.func.count().label("attempts"),
        )
        .where(_H.state != "void")
        .group_by(*facts, minute)
    )
    sums: dict[tuple[datetime, CounterKey], int] = {}
    for row in rows:
        for key in keys_of(request_of(row), path_of(row)):
            value = int(row.attempts if key.unit == COUNT else row.amount_minor)
            sums[row.held_at, key] = sums.get((row.held_at, key), 0) + value
    return sums


def move_to_paths(tx: Tx, present: Callable[[str], tuple[str, ...]]) -> None:
    """Let earlier holds count for the budgets that their agent is under now, beside those it was under then."""
    for row in tx.all(sa.select(_H.agent, _H.path).distinct()):
        agent, path, subjects = row.agent, row.path, list(path_of(row))
        united = subjects + [subject for subject in present(agent) if subject not in subjects]
        if united != subjects:
            tx.execute(sa.update(_HOLDS).where(_H.agent == agent, _H.path == path).values(path="\n".join(united)))


def held_sum(tx: Tx, reading: Reading) -> int:
    """What of a reading is held and not yet spent, for a person or an agent who asks why."""
    found = 0
    for key in reading.keys:
        rows = tx.all(
            sa.select(_HOLDS)
            .where(_H.state == "held", _H.operation == key.operation, _H.direction == key.direction)
            .where(_H.held_at >= (reading.start or counters.EPOCH))
        )
        mine = [row for row in rows if key.subject in subjects_of(row)]
        found += sum(1 if key.unit == COUNT else row.amount_minor if row.currency == key.unit else 0 for row in mine)
    return found


def subjects_of(hold: Row) -> frozenset[str]:
    """Every subject in whose counters a hold may have been counted."""
    path = path_of(hold)
    agents = [subject for subject in path if subject.startswith("agent:")]  # several, where its entry was renamed
    parts = [*agents, f"customer:{hold.customer_id}", f"payee:{hold.payee}"]
    parts += [f"provider:{hold.provider}"]
    return frozenset(path) | {f"{subject}|{part}" for subject in path for part in parts}


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


def request_of(hold: Row) -> Request:
    """The policy's view of what a hold was taken for."""
    return Request(
        tool=hold.operation,
        agent=hold.agent,
        operation=hold.operation,
        payee=Payee.parse(hold.payee),
        direction=hold.direction,
        provider=hold.provider,
        money=Money.from_minor(1, hold.currency),  # any: a subscription for nothing would count nowhere
        customer_ref=hold.customer_id,
    )


def _held(tx: Tx, owner_id: str) -> list[Row]:
    """The holds of an owner that are still open, with their subjects locked in order.

    The policy first: while another one becomes active, its counters are built from the holds.
    """
    counters.lock_policy(tx, to_change=False)
    rows = list(tx.all(sa.select(_HOLDS).where(_H.owner_id == owner_id, _H.state == "held").order_by(_H.seq)))
    counters.lock_subjects(tx, {subject for row in rows for subject in path_of(row)})
    return rows


def _take_back(tx: Tx, hold: Row, unit: str, value: int) -> None:
    keys = active.keys(tx, request_of(hold), path_of(hold))
    subjects = {key.subject for key in keys if key.unit == unit}
    counters.take_back(tx, subjects, hold.operation, hold.direction, unit, value, hold.held_at)


def _end(tx: Tx, holds: Iterable[Row], state: str, now: datetime) -> None:
    seqs = [hold.seq for hold in holds]
    if seqs:
        tx.execute(sa.update(_HOLDS).where(_H.seq.in_(seqs)).values(state=state, ended_at=now))
