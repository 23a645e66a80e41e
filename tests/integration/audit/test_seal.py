"""The sealer of PostgreSQL: one at a time, in the order in which rows are seen, none forgotten."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from agentpay.audit import queries
from agentpay.audit.hashes import seal_hash
from agentpay.audit.log import record
from agentpay.audit.seal import seal
from agentpay.audit.verify import verify
from agentpay.principal import SYSTEM
from agentpay.storage import Store, Tx
from conftest import OpenStore
from integration.audit.test_log import note
from support.parallel import run_threads, values

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


def chain(store: Store) -> list[tuple[int, int]]:
    return [(row.position, row.audit_seq) for row in store.read(lambda tx: list(queries.seals(tx)))]


def test_rows_are_sealed_in_order_from_one(store: Store) -> None:
    for name in "abc":
        note(store, name)
    assert [seal(store), seal(store)] == [3, 0]
    assert chain(store) == [(1, 1), (2, 2), (3, 3)]
    rows = store.read(lambda tx: list(queries.seals(tx)))
    head = ""
    for row in rows:
        head = seal_hash(head, row.audit_seq, row.row_hash)
        assert row.hash == head
    assert verify(store).head == head


def test_no_more_than_the_limit_at_once(store: Store) -> None:
    for name in "abcde":
        note(store, name)
    assert [seal(store, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert verify(store).ok


@pytest.mark.parametrize("recent_only", [False, True])
def test_a_row_committed_after_a_later_one_is_sealed_when_it_is_seen(
    store: Store, open_store: OpenStore, recent_only: bool
) -> None:
    other = open_store()

    def slow(tx: Tx) -> None:
        record(tx, principal=SYSTEM, action="slow", object_id="slow", data={}, at=tx.now())
        other.write(
            lambda fast: record(fast, principal=SYSTEM, action="fast", object_id="fast", data={}, at=fast.now())
        )
        assert seal(other, recent_only=recent_only) == 1

    store.write(slow)
    assert seal(store, recent_only=recent_only) == 1
    assert chain(store) == [(1, 2), (2, 1)]
    assert verify(store).ok


def test_a_number_that_was_rolled_back_is_no_fault(store: Store) -> None:
    def undone(tx: Tx) -> None:
        record(tx, principal=SYSTEM, action="a", object_id="a", data={}, at=tx.now())
        raise KeyError

    note(store, "x")
    with pytest.raises(KeyError):
        store.write(undone)
    note(store, "y")
    assert seal(store) == 2
    assert chain(store) == [(1, 1), (2, 3)]
    assert verify(store).ok


def test_sealers_at_once_make_one_chain(store: Store) -> None:
    for number in range(30):
        note(store, f"o{number}")
    sealed = values(run_threads(6, lambda _: [seal(store, limit=3) for _ in range(4)]))
    rest = seal(store)
    assert sum(map(sum, sealed)) + rest == 30
    assert [position for position, _ in chain(store)] == list(range(1, 31))
    assert verify(store).ok


def test_a_second_sealer_does_not_wait(store: Store, open_store: OpenStore) -> None:
    from agentpay.audit.seal import _SEALER

    note(store, "a")
    holder = open_store()

    def hold(tx: Tx) -> int:
        assert queries.try_to_be_sealer(tx, _SEALER)
        return seal(store)

    assert holder.write(hold) == 0
    assert seal(store) == 1


def test_the_order_of_commits_is_kept_within_an_object(store: Store) -> None:
    values(run_threads(6, lambda _: [note(store, "one") for _ in range(5)] and None))  # type: ignore[func-returns-value]
    rows = store.read(lambda tx: tx.all(sa.text("SELECT seq, previous_hash, hash FROM audit_log ORDER BY seq")))
    assert [row.previous_hash for row in rows] == ["", *[row.hash for row in rows[:-1]]]
