"""Subscriptions, their periods, and the slot that a customer has in each group of plans."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, UtcTime, where


class SubscriptionSlotRow(Base, table=True):
    """One customer and one group of plans: the row that is locked before anything of it is read to be changed."""

    __tablename__ = "subscription_slots"

    customer_id: str = Field(primary_key=True, foreign_key="customers.id")
    plan_group: str = Field(primary_key=True)


class SubscriptionRow(Base, table=True):
    """A subscription. Its periods are computed from `started_at`, its quotas from `quota_anchor`.

    `paid_until` is the end of the last period there is a row of; `lapses_at` the end of the period after it, from when
    on nothing is left to renew. `renewing` is the number of the period whose payment is under way. An agreed end comes
    with the period in which it was agreed, or with that of the number `term`, whichever is later.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        sa.ForeignKeyConstraint(["plan_id", "plan_version"], ["plan_versions.plan_id", "plan_versions.version"]),
        sa.CheckConstraint(
            "status IN ('incomplete', 'active', 'past_due', 'canceled', 'expired')", name="ck_subscription_status"
        ),
        sa.CheckConstraint(
            "status NOT IN ('active', 'past_due') OR (started_at IS NOT NULL AND period_number >= 1)",
            name="ck_subscription_started",
        ),
        sa.Index(
            "uq_subscription_live",
            "customer_id",
            "plan_group",
            unique=True,
            info=where("status IN ('active', 'past_due')"),
        ),
        sa.Index(
            "uq_subscription_incomplete",
            "customer_id",
            "plan_group",
            unique=True,
            info=where("status = 'incomplete'"),
        ),
        sa.Index("ix_subscription_customer", "customer_id", "created_at"),
        sa.Index("ix_subscription_due", "status", "paid_until"),
    )

    id: str = Field(primary_key=True)
    customer_id: str = Field(foreign_key="customers.id")
    plan_id: str
    plan_version: int
    plan_group: str
    status: str
    free: bool
    cancel_at_period_end: bool = False
    term: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    started_at: datetime | None = Field(default=None, sa_type=UtcTime)
    quota_anchor: datetime | None = Field(default=None, sa_type=UtcTime)
    period_number: int = 0
    paid_until: datetime | None = Field(default=None, sa_type=UtcTime)
    lapses_at: datetime | None = Field(default=None, sa_type=UtcTime)
    renewing: int | None = None
    created_at: datetime = Field(sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcTime)


class SubscriptionPeriodRow(Base, table=True):
    """A period that was paid, or that is free: once per subscription and number."""

    __tablename__ = "subscription_periods"
    __table_args__ = (
        sa.CheckConstraint("number >= 1", name="ck_period_number"),
        sa.CheckConstraint("ends_at IS NULL OR ends_at > starts_at", name="ck_period_order"),
        sa.Index("ix_period_payment", "payment_id"),
    )

    subscription_id: str = Field(primary_key=True, foreign_key="subscriptions.id")
    number: int = Field(primary_key=True)
    starts_at: datetime = Field(sa_type=UtcTime)
    ends_at: datetime | None = Field(default=None, sa_type=UtcTime)
    payment_id: str | None = None
    created_at: datetime = Field(sa_type=UtcTime)
