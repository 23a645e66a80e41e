"""Usage: events and what each was taken from, counters, reservations, carries and claims for bills.

Events and allocations are written once; only an event's `bill_id` changes, when a bill takes it or gives it back.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, UtcTime, where


class UsageCounterRow(Base, table=True):
    """One pool of one customer in one window: what was used, and what is held by open reservations.

    `limit_units` is the limit under which the last units were accepted, NULL where there was none. What no plan names
    is counted under the plan "".
    """

    __tablename__ = "usage_counters"
    __table_args__ = (
        sa.CheckConstraint("used >= 0 AND held >= 0", name="ck_usage_counter"),
        sa.CheckConstraint("limit_units IS NULL OR used + held <= limit_units", name="ck_usage_limit"),
    )

    customer_id: str = Field(primary_key=True, foreign_key="customers.id")
    plan_id: str = Field(primary_key=True)
    pool: str = Field(primary_key=True)
    window_start: datetime = Field(primary_key=True, sa_type=UtcTime)
    limit_units: int | None = Field(default=None, sa_type=sa.BigInteger)
    used: int = Field(default=0, sa_type=sa.BigInteger)
    held: int = Field(default=0, sa_type=sa.BigInteger)


class UsageEventRow(Base, table=True):
    """Something was used. Its cost, in 10⁻⁹ of the currency, was drawn from credits or is for a bill."""

    __tablename__ = "usage_events"
    __table_args__ = (
        sa.CheckConstraint("quantity > 0", name="ck_usage_quantity"),
        sa.CheckConstraint(
            "credit_nanos >= 0 AND unbilled_nanos >= 0 AND credit_nanos + unbilled_nanos = coalesce(cost_nanos, 0)",
            name="ck_usage_cost",
        ),
        sa.Index("ix_usage_customer", "customer_id", "feature", "recorded_at"),
        sa.Index("ix_usage_unbilled", "customer_id", "currency", info=where("bill_id IS NULL AND unbilled_nanos > 0")),
        sa.Index("ix_usage_bill", "bill_id"),
    )

    id: str = Field(primary_key=True)
    customer_id: str = Field(foreign_key="customers.id")
    feature: str
    quantity: int = Field(sa_type=sa.BigInteger)
    plan_id: str | None = None
    plan_version: int | None = None
    cost_nanos: int | None = Field(default=None, sa_type=sa.BigInteger)
    currency: str | None = None
    credit_nanos: int = Field(default=0, sa_type=sa.BigInteger)
    unbilled_nanos: int = Field(default=0, sa_type=sa.BigInteger)
    bill_id: str | None = None
    reservation_id: str | None = None
    principal_kind: str
    principal_id: str
    recorded_at: datetime = Field(sa_type=UtcTime)


class UsageAllocationRow(Base, table=True):
    """How much of an event was taken from one pool, and at which price a unit."""

    __tablename__ = "usage_allocations"
    __table_args__ = (
        sa.CheckConstraint("quantity > 0", name="ck_allocation_quantity"),
        sa.Index("ix_allocation_pool", "plan_id", "pool", "window_start"),
    )

    event_id: str = Field(primary_key=True, foreign_key="usage_events.id")
    plan_id: str = Field(primary_key=True)
    pool: str = Field(primary_key=True)
    window_start: datetime = Field(primary_key=True, sa_type=UtcTime)
    quantity: int = Field(sa_type=sa.BigInteger)
    unit_nanos: int = Field(default=0, sa_type=sa.BigInteger)


class UsageReservationRow(Base, table=True):
    """Units, and credits for them, held before they are used."""

    __tablename__ = "usage_reservations"
    __table_args__ = (
        sa.CheckConstraint("state IN ('open', 'committed', 'released', 'expired')", name="ck_reservation_state"),
        sa.CheckConstraint("quantity > 0 AND held_nanos >= 0", name="ck_reservation_held"),
        sa.Index("ix_reservation_open", "customer_id", "expires_at", info=where("state = 'open'")),
    )

    id: str = Field(primary_key=True)
    customer_id: str = Field(foreign_key="customers.id")
    feature: str
    quantity: int = Field(sa_type=sa.BigInteger)
    state: str
    currency: str | None = None
    held_nanos: int = Field(default=0, sa_type=sa.BigInteger)
    event_id: str | None = None
    principal_kind: str
    principal_id: str
    expires_at: datetime = Field(sa_type=UtcTime)
    created_at: datetime = Field(sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)


class UsageHoldRow(Base, table=True):
    """How much of a reservation is held in one pool, in the order in which it will be used."""

    __tablename__ = "usage_holds"
    __table_args__ = (sa.CheckConstraint("quantity > 0", name="ck_hold_quantity"),)

    reservation_id: str = Field(primary_key=True, foreign_key="usage_reservations.id")
    position: int = Field(primary_key=True)
    plan_id: str
    plan_version: int | None = None
    pool: str
    window_start: datetime = Field(sa_type=UtcTime)
    quantity: int = Field(sa_type=sa.BigInteger)
    unit_nanos: int = Field(default=0, sa_type=sa.BigInteger)
    currency: str | None = None


class UsageCarryRow(Base, table=True):
    """What is below a minor unit, per customer and currency; locked before credits are drawn or events are billed.

    `credit_nanos` is drawn from credits and not posted yet, `held_nanos` held for open reservations. `bill_nanos` is
    what bills left over; it may be negative while a bill that was given back has its events unbilled again.
    """

    __tablename__ = "usage_carries"
    __table_args__ = (sa.CheckConstraint("credit_nanos >= 0 AND held_nanos >= 0", name="ck_usage_carry"),)

    customer_id: str = Field(primary_key=True, foreign_key="customers.id")
    currency: str = Field(primary_key=True)
    credit_nanos: int = Field(default=0, sa_type=sa.BigInteger)
    held_nanos: int = Field(default=0, sa_type=sa.BigInteger)
    bill_nanos: int = Field(default=0, sa_type=sa.BigInteger)


class UsageClaimRow(Base, table=True):
    """Unbilled usage that a bill has taken: whole minor units of it, the rest is carried."""

    __tablename__ = "usage_claims"
    __table_args__ = (
        sa.CheckConstraint("state IN ('claimed', 'settled', 'released')", name="ck_claim_state"),
        sa.CheckConstraint("claimed_nanos > 0", name="ck_claim_nanos"),
    )

    bill_id: str = Field(primary_key=True)
    customer_id: str = Field(foreign_key="customers.id")
    currency: str
    claimed_nanos: int = Field(sa_type=sa.BigInteger)
    events_nanos: int = Field(sa_type=sa.BigInteger)
    state: str
    created_at: datetime = Field(sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)
