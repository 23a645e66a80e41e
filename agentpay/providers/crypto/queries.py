"""All SQL about the chain."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from agentpay.providers.crypto.tables import (
    ChainCursorRow,
    ChainDepositRow,
    ChainNewsRow,
    ChainRawRow,
    ChainSendRow,
    ChainTransferRow,
)
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table

_CURSORS = table(ChainCursorRow)
_DEPOSITS = table(ChainDepositRow)
_TRANSFERS = table(ChainTransferRow)
_NEWS = table(ChainNewsRow)
_SENDS = table(ChainSendRow)
_RAWS = table(ChainRawRow)
_D, _T, _S = _DEPOSITS.c, _TRANSFERS.c, _SENDS.c

OPEN_STATES = ("waiting", "reversed")
"""Deposits that the next blocks may change whatever arrives."""


def cursor(tx: Tx, chain: int, *, lock: bool = False) -> Row | None:
    """How far a chain was read."""
    statement = sa.select(_CURSORS).where(_CURSORS.c.chain == chain)
    rows = tx.lock(statement) if lock else tx.all(statement)
    return rows[0] if rows else None


def start_cursor(tx: Tx, chain: int, head: int, at: datetime) -> None:
    """Begin to read a chain at a block."""
    tx.insert_new(ChainCursorRow, chain=chain, start=head, head=head, head_at=at, scanned=head)


def move_cursor(tx: Tx, chain: int, head: int, at: datetime, scanned: int) -> None:
    """The chain was read further."""
    moved = sa.update(_CURSORS).where(_CURSORS.c.chain == chain)
    tx.execute(moved.values(head=head, head_at=at, scanned=scanned))


def deposit_by_key(tx: Tx, key: str) -> Row | None:
    """The deposit of a request."""
    return tx.first(sa.select(_DEPOSITS).where(_D.key == key))


def deposit(tx: Tx, deposit_id: str, *, lock: bool = False) -> Row | None:
    """A deposit."""
    return _one(tx, sa.select(_DEPOSITS).where(_D.id == deposit_id), lock)


def update_deposit(tx: Tx, deposit_id: str, **values: Any) -> None:
    """Change columns of a deposit."""
    tx.execute(sa.update(_DEPOSITS).where(_D.id == deposit_id).values(**values))


def next_index(tx: Tx, chain: int, source: str) -> int:
    """The first index behind those that were used of an extended key."""
    last = tx.scalar(sa.select(sa.func.max(_D.path_index)).where(_D.chain == chain, _D.source == source))
    return 0 if last is None else int(last) + 1


def slots(tx: Tx, chain: int, address: str, token: str) -> set[str]:
    """The amounts that no other deposit may have now."""
    mine = (_D.chain == chain, _D.address == address, _D.token == token, _D.slot.is_not(None))
    return {row.slot for row in tx.all(sa.select(_D.slot).where(*mine))}


def free_slots(tx: Tx, chain: int, ended_before: datetime) -> None:
    """Let amounts be used again whose deposits ended so long ago."""
    tx.execute(
        sa.update(_DEPOSITS)
        .where(_D.chain == chain, _D.slot.is_not(None), _D.ended_at.is_not(None), _D.ended_at < ended_before)
        .values(slot=None)
    )


def addresses(tx: Tx, chain: int) -> list[str]:
    """Every address that a deposit was ever asked to."""
    return sorted(tx.execute(sa.select(_D.address).where(_D.chain == chain).distinct()).scalars())


def tokens_of(tx: Tx, chain: int) -> list[str]:
    """Every token that a deposit was ever asked in."""
    return sorted(tx.execute(sa.select(_D.token).where(_D.chain == chain).distinct()).scalars())


def deposit_of(tx: Tx, chain: int, address: str, token: str, units: str) -> Row | None:
    """The deposit that a transfer is for: that of its address; where many share one, that of its amount."""
    mine = (_D.chain == chain, _D.address == address)
    own = tx.first(sa.select(_DEPOSITS).where(*mine, _D.path_index.is_not(None)))
    if own is not None:
        return own if own.token == token else None
    return tx.first(sa.select(_DEPOSITS).where(*mine, _D.token == token, _D.slot == units))


def affected(tx: Tx, chain: int, first: int) -> Sequence[Row]:
    """The deposits that blocks from `first` on may have changed, locked."""
    touched = sa.select(_T.deposit_id).where(_T.chain == chain, _T.block_number >= first)
    query = sa.select(_DEPOSITS).where(_D.chain == chain, sa.or_(_D.state.in_(OPEN_STATES), _D.id.in_(touched)))
    return tx.lock(query.order_by(_D.id))


def transfers_of(tx: Tx, deposit_id: str) -> Sequence[Row]:
    """Every transfer to a deposit, on the canonical chain or not."""
    return tx.all(sa.select(_TRANSFERS).where(_T.deposit_id == deposit_id).order_by(_T.block_number, _T.log_index))


def transfers_since(tx: Tx, chain: int, first: int) -> Sequence[Row]:
    """The transfers in blocks from `first` on, on the canonical chain or not."""
    return tx.all(sa.select(_TRANSFERS).where(_T.chain == chain, _T.block_number >= first))


def unmatched_since(tx: Tx, chain: int, first: int) -> Sequence[Row]:
    """The transfers that are for no deposit, in blocks from `first` on."""
    return tx.all(
        sa.select(_TRANSFERS).where(_T.chain == chain, _T.block_number >= first, _T.deposit_id.is_(None))
    )  # fmt: skip


def insert_transfer(tx: Tx, **values: Any) -> bool:
    """Enter a transfer, unless it is there."""
    return tx.insert_new(ChainTransferRow, **values)


def update_transfer(tx: Tx, transfer_id: str, **values: Any) -> None:
    """Change columns of a transfer."""
    tx.execute(sa.update(_TRANSFERS).where(_T.id == transfer_id).values(**values))


def set_canonical(tx: Tx, transfer_ids: Collection[str], canonical: bool) -> None:
    """Say of transfers whether their block is on the canonical chain."""
    if transfer_ids:
        tx.execute(sa.update(_TRANSFERS).where(_T.id.in_(transfer_ids)).values(canonical=canonical))


def strays(tx: Tx, limit: int, *, fractions: bool) -> Sequence[Row]:
    """What belongs to no payment, the newest first, with the payment that it came near to."""
    query = (
        sa.select(_TRANSFERS, _D.payment_id)
        .outerjoin(_DEPOSITS, _D.id == _T.deposit_id)
        .where(_T.stray_reason.is_not(None))
        .order_by(_T.seq.desc())
        .limit(limit)
    )
    return tx.all(query if fractions else query.where(_T.stray_reason != "fraction"))


def tokens(tx: Tx) -> Sequence[Row]:
    """The tokens that deposits were asked in, with what they are to us."""
    return tx.all(sa.select(_D.chain, _D.token, _D.currency, _D.decimals).distinct())


def insert_news(tx: Tx, **values: Any) -> None:
    """Keep something to be told, once."""
    tx.insert_new(ChainNewsRow, **values)


def untold(tx: Tx, chain: int, since: datetime, limit: int) -> list[Row]:
    """What was never told, and as much as fits of what was first told since then; the oldest first."""
    told = _NEWS.c.first_told_at
    rows = tx.all(
        sa.select(_NEWS)
        .where(_NEWS.c.chain == chain, sa.or_(told.is_(None), told >= since))
        .order_by(sa.case((told.is_(None), 0), else_=1), _NEWS.c.seq)
        .limit(limit)
    )
    return sorted(rows, key=lambda row: int(row.seq))


def mark_told(tx: Tx, seqs: Collection[int], now: datetime) -> None:
    """News that are told for the first time now."""
    tx.execute(sa.update(_NEWS).where(_NEWS.c.seq.in_(seqs)).values(first_told_at=now))


def send_by_key(tx: Tx, key: str, *, lock: bool = False) -> Row | None:
    """The transfer of a request, by the key of its first step or of its broadcast."""
    return _one(tx, sa.select(_SENDS).where(sa.or_(_S.key == key, _S.step_key == key)), lock)


def send_by_hash(tx: Tx, tx_hash: str, *, lock: bool = False) -> Row | None:
    """The transfer that a transaction is of."""
    found = sa.select(_RAWS.c.send_id).where(_RAWS.c.tx_hash == tx_hash).scalar_subquery()
    return _one(tx, sa.select(_SENDS).where(_S.id == found), lock)


def send(tx: Tx, send_id: str, *, lock: bool = False) -> Row:
    """A transfer of ours, which must be there."""
    row = _one(tx, sa.select(_SENDS).where(_S.id == send_id), lock)
    assert row is not None
    return row


def insert_send(tx: Tx, **values: Any) -> bool:
    """Enter a transfer with its nonce, unless its key or its nonce is taken."""
    return tx.insert_new(ChainSendRow, **values)


def update_send(tx: Tx, send_id: str, **values: Any) -> None:
    """Change columns of a transfer."""
    tx.execute(sa.update(_SENDS).where(_S.id == send_id).values(**values))


def nonces(tx: Tx, chain: int, sender: str, first: int) -> set[int]:
    """The nonces from `first` on that are taken."""
    mine = (_S.chain == chain, _S.sender == sender, _S.nonce >= first)
    return {int(row.nonce) for row in tx.all(sa.select(_S.nonce).where(*mine))}


def open_sends(tx: Tx, chain: int, limit: int) -> Sequence[Row]:
    """The transfers that were broadcast and are not final, the oldest first."""
    return tx.all(sa.select(_SENDS).where(_S.chain == chain, _S.state == "sent").order_by(_S.sent_at).limit(limit))


def refunds_of(tx: Tx, charge_id: str) -> Sequence[Row]:
    """The refunds of a deposit that moved money, or may."""
    live = _S.state.in_(("signed", "sent", "succeeded"))
    return tx.all(sa.select(_SENDS).where(_S.charge_id == charge_id, live))


def insert_raw(tx: Tx, **values: Any) -> None:
    """Store signed bytes."""
    tx.insert_new(ChainRawRow, **values)


def raws(tx: Tx, send_id: str) -> Sequence[Row]:
    """The signed bytes of a transfer, the first first."""
    return tx.all(sa.select(_RAWS).where(_RAWS.c.send_id == send_id).order_by(_RAWS.c.number))


def _one(tx: Tx, statement: sa.Select[Any], lock: bool) -> Row | None:
    rows = tx.lock(statement) if lock else tx.all(statement)
    return rows[0] if rows else None
