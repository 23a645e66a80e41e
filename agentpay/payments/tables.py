"""Payments, refunds, and their attempts."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, UtcTime, where


class PaymentRow(Base, table=True):
    """A payment: the intent. What was asked of providers for it are its attempts.

    `plan_period` and `plan_term` say of a subscription's first payment what it commits its customer to.
    """

    __tablename__ = "payments"
    __table_args__ = (
        sa.CheckConstraint("amount_minor > 0", name="ck_payment_amount"),
        sa.CheckConstraint(
            "refunded_minor >= 0 AND refunding_minor >= 0 AND refunded_minor + refunding_minor <= captured_minor",
            name="ck_payment_refunded",
        ),
        sa.Index("ix_payment_customer", "customer_id", "created_at"),
        sa.Index("ix_payment_look_alike", "principal_id", "customer_id", "amount_minor", "created_at"),
        sa.Index("ix_payment_status", "status"),
        sa.Index("ix_payment_purpose", "purpose_id"),
    )

    id: str = Field(primary_key=True)
    principal_kind: str
    principal_id: str
    operation: str
    purpose: str
    purpose_id: str | None = None
    plan: str | None = None
    plan_period: str | None = None
    plan_term: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    customer_id: str = Field(foreign_key="customers.id")
    payee: str
    direction: str
    provider: str
    provider_account: str
    mode: str
    method: str | None = None
    amount_minor: int = Field(sa_type=sa.BigInteger)
    currency: str
    captured_minor: int = Field(default=0, sa_type=sa.BigInteger)
    refunded_minor: int = Field(default=0, sa_type=sa.BigInteger)
    refunding_minor: int = Field(default=0, sa_type=sa.BigInteger)
    status: str
    idempotency_key: str
    digest: str
    url: str | None = None
    decline_code: str | None = None
    late: bool = False
    created_at: datetime = Field(sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)


class RefundRow(Base, table=True):
    """A refund of a payment, full or partial."""

    __tablename__ = "refunds"
    __table_args__ = (
        sa.CheckConstraint("amount_minor > 0", name="ck_refund_amount"),
        sa.Index("ix_refund_payment", "payment_id"),
        sa.Index("ix_refund_status", "status"),
    )

    id: str = Field(primary_key=True)
    payment_id: str = Field(foreign_key="payments.id")
    principal_kind: str
    principal_id: str
    amount_minor: int = Field(sa_type=sa.BigInteger)
    currency: str
    status: str
    idempotency_key: str
    digest: str
    decline_code: str | None = None
    created_at: datetime = Field(sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)


class AttemptRow(Base, table=True):
    """One request to a provider, committed with its key before it is sent; `outcome` is `sent` until more is known."""

    __tablename__ = "attempts"
    __table_args__ = (
        sa.UniqueConstraint("subject_id", "number", name="uq_attempt_number"),
        sa.Index(
            "uq_attempt_open",
            "subject_id",
            unique=True,
            info=where("outcome IN ('sent', 'unknown')"),
        ),
        sa.Index("ix_attempt_due", "outcome", "next_check_at"),
    )

    id: str = Field(primary_key=True)
    subject_id: str
    subject_kind: str
    number: int
    step: str
    provider: str
    provider_key: str = Field(unique=True)
    request: str
    outcome: str
    reference: str | None = None
    evidence: str | None = None
    sent_at: datetime = Field(sa_type=UtcTime)
    lease_until: datetime = Field(sa_type=UtcTime)
    settled_at: datetime | None = Field(default=None, sa_type=UtcTime)
    checks: int = 0
    next_check_at: datetime | None = Field(default=None, sa_type=UtcTime)
