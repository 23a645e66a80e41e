"""Sealing rows of the audit into one chain, apart from the writes that made them: PostgreSQL.

A chain within every write made all writers wait for each other and cost three to five times. One sealer at a time takes
what is committed and not sealed yet. A number may be drawn earlier and committed later than another one, so a row is
sealed when it is seen: the order of the chain is that of sealing.
"""

from __future__ import annotations

from typing import Final

from agentpay.audit import queries
from agentpay.audit.hashes import seal_hash
from agentpay.storage.lock import lock_number
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx

_SEALER: Final = lock_number("agentpay.audit.sealer")
_LATE: Final = 10_000


def seal(store: Store, limit: int = 1000, *, recent_only: bool = False) -> int:
    """Seal up to `limit` rows and return how many were sealed; 0 where another sealer is at work.

    With `recent_only` it looks at the rows around the last sealed one alone: for a loop that runs each second. A row
    that was committed after 10,000 later ones is found by the next call without it, which every start makes.
    """
    return store.write(lambda tx: _seal(tx, limit, recent_only))


def seal_within(tx: Tx, limit: int = 1000) -> None:
    """Seal everything that is not sealed, within a write that is under way."""
    while _seal(tx, limit, recent_only=False):
        continue


def _seal(tx: Tx, limit: int, recent_only: bool) -> int:
    if not queries.try_to_be_sealer(tx, _SEALER):
        return 0
    above = queries.last_sealed_seq(tx) - _LATE if recent_only else -1
    position, last = queries.last_seal(tx)
    seals: list[tuple[int, int, str]] = []
    for row in queries.unsealed(tx, limit, above):
        last = seal_hash(last, row.seq, row.hash)
        position += 1
        seals.append((position, row.seq, last))
    if seals:
        queries.insert_seals(tx, seals, tx.now())
    return len(seals)
