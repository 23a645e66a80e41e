"""All SQL about the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from agentpay.ledger.postings import CREDIT_PREFIX, WALLET_PREFIX, Entry
from agentpay.ledger.tables import LedgerBalanceRow, LedgerEntryRow, LedgerTransactionRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table

_ENTRIES = table(LedgerEntryRow)
_POSTED = table(LedgerTransactionRow)
_BALANCES = table(LedgerBalanceRow)
_TRANSACTIONS = table(LedgerTransactionRow)
_SUM = sa.func.sum(_ENTRIES.c.amount_minor)

Account = tuple[str, str]
"""The name of an account and the currency."""


def claim_event(tx: Tx, transaction_id: str, event: str, object_id: str, at: datetime) -> bool:
    """Insert the transaction unless the event was posted already. On PostgreSQL it waits for one in flight."""
    return tx.insert_new(LedgerTransactionRow, id=transaction_id, event=event, object_id=object_id, posted_at=at)


def has_event(tx: Tx, event: str, object_id: str) -> bool:
    """Whether an event of an object was posted."""
    found = sa.select(_POSTED.c.id).where(_POSTED.c.event == event, _POSTED.c.object_id == object_id)
    return tx.first(found) is not None


def insert_entries(tx: Tx, transaction_id: str, entries: Sequence[Entry]) -> None:
    """Insert the entries of a transaction."""
    rows = [
        {
            "transaction_id": transaction_id,
            "account": entry.account,
            "currency": entry.currency,
            "amount_minor": entry.amount_minor,
        }
        for entry in entries
    ]
    tx.execute(sa.insert(_ENTRIES), rows)


def entries_of(tx: Tx, event: str, object_id: str) -> tuple[Entry, ...]:
    """The entries of one event of an object, the first first; none where it was not posted."""
    t = _TRANSACTIONS.c
    joined = _ENTRIES.join(_TRANSACTIONS, t.id == _ENTRIES.c.transaction_id)
    query = sa.select(_ENTRIES).select_from(joined).where(t.event == event, t.object_id == object_id)
    return tuple(Entry(row.account, row.currency, row.amount_minor) for row in tx.all(query.order_by(_ENTRIES.c.seq)))


def lock_balance(tx: Tx, account: Account) -> int:
    """The running balance, its row made where it is missing and locked until the end."""
    name, currency = account
    tx.insert_new(LedgerBalanceRow, account=name, currency=currency, balance_minor=0)
    row = tx.lock(sa.select(_BALANCES.c.balance_minor).where(_is(account)))[0]
    return int(row.balance_minor)


def set_balance(tx: Tx, account: Account, minor: int) -> None:
    """Write a running balance whose row is locked."""
    tx.execute(sa.update(_BALANCES).where(_is(account)).values(balance_minor=minor))


def running_balance(tx: Tx, account: Account) -> int:
    """The running balance as it stands, without a lock; 0 where the account was never used."""
    return int(tx.scalar(sa.select(_BALANCES.c.balance_minor).where(_is(account))) or 0)


def running_balances(tx: Tx, name: str) -> list[Row]:
    """The running balances of an account: (currency, balance_minor), by currency."""
    query = sa.select(_BALANCES.c.currency, _BALANCES.c.balance_minor).where(_BALANCES.c.account == name)
    return list(tx.all(query.order_by(_BALANCES.c.currency)))


def entry_sum(tx: Tx, account: Account) -> int:
    """The sum of an account's entries."""
    name, currency = account
    return int(tx.scalar(sa.select(_SUM).where(_ENTRIES.c.account == name, _ENTRIES.c.currency == currency)) or 0)


def entry_sums(tx: Tx) -> list[Row]:
    """Every account and currency with the sum of its entries, by name."""
    group = (_ENTRIES.c.account, _ENTRIES.c.currency)
    return list(tx.all(sa.select(*group, _SUM.label("minor")).group_by(*group).order_by(*group)))


def unbalanced(tx: Tx) -> list[Row]:
    """For the doctor: transactions and currencies whose entries do not add up to nothing. Empty when all is well."""
    group = (_ENTRIES.c.transaction_id, _ENTRIES.c.currency)
    return list(tx.all(sa.select(*group, _SUM.label("minor")).group_by(*group).having(_SUM != 0)))


def wrong_balances(tx: Tx) -> list[Row]:
    """For the doctor: constrained accounts whose running balance is not the sum of their entries, or has no row."""
    group = (_ENTRIES.c.account, _ENTRIES.c.currency)
    kept = sa.or_(
        _ENTRIES.c.account.startswith(CREDIT_PREFIX, autoescape=True),
        _ENTRIES.c.account.startswith(WALLET_PREFIX, autoescape=True),
    )
    sums = sa.select(*group, _SUM.label("minor")).where(kept).group_by(*group).subquery()
    same = sa.and_(sums.c.account == _BALANCES.c.account, sums.c.currency == _BALANCES.c.currency)
    columns = (
        sa.func.coalesce(sums.c.account, _BALANCES.c.account).label("account"),
        sa.func.coalesce(sums.c.currency, _BALANCES.c.currency).label("currency"),
        sums.c.minor.label("entries_minor"),
        _BALANCES.c.balance_minor,
    )
    query = sa.select(*columns).select_from(sums.join(_BALANCES, same, full=True))
    running = sa.func.coalesce(_BALANCES.c.balance_minor, 0)
    return list(tx.all(query.where(sa.func.coalesce(sums.c.minor, 0) != running)))


def _is(account: Account) -> sa.ColumnElement[bool]:
    return sa.and_(_BALANCES.c.account == account[0], _BALANCES.c.currency == account[1])
