"""Payments, refunds, disputes, and their attempts."""

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
    disputed_minor: int = Field(default=0, sa_type=sa.BigInteger, sa_column_kwargs={"server_default": "0"})
    status: str
    idempotency_key: str
    digest: str
    url: str | None = None
    decline_code: str | None = None
    late: bool = False
    excess: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    created_at: datetime = Field(sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)


class RefundRow(Base, table=True):
    """A refund of a payment, full or partial: ours, or one that was made at the provider (`origin`), which has no
    attempt but the provider's own `reference`. `returned`: the provider says that it failed in the end; one that had
    succeeded before stays so, and its money is back with us."""

    __tablename__ = "refunds"
    __table_args__ = (
        sa.CheckConstraint("amount_minor > 0", name="ck_refund_amount"),
        sa.Index("ix_refund_payment", "payment_id"),
        sa.Index("ix_refund_status", "status"),
        sa.Index("uq_refund_reference", "payment_id", "reference", unique=True, info=where("reference IS NOT NULL")),
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
    origin: str = Field(default="agentpay", sa_column_kwargs={"server_default": "agentpay"})
    reference: str | None = None
    returned: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    created_at: datetime = Field(sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)


class DisputeRow(Base, table=True):
    """Money of a payment that was taken back by other ways than a refund: by the customer's bank (`dispute`: open, won,
    lost), or by the provider or the chain itself (`reversal`: reversed, restored).

    `withdrawn_minor` is what is gone now: all while it is open, lost or reversed, else nothing; the ledger follows it
    by one posting a change (`postings` of them). `told_at` is the provider's time of the news that it stands by.
    """

    __tablename__ = "disputes"
    __table_args__ = (
        sa.UniqueConstraint("provider", "kind", "reference", name="uq_dispute_reference"),
        sa.CheckConstraint("amount_minor > 0", name="ck_dispute_amount"),
        sa.CheckConstraint("withdrawn_minor IN (0, amount_minor)", name="ck_dispute_withdrawn"),
        sa.Index("ix_dispute_payment", "payment_id"),
        sa.Index("ix_dispute_status", "status"),
    )

    id: str = Field(primary_key=True)
    payment_id: str = Field(foreign_key="payments.id")
    provider: str
    kind: str
    reference: str
    status: str
    amount_minor: int = Field(sa_type=sa.BigInteger)
    currency: str
    withdrawn_minor: int = Field(sa_type=sa.BigInteger)
    postings: int = 0
    reason: str
    told_at: datetime = Field(sa_type=UtcTime)
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
        sa.Index("ix_attempt_reference", "reference"),
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
