"""Invariants 5 and 8: usage counters are the sums of their events, and no part of a minor unit is lost in a bill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa

from agentpay.billing.tables import BillRow
from agentpay.doctor.model import Check
from agentpay.ledger.postings import CREDIT_PREFIX
from agentpay.ledger.tables import LedgerEntryRow, LedgerTransactionRow
from agentpay.payments.tables import PaymentRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.usage import invariants
from agentpay.usage.tables import UsageCarryRow, UsageClaimRow, UsageCounterRow, UsageEventRow
from agentpay_policies.money import nanos_per_minor

_COUNTERS = table(UsageCounterRow)
_EVENTS = table(UsageEventRow)
_CARRIES = table(UsageCarryRow)
_CLAIMS = table(UsageClaimRow)
_BILLS = table(BillRow)
_PAYMENTS = table(PaymentRow)
_TRANSACTIONS = table(LedgerTransactionRow)
_ENTRIES = table(LedgerEntryRow)

_Owner = tuple[str, str]
"""Our id of a customer, and a currency."""


def _lines(found: Callable[[Tx], Sequence[Row]]) -> Callable[[Tx], list[str]]:
    """A query of rows as a check: each row as `column value, column value`."""
    return lambda tx: [", ".join(f"{name} {value}" for name, value in row._mapping.items()) for row in found(tx)]


def _above_limit(tx: Tx) -> Sequence[Row]:
    c = _COUNTERS.c
    columns = (c.customer_id, c.plan_id, c.pool, c.window_start, c.used, c.held, c.limit_units)
    return tx.all(sa.select(*columns).where(c.used + c.held > c.limit_units))


def _credit_carries(tx: Tx) -> list[str]:
    """What events drew from credits, less what of it is posted in whole minor units, is what is carried."""
    e = _EVENTS.c
    drawn = sa.select(e.customer_id, e.currency, sa.func.sum(e.credit_nanos).label("nanos")).where(e.credit_nanos > 0)
    expected = Counter(_by_owner(tx.all(drawn.group_by(e.customer_id, e.currency))))
    posted = (
        sa.select(_ENTRIES.c.account, _ENTRIES.c.currency, sa.func.sum(_ENTRIES.c.amount_minor).label("minor"))
        .join(_TRANSACTIONS, _TRANSACTIONS.c.id == _ENTRIES.c.transaction_id)
        .where(
            _TRANSACTIONS.c.event == "usage.credits_used",
            _ENTRIES.c.account.startswith(CREDIT_PREFIX, autoescape=True),
        )
        .group_by(_ENTRIES.c.account, _ENTRIES.c.currency)
    )
    for row in tx.all(posted):
        owner = row.account.removeprefix(CREDIT_PREFIX), row.currency
        expected[owner] -= int(row.minor) * nanos_per_minor(row.currency)
    return _differing(tx, "credit_nanos", expected)


def _bill_carries(tx: Tx) -> list[str]:
    """What bills left over: of each claim that stands, its events less what it took; less what was paid too late."""
    k, b = _CLAIMS.c, _BILLS.c
    expected: Counter[_Owner] = Counter()
    query = sa.select(k.customer_id, k.currency, k.state, k.events_nanos, k.claimed_nanos, b.status)
    for row in tx.all(query.outerjoin(_BILLS, b.id == k.bill_id)):
        owner = row.customer_id, row.currency
        if row.state != "released":
            expected[owner] += row.events_nanos - row.claimed_nanos
        elif row.status == "paid":
            expected[owner] -= row.claimed_nanos
    return _differing(tx, "bill_nanos", expected)


def _by_owner(rows: Sequence[Row]) -> dict[_Owner, int]:
    return {(row.customer_id, row.currency): int(row.nanos) for row in rows}


def _differing(tx: Tx, column: str, expected: Counter[_Owner]) -> list[str]:
    kept = Counter(
        {(row.customer_id, row.currency): getattr(row, column) for row in tx.all(sa.select(_CARRIES))}
    )  # fmt: skip
    return [
        f"{column} of {owner[0]} in {owner[1]}: {kept[owner]}, it should be {expected[owner]}"
        for owner in sorted(kept.keys() | expected.keys())
        if kept[owner] != expected[owner]
    ]


def _bills_claimed(tx: Tx) -> list[str]:
    """Bills whose amount is not what they claimed, or that are not for their claim's customer."""
    b, k = _BILLS.c, _CLAIMS.c
    columns = (b.id, b.customer_id, b.currency, b.amount_minor, b.status, k.state, k.claimed_nanos)
    query = sa.select(*columns, k.customer_id.label("claimed_of"), k.currency.label("claimed_in"))
    return [
        f"bill {row.id}: {row.status}, {row.amount_minor} {row.currency}; {row.claimed_nanos} claimed, {row.state}"
        for row in tx.all(query.outerjoin(_CLAIMS, k.bill_id == b.id))
        if (row.claimed_of, row.claimed_in) != (row.customer_id, row.currency)
        or row.claimed_nanos != row.amount_minor * nanos_per_minor(row.currency)
        or row.state not in _CLAIM_BY_BILL[row.status]
    ]


_CLAIM_BY_BILL: Final = {"open": ("claimed",), "failed": ("released",), "paid": ("settled", "released")}


def _bills_paid(tx: Tx) -> list[str]:
    """Bills that do not stand as their payment does."""
    b, p = _BILLS.c, _PAYMENTS.c
    columns = (b.id, b.status, b.amount_minor, b.currency, p.status.label("payment"), p.amount_minor.label("paid"))
    query = sa.select(*columns, p.currency.label("paid_in")).outerjoin(_PAYMENTS, p.id == b.payment_id)
    return [
        f"bill {row.id}: {row.status}, {row.amount_minor} {row.currency}; its payment is {row.payment or 'missing'},"
        f" {row.paid} {row.paid_in}"
        for row in tx.all(query)
        if (row.paid, row.paid_in) != (row.amount_minor, row.currency) or row.status != _bill_status(row.payment)
    ]


def _bill_status(payment: str) -> str:
    if payment == "succeeded":
        return "paid"
    return "failed" if payment in ("declined", "refused", "canceled") else "open"


CHECKS: Final = (
    Check(5, "what is used of every pool is the sum of what events took from it", _lines(invariants.wrong_used)),
    Check(5, "what is held of every pool is the sum of the open reservations", _lines(invariants.wrong_held)),
    Check(5, "no pool is above the limit under which its last units were accepted", _lines(_above_limit)),
    Check(5, "the units of every event are those of its allocations", _lines(invariants.wrong_allocations)),
    Check(5, "held credits are those of the open reservations", _lines(invariants.wrong_credit_holds)),
    Check(5, "credits that were drawn are posted, the rest below a minor unit carried", _credit_carries),
    Check(8, "every bill has claimed the sum of its events", _lines(invariants.wrong_claims)),
    Check(
        8, "what bills left over is carried to the next, to the last part of a minor unit", _bill_carries, across=True
    ),
    Check(8, "the amount of every bill is what it claimed", _bills_claimed),
    Check(8, "every bill stands as its payment does", _bills_paid, across=True),
)
