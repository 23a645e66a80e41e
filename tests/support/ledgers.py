"""The independent audit of payments: the mock's books against ours, holds against payments, counters against holds."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

import sqlalchemy as sa

from agentpay.audit.queries import last_hash
from agentpay.ledger import queries as ledger
from agentpay.payments.queries import ATTEMPTS, DISPUTES, PAYMENTS, REFUNDS
from agentpay.providers.mock import MockProvider
from agentpay.spending import active
from agentpay.spending.tables import CounterRow, HoldRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay_policies.decisions import COUNT

_HOLDS = table(HoldRow)
_COUNTERS = table(CounterRow)

MAY_HAVE_MOVED = ("pending", "requires_action", "unknown")
_HOLD_OF = {
    "approval_required": "held",
    "pending": "held",
    "requires_action": "held",
    "unknown": "held",
    "succeeded": "captured",
    "declined": "released",
    "not_sent": "void",
    "refused": "void",
}


def check_books(tx: Tx, mock: MockProvider) -> None:
    """Every payment and refund says what the mock's books say, and so does the ledger."""
    charged, returned = _moved(mock)
    foreign = {row.id for row in tx.all(sa.select(PAYMENTS.c.id).where(PAYMENTS.c.provider != "mock"))}
    for row in tx.all(sa.select(PAYMENTS)):
        if row.id not in foreign:
            _check_amount(row, charged.pop(row.id, 0))
        _check_hold(tx, row)
        _check_attempts(tx, row)
        _check_audit(tx, row, "payment")
    assert not charged, f"money moved for payments that nobody knows: {charged}"
    refunds = tx.all(sa.select(REFUNDS))
    by_key = {row.provider_key: row.subject_id for row in tx.all(sa.select(ATTEMPTS))}
    by_key |= {f"person:{row.reference}": row.id for row in refunds if row.origin == "provider"}
    for key, amount in returned.items():
        assert key in by_key, "money was refunded by a key that nobody knows"
        assert sum(_stays(row) for row in refunds if row.id == by_key[key]) == amount
    refunded = {by_key[key]: amount for key, amount in returned.items()}
    for row in refunds:
        if row.payment_id not in foreign:
            _check_amount(row, refunded.pop(row.id, 0))
        _check_hold(tx, row)
        if row.origin == "agentpay":
            _check_attempts(tx, row)
        _check_audit(tx, row, "refund")
    assert not refunded
    _check_refunded(tx)
    _check_disputes(tx, mock, foreign)
    _check_ledger(tx)


def _stays(refund: Row) -> int:
    """What of a refund is gone for good."""
    return 0 if refund.returned else int(refund.amount_minor)


def _check_disputes(tx: Tx, mock: MockProvider, foreign: set[str]) -> None:
    """What is disputed or reversed at the mock is so in our books, by each charge."""
    theirs: dict[str, int] = defaultdict(int)
    payment_of = {charge.id: charge.payment_id for charge in mock.charges()}
    for one in mock.movements():
        if one.kind in ("dispute", "reversal", "given_back"):
            theirs[payment_of[one.charge_id]] += one.money.minor * (-1 if one.kind == "given_back" else 1)
    ours: dict[str, int] = defaultdict(int)
    for row in tx.all(sa.select(DISPUTES).where(DISPUTES.c.payment_id.not_in(foreign))):
        ours[row.payment_id] += row.withdrawn_minor
    assert {key: n for key, n in theirs.items() if n} == {key: n for key, n in ours.items() if n}


def _moved(mock: MockProvider) -> tuple[dict[str, int], dict[str, int]]:
    """What moved for each payment, and by each refund's key."""
    payment_of = {charge.id: charge.payment_id for charge in mock.charges()}
    charged: dict[str, int] = defaultdict(int)
    returned: dict[str, int] = defaultdict(int)
    for one in mock.movements():
        if one.kind in ("refund", "refund_back"):
            returned[one.key] += one.money.minor * (1 if one.kind == "refund" else -1)
        elif one.kind in ("charge", "send"):
            charged[payment_of[one.charge_id]] += one.money.minor
    return charged, returned


def _check_amount(row: Row, moved: int) -> None:
    gone = row.status == "succeeded" and not getattr(row, "returned", False)
    expected = {row.amount_minor} if gone else {0}
    if row.status in MAY_HAVE_MOVED:
        expected |= {row.amount_minor}
    assert moved in expected, f"{row.id} is {row.status}, and {moved} of {row.amount_minor} moved"


def _check_hold(tx: Tx, row: Row) -> None:
    """An agent's payment has one hold that counts, in the state that goes with it; an operator's has none."""
    states = [hold.state for hold in tx.all(sa.select(_HOLDS).where(_HOLDS.c.owner_id == row.id).order_by("seq"))]
    if row.principal_kind != "agent":
        assert not states
        return
    assert states, f"{row.id} of an agent has no hold"
    assert states[-1] == _HOLD_OF[row.status], f"{row.id} is {row.status}, and its holds are {states}"
    assert set(states[:-1]) <= {"void", "released"}, f"{row.id} holds more than once: {states}"


