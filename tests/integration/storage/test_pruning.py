"""Old writes are forgotten, and the newest is kept."""

from __future__ import annotations

import sqlalchemy as sa

from agentpay.storage import Store
from agentpay.storage.pruning import prune_writes
from agentpay.storage.tables import WriteRow
from agentpay.storage.types import table

_WRITES = table(WriteRow)


def _seqs(store: Store) -> list[int]:
    return [row.seq for row in store.read(lambda tx: tx.all(sa.select(_WRITES.c.seq).order_by(_WRITES.c.seq)))]


def test_all_but_the_newest_writes_are_forgotten(store: Store) -> None:
    for _ in range(25):
        store.write(lambda tx: tx.now())
    before = _seqs(store)
    assert prune_writes(store, kept=10) == len(before) - 10
    assert _seqs(store)[:-1] == before[-10:], "the ten newest stay, and the write that pruned"


def test_a_few_too_many_are_left_alone(store: Store) -> None:
    for _ in range(9):
        store.write(lambda tx: tx.now())
    before = _seqs(store)
    assert prune_writes(store, kept=len(before)) == 0
    assert _seqs(store) == before
