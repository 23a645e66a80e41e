"""Where the mock's books rest: a SQLite file beside the engine's database, or `mock_*` tables on PostgreSQL.

The books are never reached through the engine's own connections: a crash or a rollback of ours must not touch what the
provider knows. Many processes may open the same books at once.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from agentpay.errors import ConfigurationError
from agentpay.storage.faults import translated
from agentpay.storage.lock import SideLock
from agentpay.storage.types import Sequence, UtcTime

METADATA: Final = sa.MetaData()

REQUESTS: Final = sa.Table(
    "mock_requests",
    METADATA,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("hash", sa.String, nullable=False),
    sa.Column("op", sa.String, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("subject_id", sa.String, nullable=False),
    sa.Column("answer", sa.Text),
    sa.Column("at", UtcTime, nullable=False),
)
"""Every request that was taken, by its idempotency key, with the answer it got for ever."""

CHARGES: Final = sa.Table(
    "mock_charges",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("key", sa.String, nullable=False, unique=True),
    sa.Column("payment_id", sa.String, nullable=False),
    sa.Column("customer", sa.String, nullable=False),
    sa.Column("payee", sa.String, nullable=False),
    sa.Column("direction", sa.String, nullable=False),
    sa.Column("method", sa.String),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String, nullable=False),
    sa.Column("captured", sa.BigInteger, nullable=False),
    sa.Column("refunded", sa.BigInteger, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("code", sa.String),
    sa.Column("scenario", sa.String, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.CheckConstraint("refunded >= 0 AND refunded <= captured AND captured <= amount", name="ck_mock_charge"),
)
"""Charges and sends. `refunded` counts pending refunds too."""

REFUNDS: Final = sa.Table(
    "mock_refunds",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("key", sa.String, nullable=False, unique=True),
    sa.Column("charge_id", sa.String, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("code", sa.String),
    sa.Column("scenario", sa.String, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)

DISPUTES: Final = sa.Table(
    "mock_disputes",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("charge_id", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
"""Disputes and reversals: money that is taken back without a refund."""

MOVEMENTS: Final = sa.Table(
    "mock_movements",
    METADATA,
    sa.Column("seq", Sequence, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("charge_id", sa.String, nullable=False),
    sa.Column("refund_id", sa.String),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
"""Every movement of money, append-only by trigger: what an independent auditor reads."""

_BUSY_MILLISECONDS: Final = 5000
_CREATION_LOCK: Final = (4711, 2)


def books_beside(database_url: str) -> str:
    """The URL of the books that belong to an engine's database.

    `sqlite:///agentpay.db` has them in `agentpay.db.mock.db`; a PostgreSQL database holds them itself; `memory://`
    has private ones, gone when the provider is closed.

    Raises:
        ConfigurationError: no URL of a database that AgentPay knows.
    """
    if database_url == "memory://":
        return database_url
    try:
        parsed = sa.make_url(database_url)
    except (sa.exc.ArgumentError, ValueError):  # the cause may show a part of a password
        raise ConfigurationError("The mock's database URL is none.") from None
    if parsed.get_backend_name() == "postgresql":
        return database_url
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        return f"sqlite:///{Path(parsed.database).absolute()}.mock.db"
    raise ConfigurationError("The mock knows memory://, sqlite:///file and postgresql://… only.")


class BooksStore:
    """Connections to the books, made at first use. Safe to share between threads and across a fork."""

    def __init__(self, url: str, *, lock_timeout: float = 30.0) -> None:
        self._timeout = lock_timeout
        self._temporary = Path(tempfile.mkdtemp(prefix="agentpay-mock-")) if url == "memory://" else None
        self._url = _engine_url(f"sqlite:///{self._temporary / 'mock.db'}" if self._temporary else url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = self._make_engine()
        self._lock = self._make_lock()
        self._opening = threading.Lock()
        self._opened = False
        _STORES.add(self)

    def _make_engine(self) -> sa.Engine:
        if self.is_sqlite:
            engine = sa.create_engine(self._url, connect_args={"timeout": _BUSY_MILLISECONDS / 1000})
            sa.event.listen(engine, "connect", _prepare_sqlite)
            sa.event.listen(engine, "begin", _begin_sqlite)
            return engine
        options = f"-c lock_timeout={int(self._timeout * 1000)}"
        arguments = {"options": options, "application_name": "agentpay-mock"}
        return sa.create_engine(
            self._url, isolation_level="READ COMMITTED", pool_size=4, max_overflow=28, connect_args=arguments
        )

    def _make_lock(self) -> SideLock | None:
        if not self.is_sqlite:
            return None
        path = Path(self._url.database or "")
        return SideLock(path.with_name(path.name + ".lock"), timeout=self._timeout)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that only reads.

        Raises:
            StorageError: one of its kinds.
        """
        try:
            self._open()
            with self._engine.connect() as conn:
                yield conn
        except sa.exc.SQLAlchemyError as exc:
            raise translated(exc) from exc

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One write transaction, committed at the end, undone where anything is raised.

        Raises:
            StorageError: one of its kinds. Where the commit itself failed, nothing is proved.
        """
        try:
            self._open()
            with self._alone() as conn:
                yield conn
                conn.commit()
        except sa.exc.SQLAlchemyError as exc:
            raise translated(exc) from exc

    @contextmanager
    def _alone(self) -> Iterator[sa.Connection]:
        """On SQLite the one writer; on PostgreSQL the rows are locked instead."""
        with ExitStack() as stack:
            if self._lock is not None:
                stack.enter_context(self._lock.held())
            yield stack.enter_context(self._engine.connect().execution_options(mock_begin="BEGIN IMMEDIATE"))

    def _open(self) -> None:
        if self._opened:
            return
        with self._opening:
            if not self._opened:
                with self._alone() as conn:
                    self._create(conn)
                self._opened = True

    def _create(self, conn: sa.Connection) -> None:
        """Make the tables where they are missing, safe against another process that does the same."""
        if _exists(conn):
            return
        if self.is_sqlite:
            for statement in ("COMMIT", "PRAGMA journal_mode=WAL", "BEGIN IMMEDIATE"):  # WAL is set outside of any
                conn.exec_driver_sql(statement)
        else:
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(*_CREATION_LOCK)))
            if _exists(conn):  # it was made while we waited
                return
        older = sa.inspect(conn).has_table(MOVEMENTS.name)  # books of an earlier program lack the newest table only
        METADATA.create_all(conn)
        if not older:
            _make_append_only(conn)
        conn.commit()

    def after_fork(self) -> None:
        """In the child of a fork: connections and locks are the parent's, and the temporary file is not ours."""
        self._temporary = None
        self._engine.dispose(close=False)
        self._lock = self._make_lock()
        self._opening = threading.Lock()

    def close(self) -> None:
        """Close every connection; private books are removed."""
        self._engine.dispose()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _exists(conn: sa.Connection) -> bool:
    return sa.inspect(conn).has_table(DISPUTES.name)


def _engine_url(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.get_backend_name() == "postgresql" else parsed


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None
    # NORMAL: in WAL mode it survives the death of every process, which is what tests kill. Only a power cut could
    # take the last commits of these books, and they are no real money.
    for pragma in (f"busy_timeout={_BUSY_MILLISECONDS}", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(conn: sa.Connection) -> None:
    conn.exec_driver_sql(conn.get_execution_options().get("mock_begin", "BEGIN"))


def _make_append_only(conn: sa.Connection) -> None:
    refuse = "mock_movements is append-only"
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION mock_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN RAISE EXCEPTION '{refuse}'; END $$"
        )
    for verb in ("UPDATE", "DELETE"):
        trigger = f"CREATE TRIGGER mock_movements_no_{verb.lower()} BEFORE {verb} ON mock_movements"
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql(f"{trigger} FOR EACH STATEMENT EXECUTE FUNCTION mock_append_only()")
        else:
            conn.exec_driver_sql(f"{trigger} BEGIN SELECT RAISE(ABORT, '{refuse}'); END")


_STORES: weakref.WeakSet[BooksStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_STORES):
        store.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
