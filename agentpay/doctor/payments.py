"""Invariants 3 and 4: one provider effect an attempt, and never more refunded or disputed than was captured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa

from agentpay.doctor.model import Check
from agentpay.payments.tables import AttemptRow, DisputeRow, PaymentRow, RefundRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table

_PAYMENTS = table(PaymentRow)
_REFUNDS = table(RefundRow)
_ATTEMPTS = table(AttemptRow)
_DISPUTES = table(DisputeRow)
_P, _R, _D, _A = _PAYMENTS.c, _REFUNDS.c, _DISPUTES.c, _ATTEMPTS.c

OPEN: Final = ("approval_required", "pending", "requires_action", "unknown")
"""The states in which money may still move."""

_PROVED: Final = ("declined", "not_sent")
_STATUS_BY_OUTCOME: Final = {
    "sent": {"pending"},
    "pending": {"pending"},
    "requires_action": {"requires_action"},
    "unknown": {"unknown"},
    "declined": {"declined", "canceled"},
    "not_sent": {"not_sent", "refused", "approval_required", "canceled"},
}
_WITHOUT_ATTEMPT: Final = {"approval_required", "refused", "canceled"}


def _shared_keys(tx: Tx) -> list[str]:
    rows = tx.all(
        sa.select(_A.provider_key, sa.func.count().label("times"))
        .group_by(_A.provider_key)
        .having(sa.or_(sa.func.count() > 1, _A.provider_key == ""))
    )
    return [f"provider key {row.provider_key!r}: {row.times} attempts" for row in rows]


def _open_twice(tx: Tx) -> list[str]:
    rows = tx.all(
        sa.select(_A.subject_id, sa.func.count().label("open"))
        .where(_A.outcome.in_(("sent", "unknown")))
        .group_by(_A.subject_id)
        .having(sa.func.count() > 1)
    )
    return [f"{row.subject_id}: {row.open} attempts are open at once" for row in rows]


def _overtaken(tx: Tx) -> list[str]:
    """Attempts that were opened while an earlier one of the same payment or refund was open or had succeeded."""
    earlier, later = _ATTEMPTS.alias("earlier"), _ATTEMPTS.alias("later")
    e = earlier.c
    open_then = sa.or_(
        e.outcome.in_(("sent", "unknown")),
        sa.and_(e.outcome.in_(_PROVED), e.settled_at > later.c.sent_at),
        sa.and_(e.outcome == "succeeded", e.settled_at < later.c.sent_at),
    )
    query = (
        sa.select(later.c.subject_id, later.c.number, e.number.label("earlier"), e.outcome)
        .join(earlier, sa.and_(e.subject_id == later.c.subject_id, e.number < later.c.number))
        .where(open_then)
        .order_by(later.c.subject_id, later.c.number)
    )
    return [
        f"{row.subject_id}: attempt {row.number} was opened beside attempt {row.earlier}, which is {row.outcome}"
        for row in tx.all(query)
    ]


def _numbers(tx: Tx) -> list[str]:
    count, last = sa.func.count(), sa.func.max(_A.number)
    rows = tx.all(sa.select(_A.subject_id, count.label("rows"), last.label("last")).group_by(_A.subject_id)
                  .having(sa.or_(count != last, sa.func.min(_A.number) != 1)))  # fmt: skip
    return [f"{row.subject_id}: {row.rows} attempts, the last is number {row.last}" for row in rows]


def _statuses(tx: Tx) -> list[str]:
    """Payments and refunds whose state does not follow from their attempts. A refund that a person made at the
    provider has none."""
    ours = sa.select(_R.id, _R.status).where(_R.origin == "agentpay")
    subjects = sa.union_all(sa.select(_P.id, _P.status), ours).subquery()
    rows = tx.all(
        sa.select(
            sa.func.coalesce(subjects.c.id, _A.subject_id).label("id"),
            subjects.c.status,
            _A.outcome,
            _A.step,
            _A.number,
        )
        .select_from(subjects.join(_ATTEMPTS, _A.subject_id == subjects.c.id, full=True))
        .order_by(sa.func.coalesce(subjects.c.id, _A.subject_id), _A.number)
    )
    return list(_disagreeing(rows))


def _disagreeing(rows: Sequence[Row]) -> Iterator[str]:
    for subject, found in groupby(rows, key=lambda row: row.id):
        attempts = list(found)
        status, newest = attempts[0].status, attempts[-1]
        outcomes = {row.outcome for row in attempts}
        if status is None:
            yield f"{subject}: it has attempts and is neither a payment nor a refund"
        elif status not in _allowed(newest, outcomes):
            yield f"{subject}: it is {status}, its newest attempt is {newest.outcome or 'missing'}"


def _allowed(newest: Row, outcomes: set[str | None]) -> set[str]:
    """The states that attempts allow. One that succeeded decides, whatever came after it."""
    if "succeeded" in outcomes:
        return {"succeeded"}
    if newest.outcome is None:
        return _WITHOUT_ATTEMPT
    resumed = {"requires_action"} if newest.outcome == "sent" and newest.step == "resume" else set()
    return _STATUS_BY_OUTCOME.get(newest.outcome, set()) | resumed


def _refund_sums(tx: Tx) -> list[str]:
    """What a payment says of its refunds. What was refunded beyond what was left is flagged, and capped in the payment:
    a late success, or what was done at the provider."""
    query = _with_sums(*_TAKEN)
    done, open_ = query.selected_columns["done"], query.selected_columns["open"]
    flagged = sa.or_(_P.late, _P.excess)
    wrong = sa.or_(
        sa.and_(_P.refunded_minor != done, sa.or_(~flagged, _P.refunded_minor > done)),
        sa.and_(_P.refunding_minor != open_, sa.or_(~flagged, _P.refunding_minor > open_)),
        _P.refunded_minor + _P.refunding_minor > _P.captured_minor,
    )
    return [
        f"payment {row.id}: {row.captured_minor} captured; {row.refunded_minor} refunded, its refunds add up to"
        f" {row.done}; {row.refunding_minor} being refunded, its open refunds add up to {row.open}"
        for row in tx.all(query.where(wrong))
    ]


def _taken_back(tx: Tx) -> list[str]:
    """Refunds, disputes and reversals against what was captured. Where they are more, the payment is flagged."""
    query = _with_sums(*_TAKEN)
    done, open_, gone = (query.selected_columns[name] for name in ("done", "open", "gone"))
    too_much = done + open_ + gone > _P.captured_minor
    wrong = sa.or_(_P.disputed_minor != gone, sa.and_(too_much, ~sa.or_(_P.late, _P.excess)))
    return [
        f"payment {row.id}: {row.captured_minor} captured; {row.done} refunded, {row.open} being refunded,"
        f" {row.gone} disputed, of which it says {row.disputed_minor}"
        for row in tx.all(query.where(wrong))
    ]


_TAKEN: Final = (_P.id, _P.captured_minor, _P.refunded_minor, _P.refunding_minor, _P.disputed_minor)


def _with_sums(*facts: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Payments, with what their refunds and disputes add up to: `done`, `open` and `gone`."""
    amount = _R.amount_minor
    refunds = (
        sa.select(
            _R.payment_id,
            sa.func.sum(sa.case((_R.status == "succeeded", amount), else_=0)).label("done"),
            sa.func.sum(sa.case((_R.status.in_(OPEN), amount), else_=0)).label("open"),
        )
        .where(_R.returned.is_(False))
        .group_by(_R.payment_id)
        .subquery()
    )
    gone = sa.func.sum(_D.withdrawn_minor).label("gone")
    disputes = sa.select(_D.payment_id, gone).group_by(_D.payment_id).subquery()
    joined = _PAYMENTS.outerjoin(refunds, refunds.c.payment_id == _P.id)
    joined = joined.outerjoin(disputes, disputes.c.payment_id == _P.id)
    sums = (refunds.c.done, refunds.c.open, disputes.c.gone)
    return sa.select(*facts, *(sa.func.coalesce(one, 0).label(one.name) for one in sums)).select_from(joined)


