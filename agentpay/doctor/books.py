"""Invariant 1: the ledger balances, agrees with the payments, and nothing that is to be kept can be changed."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from agentpay.doctor.model import Check
from agentpay.ledger import queries as ledger
from agentpay.ledger.tables import LedgerEntryRow, LedgerTransactionRow
from agentpay.payments.tables import DisputeRow, PaymentRow, RefundRow
from agentpay.storage.transaction import Tx
from agentpay.storage.triggers import APPEND_ONLY
from agentpay.storage.types import table

_TRANSACTIONS = table(LedgerTransactionRow)
_ENTRIES = table(LedgerEntryRow)
_PAYMENTS = table(PaymentRow)
_REFUNDS = table(RefundRow)
_DISPUTES = table(DisputeRow)

_TRIGGERS: Final = {
    "sqlite": "SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%RAISE(ABORT%'",
    "postgresql": (
        "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.proname = 'agentpay_append_only'"
        " AND t.tgenabled IN ('O', 'A') AND pg_table_is_visible(c.oid)"
    ),
}
_REFUSED: Final = {"sqlite": ("update", "delete"), "postgresql": ("update", "delete", "truncate")}


def _unbalanced(tx: Tx) -> list[str]:
    rows = ledger.unbalanced(tx)
    return [f"transaction {row.transaction_id}: its entries add up to {row.minor} {row.currency}" for row in rows]


def _empty(tx: Tx) -> list[str]:
    query = sa.select(_TRANSACTIONS.c.id).outerjoin(_ENTRIES, _ENTRIES.c.transaction_id == _TRANSACTIONS.c.id)
    return [f"transaction {row.id}: it has no entries" for row in tx.all(query.where(_ENTRIES.c.seq.is_(None)))]


def _wrong_balances(tx: Tx) -> list[str]:
    return [
        f"account {row.account}: its balance is {row.balance_minor}, its entries add up to {row.entries_minor}"
        f" {row.currency}"
        for row in ledger.wrong_balances(tx)
    ]


def _missing_triggers(tx: Tx) -> list[str]:
    there = {tuple(row) for row in tx.all(sa.text(_TRIGGERS[tx.dialect]))}
    wanted = [(name, verb) for name in APPEND_ONLY for verb in _REFUSED[tx.dialect]]
    return [
        f"table {name}: no trigger refuses {verb.upper()}"
        for name, verb in wanted
        if (name, f"{name}_no_{verb}") not in there
    ]


def _payments_posted(tx: Tx) -> list[str]:
    return _not_posted_once(tx, "payment", _PAYMENTS)


def _refunds_posted(tx: Tx) -> list[str]:
    return _not_posted_once(tx, "refund", _REFUNDS)


def _not_posted_once(tx: Tx, kind: str, subjects: sa.Table) -> list[str]:
    """Compare what succeeded with what was posted for it, both ways round."""
    amount = sa.case((_ENTRIES.c.amount_minor > 0, _ENTRIES.c.amount_minor), else_=0)
    posted = (
        sa.select(
            _TRANSACTIONS.c.object_id,
            sa.func.count(sa.distinct(_TRANSACTIONS.c.id)).label("times"),
            sa.func.coalesce(sa.func.sum(amount), 0).label("minor"),
            sa.func.min(_ENTRIES.c.currency).label("currency"),
            sa.func.max(_ENTRIES.c.currency).label("other_currency"),
        )
        .select_from(_TRANSACTIONS.outerjoin(_ENTRIES, _ENTRIES.c.transaction_id == _TRANSACTIONS.c.id))
        .where(_TRANSACTIONS.c.event == f"{kind}.succeeded")
        .group_by(_TRANSACTIONS.c.object_id)
        .subquery()
    )
    s, p = subjects.c, posted.c
    columns = (sa.func.coalesce(s.id, p.object_id).label("id"), s.status, s.amount_minor, s.currency.label("of"), *p)
    query = sa.select(*columns).select_from(subjects.join(posted, s.id == p.object_id, full=True))
    wrong = sa.or_(
        sa.and_(s.status == "succeeded", p.object_id.is_(None)),
        sa.and_(s.status != "succeeded", p.object_id.is_not(None)),
        s.id.is_(None),
        p.times != 1,
        p.minor != s.amount_minor,
        p.currency != s.currency,
        p.other_currency != s.currency,
    )
    return [
        f"{kind} {row.id}: {row.status or 'there is none'}, {row.amount_minor} {row.of};"
        f" posted {row.times or 0} times, {row.minor or 0} {row.currency}"
        for row in tx.all(query.where(wrong))
    ]


def _disputes_posted(tx: Tx) -> list[str]:
    """What every dispute says is gone, against what was posted for it; and what was posted for none."""
    gone = sa.case((_TRANSACTIONS.c.event == "dispute.withdrawn", 1), else_=-1)
    amount = sa.case((_ENTRIES.c.amount_minor > 0, _ENTRIES.c.amount_minor), else_=0)
    joined = _TRANSACTIONS.join(_ENTRIES, _ENTRIES.c.transaction_id == _TRANSACTIONS.c.id)
    query = sa.select(_TRANSACTIONS.c.object_id, (gone * amount).label("minor")).select_from(joined)
    posted: dict[str, int] = {}
    for row in tx.all(query.where(_TRANSACTIONS.c.event.in_(("dispute.withdrawn", "dispute.given_back")))):
        dispute = row.object_id.partition("/")[0]
        posted[dispute] = posted.get(dispute, 0) + int(row.minor)
    said = {row.id: int(row.withdrawn_minor) for row in tx.all(sa.select(_DISPUTES))}
    return [
        f"dispute {one}: {said.get(one)} withdrawn, {posted.get(one, 0)} posted"
        for one in sorted(said.keys() | posted.keys())
        if said.get(one) != posted.get(one, 0)
    ]


def _returned_posted(tx: Tx) -> list[str]:
    """Refunds that succeeded and failed in the end, against the postings that undo them."""
    query = sa.select(_TRANSACTIONS.c.object_id).where(_TRANSACTIONS.c.event == "refund.returned")
    undone = {row.object_id for row in tx.all(query)}
    r = _REFUNDS.c
    back = {row.id for row in tx.all(sa.select(r.id).where(r.returned.is_(True), r.status == "succeeded"))}
    return [f"refund {one}: it came back only by {'the row' if one in back else 'the ledger'}"
            for one in sorted(undone ^ back)]  # fmt: skip


def _captured(tx: Tx) -> list[str]:
    p = _PAYMENTS.c
    due = sa.case((p.status == "succeeded", p.amount_minor), else_=0)
    rows = tx.all(sa.select(p.id, p.status, p.amount_minor, p.captured_minor).where(p.captured_minor != due))
    return [f"payment {r.id}: {r.status}, {r.captured_minor} of {r.amount_minor} captured" for r in rows]


CHECKS: Final = (
    Check(1, "the entries of every ledger transaction add up to 0 in each currency", _unbalanced),
    Check(1, "every ledger transaction has entries", _empty),
    Check(1, "the running balance of every constrained account is the sum of its entries", _wrong_balances),
    Check(1, "every append-only table has the triggers that keep it so", _missing_triggers),
    Check(
        1,
        "every payment that succeeded is posted once with its amount, and no other is",
        _payments_posted,
        across=True,
    ),
    Check(
        1, "every refund that succeeded is posted once with its amount, and no other is", _refunds_posted, across=True
    ),
    Check(1, "every dispute and reversal is posted as far as its money is gone", _disputes_posted),
    Check(1, "every refund that came back is undone in the books, and no other is", _returned_posted),
    Check(1, "what is captured is the amount of a payment that succeeded, else nothing", _captured),
)
