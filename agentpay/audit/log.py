"""Writing the audit: one row in the transaction of what it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agentpay.audit import queries
from agentpay.audit.hashes import body_of, row_hash, salted, seal_hash
from agentpay.principal import Principal
from agentpay.storage.lock import lock_number
from agentpay.storage.transaction import Tx

__all__ = ["record", "salted"]


def record(
    tx: Tx, *, principal: Principal, action: str, object_id: str, data: Mapping[str, object], at: datetime
) -> None:
    """Record that something happened to an object.

    The row holds its canonical bytes, their hash, and the hash of the same object's row before. On SQLite it is sealed
    into the one chain in this write; on PostgreSQL the sealer does that a moment later.

    `data` is kept for ever: our own ids, states, amounts as strings, and `salted` hashes. Never what a customer is
    called, never free text, never a raw body; those live in tables that can be erased. Numbers that are no small
    integers go in as strings.

    Call it after the rows that matter are locked: on PostgreSQL it takes a lock on the object's history and keeps it to
    the end of the transaction.
    """
    queries.lock_object(tx, lock_number(f"agentpay.audit.object:{object_id}"))
    previous = queries.last_hash(tx, object_id)
    body = body_of(at=at, principal=str(principal), action=action, object_id=object_id, data=data, previous=previous)
    hashed = row_hash(body)
    seq = queries.insert_row(
        tx,
        at=at,
        principal=str(principal),
        action=action,
        object_id=object_id,
        body=body,
        hash=hashed,
        previous_hash=previous,
    )
    if tx.dialect == "sqlite":
        position, last = queries.last_seal(tx)
        queries.insert_seals(tx, [(position + 1, seq, seal_hash(last, seq, hashed))], at)
