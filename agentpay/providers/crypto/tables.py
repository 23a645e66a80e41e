"""The books of a chain: where it was read to, deposits, transfers that were seen, what is to be told, what was sent.

They lie in the engine's own database, so that one backup has both. Base units are TEXT: 256 bits fit no integer column,
and they are never added up in SQL.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, Sequence, UtcTime, where


class ChainCursorRow(Base, table=True):
    """How far a chain was seen and its logs were read. `head` only goes forward; what was before `start` is not ours to
    judge."""

    __tablename__ = "chain_cursors"

    chain: int = Field(primary_key=True, sa_type=sa.BigInteger, sa_column_kwargs={"autoincrement": False})
    start: int = Field(sa_type=sa.BigInteger)
    head: int = Field(sa_type=sa.BigInteger)
    head_at: datetime = Field(sa_type=UtcTime)
    scanned: int = Field(sa_type=sa.BigInteger)


class ChainDepositRow(Base, table=True):
    """What a customer was asked to pay, and where. `slot` is the amount as long as no other deposit may have it. What
    was in a block by `opened_block`, and by its time `opened_at`, was there before anybody was asked to pay."""

    __tablename__ = "chain_deposits"
    __table_args__ = (
        sa.UniqueConstraint("chain", "source", "path_index", name="uq_chain_deposit_index"),
        sa.UniqueConstraint("chain", "address", "token", "slot", name="uq_chain_deposit_slot"),
        sa.Index("ix_chain_deposit_address", "chain", "address"),
        sa.Index("ix_chain_deposit_open", "chain", "state"),
    )

    id: str = Field(primary_key=True)
    key: str = Field(unique=True)
    request_hash: str
    payment_id: str
    chain: int = Field(sa_type=sa.BigInteger)
    source: str
    path_index: int | None = Field(default=None, sa_type=sa.BigInteger)
    address: str
    token: str
    currency: str
    decimals: int
    price: str
    units: str
    slot: str | None = None
    state: str
    changes: int = 0
    opened_block: int = Field(sa_type=sa.BigInteger)
    opened_at: datetime = Field(sa_type=UtcTime)
    deadline: datetime = Field(sa_type=UtcTime)
    created_at: datetime = Field(sa_type=UtcTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcTime)


class ChainTransferRow(Base, table=True):
    """A Transfer log to an address of ours, in one block. The same transfer in another block is another row.

    `stray_units` of it belong to no payment, for `stray_reason`.
    """

    __tablename__ = "chain_transfers"
    __table_args__ = (
        sa.UniqueConstraint("chain", "block_hash", "tx_hash", "log_index", name="uq_chain_transfer"),
        sa.Index("ix_chain_transfer_block", "chain", "block_number"),
        sa.Index("ix_chain_transfer_deposit", "deposit_id"),
        sa.Index("ix_chain_transfer_stray", "chain", "stray_reason"),
    )

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    id: str = Field(unique=True)
    chain: int = Field(sa_type=sa.BigInteger)
    token: str
    tx_hash: str
    log_index: int
    block_number: int = Field(sa_type=sa.BigInteger)
    block_hash: str
    block_at: datetime = Field(sa_type=UtcTime)
    sender: str
    recipient: str
    units: str
    canonical: bool = True
    deposit_id: str | None = None
    stray_units: str = "0"
    stray_reason: str | None = None
    stray_changes: int = 0
    seen_at: datetime = Field(sa_type=UtcTime)


class ChainNewsRow(Base, table=True):
    """Something that the engine is to hear of, until it was told it for a day."""

    __tablename__ = "chain_news"
    __table_args__ = (sa.Index("ix_chain_news_told", "chain", "first_told_at"),)

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    id: str = Field(unique=True)
    chain: int = Field(sa_type=sa.BigInteger)
    kind: str
    body: str
    at: datetime = Field(sa_type=UtcTime)
    first_told_at: datetime | None = Field(default=None, sa_type=UtcTime)


class ChainSendRow(Base, table=True):
    """A transfer that we send. One nonce is one transfer's, for ever; a transfer that provably was never broadcast
    gives its nonce back."""

    __tablename__ = "chain_sends"
    __table_args__ = (
        sa.UniqueConstraint("chain", "sender", "nonce", name="uq_chain_send_nonce"),
        sa.Index("ix_chain_send_charge", "charge_id"),
        sa.Index("ix_chain_send_open", "chain", "state", info=where("state = 'sent'")),
    )

    id: str = Field(primary_key=True)
    key: str = Field(unique=True)
    step_key: str | None = None
    request_hash: str
    kind: str
    subject_id: str
    charge_id: str | None = None
    chain: int = Field(sa_type=sa.BigInteger)
    sender: str
    nonce: int | None = Field(default=None, sa_type=sa.BigInteger)
    token: str
    recipient: str
    units: str
    state: str
    result: str | None = None
    created_at: datetime = Field(sa_type=UtcTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcTime)


class ChainRawRow(Base, table=True):
    """The signed bytes of a transfer, stored before they are broadcast; a replacement by a person is a second row."""

    __tablename__ = "chain_raws"
    __table_args__ = (sa.Index("ix_chain_raw_send", "send_id"),)

    tx_hash: str = Field(primary_key=True)
    send_id: str = Field(foreign_key="chain_sends.id")
    number: int
    raw: str = Field(repr=False)
    gas: int = Field(sa_type=sa.BigInteger)
    max_fee: str
    tip: str
    signed_at: datetime = Field(sa_type=UtcTime)
