"""What is special to SQLite and to PostgreSQL: connections, locks and time."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from agentpay.clock import Clock, SystemClock
from agentpay.errors import ClockWentBack, ConfigurationError, StorageError
from agentpay.storage.faults import translated
from agentpay.storage.lock import SideLock, hold, let_go_in_child, lock_number
from agentpay.storage.tables import WriteRow
from agentpay.storage.transaction import Dialect
from agentpay.storage.types import from_micros, table

_WRITES = table(WriteRow)
_LAST_SEEN = sa.select(_WRITES.c.at).order_by(_WRITES.c.seq.desc()).limit(1)
POSTGRES_NOW: Final[sa.ColumnElement[Any]] = sa.literal_column(
    "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
)
"""The database's own time, in microseconds."""

_BACKWARD_TOLERANCE: Final = timedelta(seconds=5)
_BUSY_SECONDS: Final = 5.0
_INHERITED: Final[list[sa.Pool]] = []
"""Connections that a fork copied from its parent: kept, since closing one in the child would meddle with the file."""
_SHOWN: Final = "%Y-%m-%d %H:%M:%S"

Holding = AbstractContextManager[Callable[[], bool] | None]
Writing = AbstractContextManager[tuple[sa.Connection, Callable[[], datetime]]]


class Backend(Protocol):
    """The seam between the store and one kind of database."""

    dialect: Dialect
    engine: sa.Engine

    def reading(self) -> AbstractContextManager[sa.Connection]: ...
    def writing(self, *, accept_clock: bool) -> Writing: ...
    def creating(self) -> AbstractContextManager[sa.Connection]:
        """A connection under the lock that keeps two programs from creating or migrating the schema at once."""
        ...

    def holding(self, name: str) -> Holding:
        """Hold the work of a name for as long as the block runs, without waiting: a function that says whether it is
        still held, or None where another process or thread holds it. Who dies holds nothing any more."""
        ...

    def read_time(self, conn: sa.Connection) -> datetime: ...
    def forget_connections(self) -> None: ...
    def after_fork(self) -> None: ...
    def close(self) -> None: ...


def backend_for(url: str, *, clock: Clock | None, lock_timeout: float) -> Backend:
    """The backend that a URL names.

    Raises:
        ConfigurationError: no URL of a database that AgentPay knows.
    """
    if url == "memory://":
        return SqliteBackend(None, clock=clock or SystemClock(), lock_timeout=lock_timeout)
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # No cause is kept: it shows a port that is no number, and where the host is forgotten that is the password.
        text = "The database URL is none: use memory://, sqlite:///file or postgresql://…"
        raise ConfigurationError(text) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        if parsed.query:
            raise ConfigurationError("A SQLite URL takes no options: write %3F for a question mark in a file's name.")
        return SqliteBackend(Path(parsed.database), clock=clock or SystemClock(), lock_timeout=lock_timeout)
    if parsed.get_backend_name() == "postgresql":
        return PostgresBackend(parsed.set(drivername="postgresql+psycopg"), clock=clock, lock_timeout=lock_timeout)
    raise ConfigurationError("The database URL is none that AgentPay knows: memory://, sqlite:///file, postgresql://…")


