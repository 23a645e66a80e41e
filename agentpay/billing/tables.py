"""Bills and grants: what usage was charged for, and what credits were given."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, UtcTime


class BillRow(Base, table=True):
    """One bill: the payment that charges what its claim took of a customer's usage (see `usage_claims`)."""

    __tablename__ = "bills"
    __table_args__ = (
        sa.Index("ix_bill_customer", "customer_id", "created_at"),
        sa.CheckConstraint("status IN ('open', 'paid', 'failed')", name="ck_bill_status"),
    )

    id: str = Field(primary_key=True)
    customer_id: str = Field(foreign_key="customers.id")
    currency: str
    amount_minor: int = Field(sa_type=sa.BigInteger)
    status: str
    payment_id: str = Field(unique=True)
    created_at: datetime = Field(sa_type=UtcTime)
    settled_at: datetime | None = Field(default=None, sa_type=UtcTime)


class CreditGrantRow(Base, table=True):
    """Credits that were given to a customer."""

    __tablename__ = "credit_grants"
    __table_args__ = (sa.CheckConstraint("amount_minor > 0", name="ck_grant_amount"),)

    id: str = Field(primary_key=True)
    customer_id: str = Field(foreign_key="customers.id")
    currency: str
    amount_minor: int = Field(sa_type=sa.BigInteger)
    granted_by: str
    created_at: datetime = Field(sa_type=UtcTime)
