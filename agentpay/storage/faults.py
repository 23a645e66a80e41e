"""What the database drivers raise, told apart into our own errors."""

from __future__ import annotations

import sqlite3
from typing import Final

import sqlalchemy.exc

from agentpay.errors import StorageBusy, StorageCorrupt, StorageError, StorageFull, StorageReadOnly

_SQLITE: Final[dict[int, tuple[type[StorageError], str]]] = {
    sqlite3.SQLITE_BUSY: (StorageBusy, "Another program holds the database."),
    sqlite3.SQLITE_LOCKED: (StorageBusy, "The database is locked."),
    sqlite3.SQLITE_READONLY: (StorageReadOnly, "The database is read-only."),
    sqlite3.SQLITE_CANTOPEN: (StorageReadOnly, "The database file cannot be opened."),
    sqlite3.SQLITE_PERM: (StorageReadOnly, "The database file may not be opened."),
    sqlite3.SQLITE_FULL: (StorageFull, "The disk is full."),
    sqlite3.SQLITE_CORRUPT: (StorageCorrupt, "The database is damaged."),
    sqlite3.SQLITE_NOTADB: (StorageCorrupt, "The file is not a database."),
    sqlite3.SQLITE_IOERR: (StorageError, "The disk did not answer."),
}

_POSTGRES: Final[dict[str, tuple[type[StorageError], str]]] = {
    "40001": (StorageBusy, "The transaction met another one."),
    "40P01": (StorageBusy, "The transaction met another one."),
    "55P03": (StorageBusy, "A row was locked for too long."),
    "57014": (StorageBusy, "The statement took too long."),
    "57P01": (StorageBusy, "The server closed the connection."),
    "57P02": (StorageBusy, "The server closed the connection."),
    "57P03": (StorageBusy, "The server is starting or stopping."),
    "53300": (StorageBusy, "The server has no connection left."),
    "25006": (StorageReadOnly, "The server is read-only: is it a replica?"),
    "42501": (StorageReadOnly, "The database user may not do this."),
    "53100": (StorageFull, "The server's disk is full."),
    "3F000": (StorageError, "There is no schema by the name in the search path."),
    "XX001": (StorageCorrupt, "The server reports damaged data."),
    "XX002": (StorageCorrupt, "The server reports a damaged index."),
}

_NEXT: Final[dict[str, str]] = {
    "25006": "Name the primary in the database URL, then repeat with the same key.",
    "42501": "Grant the database user of the URL this database and its tables, then repeat with the same key.",
    "3F000": "Make it with CREATE SCHEMA, or correct the database URL.",
}
"""What to do where the advice of the kind is about a file."""

_RUN_AGAIN: Final = frozenset({"40001", "40P01"})


def translated(exc: sqlalchemy.exc.SQLAlchemyError) -> StorageError:
    """Our error for a driver's. The driver's own text is kept as the cause, for the log; it may hold data."""
    cause = getattr(exc, "orig", None)
    kind, what, following = StorageError, "The database refused the operation.", None
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        kind, what = _SQLITE.get(code, (kind, what))
    elif (state := getattr(cause, "sqlstate", None)) is not None:
        kind, what = _POSTGRES.get(state, (kind, what))
        following = _NEXT.get(state)
    elif isinstance(exc, sqlalchemy.exc.OperationalError):
        # libpq has no code for what a server says before it lets somebody in, and its text names the user.
        kind, what = StorageBusy, "The database server cannot be reached, or refuses the user or the database."
        following = "See that the server runs and that the database URL is right, then repeat with the same key."
    elif isinstance(exc, sqlalchemy.exc.TimeoutError):
        kind, what = StorageBusy, "This program has no connection to the database left."
    error = kind(what, next_step=following)
    error.__cause__ = exc
    return error


def may_run_again(exc: sqlalchemy.exc.SQLAlchemyError) -> bool:
    """Whether the transaction was undone by the server for the sake of another one."""
    return getattr(getattr(exc, "orig", None), "sqlstate", None) in _RUN_AGAIN


def unreachable(exc: sqlalchemy.exc.SQLAlchemyError) -> bool:
    """Whether there is no server to talk to at the moment: it restarts, perhaps."""
    if not isinstance(exc, sqlalchemy.exc.OperationalError) or isinstance(exc.orig, sqlite3.Error):
        return False
    return getattr(exc.orig, "sqlstate", None) in (None, "57P03")


def connection_lost(exc: sqlalchemy.exc.SQLAlchemyError) -> bool:
    """Whether the connection went away, so that the fate of a COMMIT is not known."""
    return isinstance(exc, sqlalchemy.exc.DBAPIError) and exc.connection_invalidated
