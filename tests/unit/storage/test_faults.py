"""What drivers raise, told apart; and nothing of the driver's text, which may hold data, in what we say."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy.exc

from agentpay.errors import StorageBusy, StorageCorrupt, StorageError, StorageFull, StorageReadOnly
from agentpay.storage.faults import connection_lost, may_run_again, translated, unreachable
from support.faulty import server_error


def sqlite_error(code: int) -> sqlalchemy.exc.OperationalError:
    error = sqlite3.OperationalError("secret text")
    error.sqlite_errorcode = code
    return sqlalchemy.exc.OperationalError("INSERT secret", {}, error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY, StorageBusy),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StorageBusy),
        (sqlite3.SQLITE_LOCKED, StorageBusy),
        (sqlite3.SQLITE_READONLY_DBMOVED, StorageReadOnly),
        (sqlite3.SQLITE_CANTOPEN, StorageReadOnly),
        (sqlite3.SQLITE_FULL, StorageFull),
        (sqlite3.SQLITE_CORRUPT, StorageCorrupt),
        (sqlite3.SQLITE_NOTADB, StorageCorrupt),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageError),
        (sqlite3.SQLITE_CONSTRAINT_CHECK, StorageError),
    ],
)
def test_sqlite(code: int, kind: type[StorageError]) -> None:
    made = translated(sqlite_error(code))
    assert type(made) is kind
    assert "secret" not in str(made) and made.__cause__ is not None
    assert made.retryable == (kind is StorageBusy)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("40001", StorageBusy),
        ("40P01", StorageBusy),
        ("55P03", StorageBusy),
        ("57P01", StorageBusy),
        ("25006", StorageReadOnly),
        ("53100", StorageFull),
        ("XX001", StorageCorrupt),
        ("23514", StorageError),
        (None, StorageBusy),
    ],
)
def test_postgresql(state: str | None, kind: type[StorageError]) -> None:
    assert type(translated(server_error(state))) is kind


def test_a_server_that_lets_nobody_in_is_no_matter_of_files() -> None:
    """A wrong password or database has no code of its own, and looks like a server that is down."""
    refused = translated(server_error(None))
    assert "refuses the user or the database" in refused.message and "the database URL is right" in refused.next_step
    for state in ("25006", "42501", "3F000"):
        assert "file" not in translated(server_error(state)).next_step


def test_no_connection_left_in_the_pool() -> None:
    assert type(translated(sqlalchemy.exc.TimeoutError("QueuePool limit"))) is StorageBusy


def test_what_may_be_run_again() -> None:
    assert [may_run_again(server_error(state)) for state in ("40001", "40P01", "23505", None)] == [
        True,
        True,
        False,
        False,
    ]
    assert not may_run_again(sqlite_error(sqlite3.SQLITE_BUSY))
    assert connection_lost(server_error(None, lost=True)) and not connection_lost(server_error("40001"))
    assert [unreachable(server_error(state)) for state in (None, "57P03", "53100")] == [True, True, False]
    assert not unreachable(sqlite_error(sqlite3.SQLITE_BUSY))
