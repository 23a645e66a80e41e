"""The tables that every domain stands on: the installation, the writes, idempotency keys, free text, the outbox."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, Sequence, UtcTime


class InstallationRow(Base, table=True):
    """One row: what this database is. Its secret makes provider keys and salted hashes.

    `is_copy` says that these rows were copied from another database, by a backup or an import: the first program that
    opens it begins a new `epoch`. `reconciled_epoch` is the last one in which everything open was looked up.
    """

    __tablename__ = "installation"
    __table_args__ = (sa.CheckConstraint("one = 1", name="ck_installation_one"),)

    one: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    id: str
    secret: str = Field(repr=False)
    mode: str = "test"
    is_copy: bool = False
    epoch: int = 1
    epoch_at: datetime | None = Field(default=None, sa_type=UtcTime)
    reconciled_epoch: int = 1
    created_at: datetime = Field(sa_type=UtcTime)


class WriteRow(Base, table=True):
    """One row a committed write: by it a COMMIT whose answer was lost is recognised, and time never runs back."""

    __tablename__ = "writes"
    __table_args__ = ({"info": {"exported": False}},)

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    id: str = Field(unique=True)
    at: datetime = Field(sa_type=UtcTime)


class OperationKeyRow(Base, table=True):
    """An idempotency key: per principal and operation it names one operation, for ever."""

    __tablename__ = "operation_keys"

    principal_kind: str = Field(primary_key=True)
    principal_id: str = Field(primary_key=True)
    operation: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    body_hash: str
    target_id: str
    created_at: datetime = Field(sa_type=UtcTime)


class TextRow(Base, table=True):
    """Free text of agents, customers and providers, apart from the rows it belongs to, so that it can be erased."""

    __tablename__ = "texts"

    owner_id: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    body: str


class OutboxRow(Base, table=True):
    """A change that others may want to hear of, written in the transaction that made it."""

    __tablename__ = "outbox"

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    topic: str
    object_id: str
    body: str
    created_at: datetime = Field(sa_type=UtcTime)
    delivered_at: datetime | None = Field(default=None, sa_type=UtcTime)
