"""Recording: canonical bytes, their hash, the link to the object's row before, and on SQLite the seal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from agentpay.audit import queries
from agentpay.audit.log import record
from agentpay.audit.seal import seal
from agentpay.audit.verify import verify
from agentpay.principal import OPERATOR, agent
from agentpay.storage import Store, Tx
from conftest import START
from support.parallel import run_threads, values


def note(store: Store, object_id: str, action: str = "payment.opened", **data: object) -> None:
    def write(tx: Tx) -> None:
        record(tx, principal=agent("bot"), action=action, object_id=object_id, data=data, at=tx.now())

    store.write(write)


def test_a_row_holds_its_bytes_and_its_hash(store: Store) -> None:
    note(store, "pay_1", amount="5.00", currency="USD")
    row = store.read(lambda tx: queries.history(tx, "pay_1"))[0]
    assert json.loads(row.body) == {
        "v": 1,
        "at": "1769853600000000",
        "principal": "agent:bot",
        "action": "payment.opened",
        "object": "pay_1",
        "data": {"amount": "5.00", "currency": "USD"},
        "previous": "",
    }
    assert row.body == json.dumps(json.loads(row.body), sort_keys=True, separators=(",", ":"))
    assert row.hash == hashlib.sha256(f"agentpay.audit.row\n{row.body}".encode()).hexdigest()
    assert (row.at, row.principal, row.action, row.previous_hash) == (START, "agent:bot", "payment.opened", "")


def test_each_row_follows_the_one_before_of_the_same_object(store: Store) -> None:
    for object_id in ("pay_1", "pay_2", "pay_1"):
        note(store, object_id)
    first, third = store.read(lambda tx: queries.history(tx, "pay_1"))
    (second,) = store.read(lambda tx: queries.history(tx, "pay_2"))
    assert (first.previous_hash, third.previous_hash, second.previous_hash) == ("", first.hash, "")


def test_two_rows_of_one_write_follow_each_other(store: Store) -> None:
    def write(tx: Tx) -> None:
        for action in ("a", "b"):
            record(tx, principal=OPERATOR, action=action, object_id="pay_1", data={}, at=tx.now())

    store.write(write)
    first, second = store.read(lambda tx: queries.history(tx, "pay_1"))
    assert second.previous_hash == first.hash


def test_sqlite_seals_in_the_same_write_and_postgresql_later(store: Store) -> None:
    note(store, "pay_1")
    found = verify(store)
    assert (found.sealed, found.unsealed) == ((1, 0) if store.dialect == "sqlite" else (0, 1))
    assert found.ok


def test_text_of_any_kind_keeps_its_hash(store: Store) -> None:
    note(store, "pay_1", odd='"\\\x00\u2028🙂é', number=7, none=None, listed=["a", {"b": "c"}])
    assert verify(store).ok


def test_a_write_that_is_undone_leaves_no_row(store: Store) -> None:
    def write(tx: Tx) -> None:
        record(tx, principal=OPERATOR, action="a", object_id="pay_1", data={}, at=tx.now())
        raise KeyError

    values_or_errors = run_threads(1, lambda _: store.write(write))
    assert isinstance(values_or_errors[0], KeyError)
    assert verify(store).rows == 0


def write_history(index: int, url: str, rows: int) -> None:
    """A job for worker processes: histories of one object that all share and one of its own."""
    from agentpay.clock import FixedClock

    store = Store(url, clock=FixedClock(START))
    for _ in range(rows):
        note(store, "shared")
        note(store, f"own_{index}")
    store.close()


def test_histories_written_at_once_are_chains(
    store: Store, database: str, run_processes: Callable[..., list[Any]]
) -> None:
    values(run_processes(3, "integration.audit.test_log:write_history", (database, 10)))
    values(run_threads(4, lambda _: note(store, "shared")))
    assert seal(store) == (0 if store.dialect == "sqlite" else 64)
    found = verify(store)
    assert found.ok, found.faults
    assert (found.rows, found.sealed) == (64, 64)
