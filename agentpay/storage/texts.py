"""Free text, kept apart by the id of what it belongs to."""

from __future__ import annotations

import sqlalchemy as sa

from agentpay.storage.tables import TextRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table

_TEXTS = table(TextRow)


def keep(tx: Tx, owner_id: str, kind: str, body: str | None) -> None:
    """Keep one text of a thing; None keeps nothing, and a text that is kept already stays as it was."""
    if body is not None:
        tx.insert_new(TextRow, owner_id=owner_id, kind=kind, body=body)


def replace(tx: Tx, owner_id: str, kind: str, body: str | None) -> None:
    """Keep one text of a thing in place of the one that is kept; None changes nothing."""
    if body is not None:
        put(tx, owner_id, kind, body)


def put(tx: Tx, owner_id: str, kind: str, body: str | None) -> None:
    """Keep one text of a thing in place of the one that is kept, and none where there is none any more."""
    tx.execute(sa.delete(_TEXTS).where(_TEXTS.c.owner_id == owner_id, _TEXTS.c.kind == kind))
    keep(tx, owner_id, kind, body)


def erase(tx: Tx, owners: sa.Select[tuple[str]]) -> int:
    """Erase every text of the things that a query names; returns how many there were."""
    return tx.execute(sa.delete(_TEXTS).where(_TEXTS.c.owner_id.in_(owners))).rowcount


def text_of(tx: Tx, owner_id: str, kind: str) -> str | None:
    """The text of a thing, or None where there is none or it was erased."""
    found: str | None = tx.scalar(sa.select(_TEXTS.c.body).where(_TEXTS.c.owner_id == owner_id, _TEXTS.c.kind == kind))
    return found
