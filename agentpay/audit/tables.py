"""The audit log and the chain that seals it."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, Sequence, UtcTime


class AuditRow(Base, table=True):
    """One thing that happened to one object: its canonical bytes, their hash, and the hash of the row before it."""

    __tablename__ = "audit_log"
    __table_args__ = (sa.Index("ix_audit_object", "object_id", "seq"),)

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    at: datetime = Field(sa_type=UtcTime)
    principal: str
    action: str
    object_id: str
    body: str
    hash: str
    previous_hash: str


class AuditSealRow(Base, table=True):
    """One link of the chain over all rows, in the order in which they were sealed."""

    __tablename__ = "audit_seals"

    position: int = Field(primary_key=True, sa_type=sa.BigInteger)
    audit_seq: int = Field(unique=True, sa_type=sa.BigInteger)
    hash: str
    sealed_at: datetime = Field(sa_type=UtcTime)
