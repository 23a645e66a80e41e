"""A counter in a table of its own: without a lock it loses counts, and so shows that a harness finds faults."""

from __future__ import annotations

import sqlalchemy as sa

from agentpay.storage import Store, Tx

COUNTER = sa.Table(
    "test_counter", sa.MetaData(), sa.Column("one", sa.Integer, primary_key=True), sa.Column("n", sa.Integer)
)


def make_counter(store: Store) -> None:
    """Make the table, with its one row at 0."""

    def make(tx: Tx) -> None:
        COUNTER.create(tx.conn)
        tx.execute(sa.insert(COUNTER).values(one=1, n=0))

    store.write(make)


def counted(store: Store) -> int:
    """What the counter shows."""
    return int(store.read(lambda tx: tx.scalar(sa.select(COUNTER.c.n))))


def count_naively(store: Store) -> None:
    """Read, then write what was read and one more: wrong on purpose."""
    seen = counted(store)
    store.write(lambda tx: tx.execute(sa.update(COUNTER).values(n=seen + 1)) and None)


def count(store: Store) -> None:
    """Lock, read in the write, and write: right."""

    def write(tx: Tx) -> None:
        row = tx.lock(sa.select(COUNTER.c.n))[0]
        tx.execute(sa.update(COUNTER).values(n=row.n + 1))

    store.write(write)


def count_in_process(_index: int, url: str, times: int, naive: bool) -> None:
    """A job for worker processes."""
    store = Store(url)
    for _ in range(times):
        (count_naively if naive else count)(store)
    store.close()
