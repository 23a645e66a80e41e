"""All SQL about the audit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from agentpay.audit.tables import AuditRow, AuditSealRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table

_LOG = table(AuditRow)
_SEALS = table(AuditSealRow)
_PAGE: Final = 2000


def lock_object(tx: Tx, lock: int) -> None:
    """Let one transaction at a time add to an object's history. SQLite has one writer anyway."""
    if tx.dialect == "postgresql":
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))


def last_hash(tx: Tx, object_id: str) -> str:
    """The hash of the object's newest row, "" where it has none."""
    newest = sa.select(_LOG.c.hash).where(_LOG.c.object_id == object_id).order_by(_LOG.c.seq.desc()).limit(1)
    return tx.scalar(newest) or ""


def insert_row(tx: Tx, **values: object) -> int:
    """Insert a row and return its number."""
    return int(tx.scalar(sa.insert(_LOG).values(**values).returning(_LOG.c.seq)))


def last_seal(tx: Tx) -> tuple[int, str]:
    """The position and the hash of the chain's newest seal; (0, "") where there is none."""
    row = tx.first(sa.select(_SEALS.c.position, _SEALS.c.hash).order_by(_SEALS.c.position.desc()).limit(1))
    return (0, "") if row is None else (row.position, row.hash)


def insert_seals(tx: Tx, seals: list[tuple[int, int, str]], at: datetime) -> None:
    """Insert links of the chain: position, number of the row, hash."""
    rows = [{"position": place, "audit_seq": seq, "hash": hashed, "sealed_at": at} for place, seq, hashed in seals]
    tx.execute(sa.insert(_SEALS), rows)


def try_to_be_sealer(tx: Tx, lock: int) -> bool:
    """Whether this transaction is the one that seals. Never waits."""
    return bool(tx.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(lock)))) if tx.dialect == "postgresql" else True


def unsealed(tx: Tx, limit: int, above: int) -> list[Row]:
    """Rows that no seal names, numbered higher than `above`, in the order of their numbers."""
    query = sa.select(_LOG.c.seq, _LOG.c.hash).outerjoin(_SEALS, _SEALS.c.audit_seq == _LOG.c.seq)
    query = query.where(_SEALS.c.audit_seq.is_(None), _LOG.c.seq > above)
    return list(tx.all(query.order_by(_LOG.c.seq).limit(limit)))


def last_sealed_seq(tx: Tx) -> int:
    """The highest number of a sealed row, 0 where there is none."""
    return tx.scalar(sa.select(sa.func.max(_SEALS.c.audit_seq))) or 0


def rows(tx: Tx) -> Iterator[Row]:
    """Every row by its number, a page at a time. `at` is as it is stored: a forged one may be no moment."""
    columns = [sa.type_coerce(one, sa.BigInteger).label("at") if one is _LOG.c.at else one for one in _LOG.c]
    last = -1
    while found := tx.all(sa.select(*columns).where(_LOG.c.seq > last).order_by(_LOG.c.seq).limit(_PAGE)):
        yield from found
        last = found[-1].seq


def seals(tx: Tx) -> Iterator[Row]:
    """Every seal in the order of its position, with the hash of its row (None where the row is gone)."""
    query = sa.select(_SEALS.c.position, _SEALS.c.audit_seq, _SEALS.c.hash, _LOG.c.hash.label("row_hash"))
    query = query.outerjoin(_LOG, _LOG.c.seq == _SEALS.c.audit_seq).order_by(_SEALS.c.position).limit(_PAGE)
    last = -(2**62)
    while found := tx.all(query.where(_SEALS.c.position > last)):
        yield from found
        last = found[-1].position


def history(tx: Tx, object_id: str) -> list[Row]:
    """What happened to one object, oldest first."""
    return list(tx.all(sa.select(_LOG).where(_LOG.c.object_id == object_id).order_by(_LOG.c.seq)))
