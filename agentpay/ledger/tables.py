"""Double entry: transactions, their entries, and running balances of the accounts that must not be overdrawn."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, Sequence, UtcTime


class LedgerTransactionRow(Base, table=True):
    """One event that moved money, posted once: `event` and `object_id` together are unique."""

    __tablename__ = "ledger_transactions"
    __table_args__ = (sa.UniqueConstraint("event", "object_id", name="uq_ledger_event"),)

    id: str = Field(primary_key=True)
    event: str
    object_id: str
    posted_at: datetime = Field(sa_type=UtcTime)


class LedgerEntryRow(Base, table=True):
    """One side of a transaction: a debit is positive, a credit negative; they add up to nothing per currency."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        sa.Index("ix_ledger_account", "account", "currency"),
        sa.Index("ix_ledger_transaction", "transaction_id"),
        sa.CheckConstraint("amount_minor <> 0", name="ck_ledger_amount"),
    )

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    transaction_id: str = Field(foreign_key="ledger_transactions.id")
    account: str
    currency: str
    amount_minor: int = Field(sa_type=sa.BigInteger)


class LedgerBalanceRow(Base, table=True):
    """The running balance of a constrained account; a customer's credit is ours to owe, so never above nothing."""

    __tablename__ = "ledger_balances"
    __table_args__ = (
        sa.CheckConstraint(
            "account NOT LIKE 'customer_credit:%' OR balance_minor <= 0", name="ck_credit_not_overdrawn"
        ),
    )

    account: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    balance_minor: int = Field(default=0, sa_type=sa.BigInteger)