def _refund_currencies(tx: Tx) -> list[str]:
    found: list[str] = []
    for kind, rows in (("refund", _REFUNDS), ("dispute", _DISPUTES)):
        query = sa.select(rows.c.id, rows.c.currency, _P.currency.label("paid"))
        query = query.join(_PAYMENTS, _P.id == rows.c.payment_id).where(rows.c.currency != _P.currency)
        found += [f"{kind} {row.id}: in {row.currency}, of a payment in {row.paid}" for row in tx.all(query)]
    return found


def _refunds_of_sends(tx: Tx) -> list[str]:
    query = sa.select(_R.id, _P.id.label("payment")).join(_PAYMENTS, _P.id == _R.payment_id)
    rows = tx.all(query.where(_P.direction == "send"))
    return [f"refund {row.id}: of payment {row.payment}, which sent money" for row in rows]


CHECKS: Final = (
    Check(3, "every attempt has a provider key of its own", _shared_keys),
    Check(3, "at most one attempt of a payment or refund is open", _open_twice),
    Check(3, "no attempt was opened while an earlier one was unknown, or after one that succeeded", _overtaken),
    Check(3, "the attempts of a payment or refund are numbered without a gap", _numbers),
    Check(3, "the state of every payment and refund follows from its attempts", _statuses),
    Check(4, "refunds, made and under way, are what the payment says and at most what was captured", _refund_sums),
    Check(4, "refunds, disputes and reversals are at most what was captured, or flagged", _taken_back),
    Check(4, "a refund or dispute is in the currency of its payment", _refund_currencies),
    Check(4, "money that was sent is not refunded", _refunds_of_sends),
)
