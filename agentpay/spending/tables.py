"""The gate's own tables: the policy in force, halts, holds and counters, decisions, approvals, approvers, throttles."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, Sequence, UtcTime


class PolicyRow(Base, table=True):
    """A version of the policy; the highest version is the active one."""

    __tablename__ = "policies"

    version: int = Field(primary_key=True)
    policy_id: str
    hash: str
    body: str
    applied_by: str
    applied_at: datetime = Field(sa_type=UtcTime)
    loosening: bool
    loosened: str = "[]"


class HaltRow(Base, table=True):
    """Who is halted: `all`, or `agent:<id>`."""

    __tablename__ = "halts"

    scope: str = Field(primary_key=True)
    halted_by: str
    reason: str
    halted_at: datetime = Field(sa_type=UtcTime)


class SubjectRow(Base, table=True):
    """One agent or budget: the row that is locked before its counters are read."""

    __tablename__ = "spending_subjects"

    subject: str = Field(primary_key=True)


class CounterRow(Base, table=True):
    """What was held and spent in one bucket of time. `unit` is a currency, or `count`."""

    __tablename__ = "spending_counters"
    # The upper bound also stops SQLite from turning a sum that outgrows 64 bits into a float.
    __table_args__ = (sa.CheckConstraint("value BETWEEN 0 AND 9000000000000000000", name="ck_counter_value"),)

    subject: str = Field(primary_key=True)
    operation: str = Field(primary_key=True)
    direction: str = Field(primary_key=True)
    unit: str = Field(primary_key=True)
    grain: str = Field(primary_key=True)
    bucket: datetime = Field(primary_key=True, sa_type=UtcTime)
    value: int = Field(default=0, sa_type=sa.BigInteger)


class HoldRow(Base, table=True):
    """Money, or recorded cost, reserved before it is spent: it lives as long as what stands behind it.

    `state` is held, captured, released (the money is free again, the attempt still counts) or void (as if never taken).
    `path` names the subjects that it counts for, separated by line breaks. `weight_minor` is what it counts in limits:
    the amount, or what a subscription commits to. `approved` says that people were asked, `restores` of a refund that
    it frees its charge's budget, and `restored_minor` what refunds freed of this one. Recorded usage has no amount: its
    `cost_nanos` are 10⁻⁹ of the currency.
    """

    __tablename__ = "holds"
    __table_args__ = (
        sa.CheckConstraint("amount_minor >= 0", name="ck_hold_amount"),
        sa.CheckConstraint("restored_minor >= 0 AND restored_minor <= weight_minor", name="ck_hold_restored"),
        sa.Index("ix_hold_owner", "owner_id"),
        sa.Index("ix_hold_agent", "agent", "state", "held_at"),
    )

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    id: str = Field(unique=True)
    owner_id: str
    decision_id: str
    agent: str
    path: str
    operation: str
    direction: str
    customer_id: str | None = None
    payee: str
    provider: str | None = None
    currency: str
    amount_minor: int = Field(sa_type=sa.BigInteger)
    weight_minor: int = Field(sa_type=sa.BigInteger, sa_column_kwargs={"server_default": "0"})
    cost_nanos: int = Field(default=0, sa_type=sa.BigInteger, sa_column_kwargs={"server_default": "0"})
    approved: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    restores: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    restored_minor: int = Field(default=0, sa_type=sa.BigInteger, sa_column_kwargs={"server_default": "0"})
    kind: str
    state: str
    held_at: datetime = Field(sa_type=UtcTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcTime)


class DecisionRow(Base, table=True):
    """A decision that took or raised a hold, with every cap that it was held against."""

    __tablename__ = "decisions"

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    id: str = Field(unique=True)
    owner_id: str
    agent: str
    operation: str
    outcome: str
    policy_hash: str
    checks: str
    decided_at: datetime = Field(sa_type=UtcTime)


class DecisionRequestRow(Base, table=True):
    """What an agent asked for, with the answer: what another policy is tried on. Denied ones are here as well.

    `violations` and `shadow` are the operator's view, as JSON. `owner_id` is the payment or refund, where there is one.
    """

    __tablename__ = "decision_requests"
    __table_args__ = (sa.Index("ix_decision_request_time", "decided_at", "seq"),)

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    agent: str
    operation: str
    direction: str
    customer_id: str | None = None
    payee: str
    provider: str | None = None
    method: str | None = None
    currency: str | None = None
    amount_minor: int | None = Field(default=None, sa_type=sa.BigInteger)
    plan: str | None = None
    quantity: int = Field(sa_type=sa.BigInteger)
    cost_nanos: int | None = Field(default=None, sa_type=sa.BigInteger)
    own_charge: bool
    period: str | None = None
    term: int
    look_alike: str | None = None
    outcome: str
    violations: str = "[]"
    shadow: str = "[]"
    owner_id: str | None = None
    policy_hash: str | None = None
    decided_at: datetime = Field(sa_type=UtcTime)


class NoticeRow(Base, table=True):
    """That a part of a limit is full: told once for each limit, window and threshold."""

    __tablename__ = "policy_notices"

    rule: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    unit: str = Field(primary_key=True)
    threshold: str = Field(primary_key=True)
    window_start: datetime = Field(primary_key=True, sa_type=UtcTime)
    told_at: datetime = Field(sa_type=UtcTime)


class EnrolmentRow(Base, table=True):
    """An agent that the operator enrolled: only patterns with `each: true` ask."""

    __tablename__ = "enrolments"

    agent: str = Field(primary_key=True)
    enrolled_by: str
    enrolled_at: datetime = Field(sa_type=UtcTime)


class ApprovalRow(Base, table=True):
    """A single-use, expiring question to people about exactly one payment or refund."""

    __tablename__ = "approvals"
    __table_args__ = (
        sa.UniqueConstraint("principal_id", "operation", "idempotency_key", "number", name="uq_approval_key"),
        sa.Index("ix_approval_owner", "owner_id"),
        sa.Index("ix_approval_status", "status", "expires_at"),
    )

    id: str = Field(primary_key=True)
    owner_id: str
    number: int
    principal_id: str
    operation: str
    idempotency_key: str
    digest: str
    policy_hash: str
    needs: str
    direction: str
    customer_id: str
    payee: str
    payee_is_new: bool
    provider: str
    amount_minor: int = Field(sa_type=sa.BigInteger)
    currency: str
    status: str
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime = Field(sa_type=UtcTime)
    decided_at: datetime | None = Field(default=None, sa_type=UtcTime)


class ApprovalVoteRow(Base, table=True):
    """What one approver said of one approval: once."""

    __tablename__ = "approval_votes"

    approval_id: str = Field(primary_key=True, foreign_key="approvals.id")
    approver: str = Field(primary_key=True)
    verdict: str
    voted_at: datetime = Field(sa_type=UtcTime)


class ApproverRow(Base, table=True):
    """A person who may approve: the secret is kept as scrypt's hash of it."""

    __tablename__ = "approvers"

    name: str = Field(primary_key=True)
    secret_hash: str
    enrolled_by: str
    enrolled_at: datetime = Field(sa_type=UtcTime)
    failures: int = 0
    locked_until: datetime | None = Field(default=None, sa_type=UtcTime)


class ThrottleRow(Base, table=True):
    """What one agent did in one minute."""

    __tablename__ = "throttles"

    agent: str = Field(primary_key=True)
    minute: datetime = Field(primary_key=True, sa_type=UtcTime)
    new_keys: int = 0
    refusals: int = 0
    throttled: int = 0
