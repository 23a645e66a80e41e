"""Idempotency keys: per principal and operation, a key names one operation for ever."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from agentpay.canonical import digest
from agentpay.errors import IdempotencyConflict
from agentpay.principal import Principal
from agentpay.storage.tables import OperationKeyRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table
from agentpay_policies.text import identifier

_KEYS = table(OperationKeyRow)


def checked_key(key: object) -> str:
    """The idempotency key, checked as every id is.

    Raises:
        ValidationError: not text of 1 to 200 visible characters.
    """
    return identifier(key, "idempotency_key")


def body_hash(operation: str, body: Mapping[str, object]) -> str:
    """The hash by which a repeat of an operation is told from another one under the same key."""
    return digest(f"agentpay.body.{operation}", body)


def find(tx: Tx, principal: Principal, operation: str, key: str, hashed: str) -> str | None:
    """What the key names: the id of its target, or None where it is new.

    Raises:
        IdempotencyConflict: the key names an operation with another body. Raise it outside of the write's function
            only after what the caller wants kept is kept; nothing has been written here.
    """
    row = tx.first(_for_key(principal, operation, key))
    if row is None:
        return None
    if row.body_hash != hashed:
        raise IdempotencyConflict(f"The key {key[:60]!r} already names another {operation}.")
    target: str = row.target_id
    return target


def target_of(tx: Tx, principal: Principal, operation: str, key: str) -> str | None:
    """The id that the key names, whatever its body was."""
    row = tx.first(_for_key(principal, operation, key))
    return None if row is None else row.target_id


def claimed_at(tx: Tx, principal: Principal, operation: str, key: str) -> datetime | None:
    """Since when the key names its target; None where it is new."""
    row = tx.first(sa.select(_KEYS.c.created_at).where(_is(principal, operation, key)))
    return None if row is None else row.created_at


def claim(tx: Tx, principal: Principal, operation: str, key: str, hashed: str, target_id: str, now: datetime) -> bool:
    """Let the key name a target. False where another transaction was faster: look it up with `find`.

    On PostgreSQL this waits for a transaction in flight that claims the same key: it is the first lock of the order.
    """
    return tx.insert_new(
        OperationKeyRow,
        principal_kind=principal.kind,
        principal_id=principal.id,
        operation=operation,
        key=key,
        body_hash=hashed,
        target_id=target_id,
        created_at=now,
    )


def _for_key(principal: Principal, operation: str, key: str) -> sa.Select[tuple[str, str]]:
    return sa.select(_KEYS.c.body_hash, _KEYS.c.target_id).where(_is(principal, operation, key))


def _is(principal: Principal, operation: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        _KEYS.c.principal_kind == principal.kind,
        _KEYS.c.principal_id == principal.id,
        _KEYS.c.operation == operation,
        _KEYS.c.key == key,
    )