class SqliteBackend:
    """One file, in WAL mode, synced at every commit. Writers queue on a side file; readers never wait."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path | None, *, clock: Clock, lock_timeout: float) -> None:
        self._finalizer: weakref.finalize[..., SqliteBackend] | None = None
        if path is None:
            folder = Path(tempfile.mkdtemp(prefix="agentpay-"))
            self._finalizer = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = folder / "agentpay.db"
        self.path = path.absolute()
        self._clock = clock
        self._timeout = lock_timeout
        self._lock = SideLock(self.path.with_name(self.path.name + ".lock"), timeout=lock_timeout)
        self.engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self.path)), connect_args={"timeout": min(_BUSY_SECONDS, lock_timeout)}
        )
        sa.event.listen(self.engine, "connect", _prepare_sqlite)
        sa.event.listen(self.engine, "begin", _begin_sqlite)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        with self.engine.connect() as conn:
            yield conn

    @contextmanager
    def writing(self, *, accept_clock: bool) -> Iterator[tuple[sa.Connection, Callable[[], datetime]]]:
        with self._lock.held(), self.engine.connect().execution_options(agentpay_begin="BEGIN IMMEDIATE") as conn:
            moment = self._moment(conn, accept_clock)
            yield conn, lambda: moment
            _check_open(conn)
            conn.commit()

    def _moment(self, conn: sa.Connection, accept_clock: bool) -> datetime:
        """The time of this write: it never runs backwards."""
        seen: datetime | None = conn.execute(_LAST_SEEN).scalar()
        now = self._clock.now()  # read after BEGIN IMMEDIATE, which may have waited
        if seen is None or accept_clock or now >= seen:
            return now
        if seen - now > _BACKWARD_TOLERANCE:
            raise ClockWentBack(f"The clock shows {now:{_SHOWN}} UTC; the last write was at {seen:{_SHOWN}} UTC.")
        return seen

    @contextmanager
    def creating(self) -> Iterator[sa.Connection]:
        with self._lock.held(), self.engine.connect() as conn:
            conn.exec_driver_sql("COMMIT")
            conn.exec_driver_sql("PRAGMA journal_mode=WAL")
            conn.exec_driver_sql("BEGIN IMMEDIATE")
            yield conn
            conn.commit()

    @contextmanager
    def holding(self, name: str) -> Iterator[Callable[[], bool] | None]:
        with hold(self.path.with_name(f"{self.path.name}.{name}.lock")) as held:
            yield (lambda: True) if held else None

    def read_time(self, conn: sa.Connection) -> datetime:
        now = self._clock.now()
        seen: datetime | None = conn.execute(_LAST_SEEN).scalar()
        return now if seen is None else max(now, seen)

    def forget_connections(self) -> None:
        self.engine.dispose()

    def after_fork(self) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()  # the temporary database is the parent's
        let_go_in_child()
        self._lock = SideLock(self.path.with_name(self.path.name + ".lock"), timeout=self._timeout)
        _leave_behind(self.engine)

    def close(self) -> None:
        self.engine.dispose()
        if self._finalizer is not None:
            self._finalizer()


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None  # we write BEGIN ourselves: the driver would delay it until the first write
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):  # REPLACE meets them too
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(conn: sa.Connection) -> None:
    conn.exec_driver_sql(conn.get_execution_options().get("agentpay_begin", "BEGIN"))


def _check_open(conn: sa.Connection) -> None:
    """Refuse to commit what is gone: a full disk ends the whole transaction, even where an error was caught."""
    if not getattr(conn.connection.dbapi_connection, "in_transaction", True):
        raise StorageError("The transaction was undone by the database before its end.")


def _leave_behind(engine: sa.Engine) -> None:
    """In the child of a fork: connections are made anew, the parent's are neither used nor closed."""
    _INHERITED.append(engine.pool)
    engine.dispose(close=False)


class PostgresBackend:
    """READ COMMITTED with rows locked in one order; time is the database's own unless a test passes a clock."""

    dialect: Dialect = "postgresql"

    def __init__(self, url: sa.URL, *, clock: Clock | None, lock_timeout: float) -> None:
        self._clock = clock
        self.engine = sa.create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_size=8,
            max_overflow=24,
            pool_pre_ping=False,
            connect_args={"options": _options(url, lock_timeout), "application_name": "agentpay"},
        )

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        with self.engine.connect() as conn:
            yield conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @contextmanager
    def writing(self, *, accept_clock: bool) -> Iterator[tuple[sa.Connection, Callable[[], datetime]]]:  # noqa: ARG002
        with self.engine.connect() as conn:
            yield conn, lambda: self.read_time(conn)
            conn.commit()

    @contextmanager
    def creating(self) -> Iterator[sa.Connection]:
        with self.engine.connect() as conn:
            conn.execute(sa.text("SELECT pg_advisory_xact_lock(4711, 1)"))
            yield conn
            conn.commit()

    @contextmanager
    def holding(self, name: str) -> Iterator[Callable[[], bool] | None]:
        with self._session() as conn:
            number = lock_number(f"agentpay.holding:{name}")
            try:
                got = conn.execute(sa.select(sa.func.pg_try_advisory_lock(number))).scalar()
            except sa.exc.SQLAlchemyError as exc:
                raise translated(exc) from exc
            try:
                yield (lambda: _answers(conn)) if got else None
            finally:
                if got:
                    _let_go(conn, number)

    @contextmanager
    def _session(self) -> Iterator[sa.Connection]:
        """A connection outside of any transaction: a lock of its session does not keep one open."""
        try:
            conn = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except sa.exc.SQLAlchemyError as exc:
            raise translated(exc) from exc
        with conn:
            yield conn

    def read_time(self, conn: sa.Connection) -> datetime:
        if self._clock is not None:
            return self._clock.now()
        return from_micros(int(conn.execute(sa.select(POSTGRES_NOW)).scalar_one()))

    def forget_connections(self) -> None:
        """SQLAlchemy has marked all that are older than the loss: each is closed and made anew at its next use.
        To throw the pool away would leave open what other threads have in their hands."""

    def after_fork(self) -> None:
        _leave_behind(self.engine)

    def close(self) -> None:
        self.engine.dispose()


def _answers(conn: sa.Connection) -> bool:
    try:
        return bool(conn.execute(sa.select(1)).scalar())
    except sa.exc.SQLAlchemyError:
        return False


def _let_go(conn: sa.Connection, number: int) -> None:
    """Give a lock of the session up. Where the connection is lost it went with it; else it is closed for good."""
    try:
        conn.execute(sa.select(sa.func.pg_advisory_unlock(number)))
    except sa.exc.SQLAlchemyError:
        conn.invalidate()


def _options(url: sa.URL, lock_timeout: float) -> str:
    """The options of the session: those of the URL, such as a search path, and ours."""
    given = url.query.get("options", ())
    return " ".join([*([given] if isinstance(given, str) else given), f"-c lock_timeout={int(lock_timeout * 1000)}"])