def _check_attempts(tx: Tx, row: Row) -> None:
    rows = tx.all(sa.select(ATTEMPTS).where(ATTEMPTS.c.subject_id == row.id).order_by(ATTEMPTS.c.number))
    outcomes = [attempt.outcome for attempt in rows]
    assert [attempt.number for attempt in rows] == list(range(1, len(rows) + 1))
    assert sum(outcome in ("sent", "unknown") for outcome in outcomes) <= 1
    moved = {attempt.reference for attempt in rows if attempt.outcome == "succeeded"}  # told twice, it is one movement
    assert len(moved) == (1 if row.status == "succeeded" else 0), f"{row.id}: {outcomes}"
    if row.status in ("approval_required", "refused"):
        assert set(outcomes) <= {"not_sent"}, f"{row.id} is {row.status}: {outcomes}"


def _check_audit(tx: Tx, row: Row, kind: str) -> None:
    """The newest audit row of a thing tells of its newest transition."""
    newest = sa.text("SELECT action FROM audit_log WHERE object_id = :id ORDER BY seq DESC LIMIT 1")
    action = tx.scalar(newest.bindparams(id=row.id))
    as_before = {"payment.unused": "payment.succeeded", "refund.returned": "refund.succeeded"}
    told = as_before.get(str(action), action)
    expected = f"{kind}.{row.status}"
    assert told == expected or (row.status == "pending" and told == f"{kind}.opened"), f"{row.id}: {action}"
    assert last_hash(tx, row.id)


def _check_refunded(tx: Tx) -> None:
    done: dict[str, int] = defaultdict(int)
    under_way: dict[str, int] = defaultdict(int)
    for row in tx.all(sa.select(REFUNDS)):
        if row.status == "succeeded":
            done[row.payment_id] += _stays(row)
        elif row.status in (*MAY_HAVE_MOVED, "approval_required") and not row.returned:
            under_way[row.payment_id] += row.amount_minor
    for row in tx.all(sa.select(PAYMENTS)):
        back = done[row.id] + under_way[row.id] + row.disputed_minor
        assert row.excess == (back > row.captured_minor), row.id
        if not row.excess:
            assert (row.refunded_minor, row.refunding_minor) == (done[row.id], under_way[row.id]), row.id


def _check_ledger(tx: Tx) -> None:
    """Clearing and wallets have what came in, less what went back and what was sent."""
    ours: dict[str, int] = defaultdict(int)
    for row in tx.all(sa.select(PAYMENTS)):
        sign = 1 if row.direction == "collect" else -1
        ours[row.currency] += sign * (row.captured_minor - row.disputed_minor)
    for row in tx.all(sa.select(REFUNDS).where(REFUNDS.c.status == "succeeded")):
        ours[row.currency] -= _stays(row)
    posted: dict[str, int] = defaultdict(int)
    for row in ledger.entry_sums(tx):
        if row.account.startswith(("clearing:", "wallet:")):
            posted[row.currency] += int(row.minor)
    assert {code: n for code, n in posted.items() if n} == {code: n for code, n in ours.items() if n}


def check_counters(tx: Tx) -> None:
    """Each counter that the active policy reads is the naive sum of the holds, in every grain."""
    expected: defaultdict[tuple[object, ...], int] = defaultdict(int)
    for hold in tx.all(sa.select(_HOLDS).where(_HOLDS.c.state != "void")):
        for key in active.keys(tx, hold):
            live = hold.state in ("held", "captured")
            value = 1 if key.unit == COUNT else 0 if not live else _amount(hold, key.unit)
            for grain, bucket in _buckets(hold).items():
                expected[key.subject, key.operation, key.direction, key.unit, grain, bucket] += value
    found: dict[tuple[object, ...], int] = {
        (row.subject, row.operation, row.direction, row.unit, row.grain, row.bucket): row.value
        for row in tx.all(sa.select(_COUNTERS))
    }
    for spot, value in expected.items():
        value = min(value, 2**62)  # where a counter stops
        assert found.get(spot, 0) == value, f"{spot}: {found.get(spot, 0)} counted, {value} held"
    assert not {spot: value for spot, value in found.items() if value and spot not in expected}


def _amount(hold: Row, unit: str) -> int:
    """What a hold counts, beside its attempt: recorded cost, or what is committed less what refunds gave back."""
    return int(hold.cost_nanos if unit.startswith("nano:") else hold.weight_minor - hold.restored_minor)


def _buckets(hold: Row) -> dict[str, datetime]:
    """Worked out in another way than the code does."""
    at: datetime = hold.held_at
    hour = at.replace(minute=0, second=0, microsecond=0)
    return {
        "minute": at.replace(second=0, microsecond=0),
        "hour": hour,
        "day": hour.replace(hour=0),
        "lifetime": datetime(1970, 1, 1, tzinfo=UTC),
    }
