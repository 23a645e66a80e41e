"""Forgetting the ids of old writes: one is only looked up in the seconds after its COMMIT's answer was lost."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from agentpay.storage.store import Store
from agentpay.storage.tables import WriteRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table

_WRITES = table(WriteRow)
KEPT: Final = 100_000


def prune_writes(store: Store, *, kept: int = KEPT) -> int:
    """Forget all but the newest writes, a tenth more than `kept` at the most; returns how many were forgotten.

    The newest row always stays: by it time is kept from running backwards.
    """
    oldest, newest = store.read(_ends)
    if newest - oldest < kept + kept // 10:
        return 0
    gone = sa.delete(_WRITES).where(_WRITES.c.seq <= newest - kept)
    return store.write(lambda tx: tx.execute(gone).rowcount)


def _ends(tx: Tx) -> tuple[int, int]:
    row = tx.first(sa.select(sa.func.min(_WRITES.c.seq).label("oldest"), sa.func.max(_WRITES.c.seq).label("newest")))
    return (0, 0) if row is None or row.oldest is None else (int(row.oldest), int(row.newest))
