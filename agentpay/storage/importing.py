"""Importing an export into an empty database: all of it in one transaction, or nothing.

An export of an earlier program is taken too: the tables are made as they were then, filled, and migrated.
What comes of it is a copy, which begins a new epoch when it is first opened: see `agentpay.manager.epochs`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import sqlalchemy as sa

from agentpay.errors import ConfigurationError, Conflict, ImportInvalid, SchemaNewer
from agentpay.storage import lines
from agentpay.storage.faults import translated
from agentpay.storage.metadata import models
from agentpay.storage.migrate import known_revisions, upgrade_to
from agentpay.storage.schema import REVISION, VERSION_TABLE, check_free, revision_on
from agentpay.storage.store import Store
from agentpay.storage.tables import InstallationRow, WriteRow
from agentpay.storage.types import UtcTime, table, to_micros

_AT_A_TIME: Final = 200
_MACHINERY: Final = frozenset({"writes", "worker_jobs", VERSION_TABLE})
"""Tables of how programs work on a database, not of what is in it: they are not exported."""


@dataclass(frozen=True)
class Imported:
    """What was read: what the file said of itself, and how many rows it had."""

    header: lines.Header
    rows: int


def import_from(store: Store, path: Path) -> Imported:
    """Fill an empty database, which may be without any table, from a file.

    Raises:
        ConfigurationError: the file cannot be read.
        ImportInvalid: the file is no whole export; the message names the line.
        SchemaNewer: the file is of a later program.
        Conflict: the database is not empty.
        StorageError: the database does not answer, or its disk is full.
        In every case nothing was imported.
    """
    try:
        with path.open("rb") as file:
            reader = _Reader(file)
            header = reader.header()
            _check_revision(header.revision)
            with store.backend.creating() as conn:
                rows = _fill(conn, reader, header, store.ids.new("wri"))
    except OSError as exc:
        raise ConfigurationError(f"The file {path} cannot be read: {exc.strerror}.") from exc
    except sa.exc.SQLAlchemyError as exc:
        raise translated(exc) from exc
    return Imported(header, rows)


@dataclass
class _Reader:
    """The lines of a file, counted and checked as they are read."""

    file: BinaryIO
    number: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def header(self) -> lines.Header:
        """The first line."""
        line = self._next()
        try:
            return lines.Header.parse(line)
        except ValueError as exc:
            raise self.broken(exc) from exc

    def rows(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Every row, with the number of its line; behind them the last line is checked."""
        hashed = hashlib.sha256()
        while True:
            line = self._next()
            try:
                data = lines.parsed(line)
                if "end" in data:
                    self._check_end(data, hashed.hexdigest())
                    return
                name, row = _row(data)
            except ValueError as exc:
                raise self.broken(exc) from exc
            hashed.update(line)
            self.counts[name] += 1
            yield self.number, name, row

    def broken(self, why: object, number: int | None = None) -> ImportInvalid:
        """The error for a line, the one that was read last unless another is meant."""
        at = self.number if number is None else number
        return ImportInvalid(f"Line {at} of the file cannot be imported: {why}.", line=at)

    def _next(self) -> bytes:
        line = self.file.readline(lines.MOST_BYTES)
        self.number += 1
        if not line:
            raise self.broken("the file ends before its last line" if self.number > 1 else "the file is empty")
        return line

    def _check_end(self, data: dict[str, Any], sha256: str) -> None:
        end = data["end"] if isinstance(data["end"], dict) else {}
        said = end.get("rows")
        if not isinstance(said, dict) or {name: count for name, count in said.items() if count != "0"} != {
            name: str(count) for name, count in self.counts.items()
        }:
            raise ValueError("it says other numbers of rows than there are")
        if end.get("sha256") != sha256:
            raise ValueError("its hash is not that of the rows: a line was changed")
        if self.file.read(1):
            raise ValueError("it says that the file ends here, and more follows")


def _row(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if data.keys() != {"table", "row"} or not isinstance(data["table"], str) or not isinstance(data["row"], dict):
        raise ValueError("it is no row of a table")
    return data["table"], data["row"]


def _check_revision(revision: str) -> None:
    if revision not in known_revisions():
        raise SchemaNewer(f"The file has revision {revision}, which this program (revision {REVISION}) does not know.")


def _fill(conn: sa.Connection, reader: _Reader, header: lines.Header, write_id: str) -> int:
    found = revision_on(conn)
    if found is None:
        check_free(conn)
        upgrade_to(conn, header.revision)
    elif found != header.revision:
        raise Conflict(
            f"The database has tables of revision {found}; the file has revision {header.revision}.",
            next_step="Import into a database without tables.",
        )
    tables = _tables(conn)
    _check_empty(conn, tables)
    filling = _Filling(conn, reader, tables)
    for number, name, row in reader.rows():
        filling.add(number, name, row)
    filling.flush()
    _advance_sequences(conn, tables)
    if header.revision != REVISION:
        upgrade_to(conn, REVISION)
    marked = conn.execute(sa.update(table(InstallationRow)).values(is_copy=True))
    if reader.counts and marked.rowcount != 1:
        # Its secret makes the keys that reach providers: with a new one a payment asked for again would be made again.
        raise reader.broken("the installation's own row is missing")
    # Time does not run back behind what the rows have seen.
    conn.execute(sa.insert(table(WriteRow)).values(id=write_id, at=header.exported_at))
    return reader.counts.total()


def _tables(conn: sa.Connection) -> dict[str, sa.Table]:
    """The tables as they are in this database, whatever its revision."""
    found = sa.MetaData()
    found.reflect(conn, only=lambda name, _: not name.startswith("mock_"))
    return {name: one for name, one in found.tables.items() if name not in _MACHINERY}


def _check_empty(conn: sa.Connection, tables: dict[str, sa.Table]) -> None:
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("LOCK TABLE installation IN SHARE ROW EXCLUSIVE MODE")  # nobody begins to use it meanwhile
    filled = [name for name, one in sorted(tables.items()) if conn.execute(sa.select(1).select_from(one)).first()]
    if filled:
        raise Conflict(
            f"The database is not empty: there are rows in {', '.join(filled[:5])}.",
            next_step="Import into a new database: an import replaces and merges nothing.",
        )


class _Filling:
    """Rows on their way into the database, some of one table at a time."""

    def __init__(self, conn: sa.Connection, reader: _Reader, tables: dict[str, sa.Table]) -> None:
        self._conn = conn
        self._reader = reader
        self._tables = tables
        every = (column for one in models().tables.values() for column in one.c)
        self._moments = {(one.table.name, one.name) for one in every if isinstance(one.type, UtcTime)}
        self._name = ""
        self._rows: list[tuple[int, dict[str, object]]] = []

    def add(self, number: int, name: str, row: dict[str, Any]) -> None:
        """Take a row, and write those before it where they are of another table or enough."""
        if name != self._name or len(self._rows) >= _AT_A_TIME:
            self.flush()
        one = self._tables.get(name)
        if one is None:
            raise self._reader.broken(f"there is no table {name[:40]!a}")
        if row.keys() != set(one.c.keys()):
            odd = sorted(row.keys() ^ set(one.c.keys()))
            raise self._reader.broken(f"it has other columns than {name}: {', '.join(odd)[:200]!a}")
        self._name = name
        try:
            self._rows.append((number, {key: self._decoded(one.c[key], value) for key, value in row.items()}))
        except ValueError as exc:
            raise self._reader.broken(exc) from exc

    def _decoded(self, column: sa.Column[Any], value: object) -> object:
        if isinstance(value, str) and (column.table.name, column.name) in self._moments:
            return to_micros(lines.moment(value))  # the database would keep any number, and nobody could read it
        return lines.decoded(column, value)

    def flush(self) -> None:
        """Write what was taken. Where the database refuses it, find the line."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        statement = sa.insert(self._tables[self._name])
        try:
            with _savepoint(self._conn):
                self._conn.execute(statement, [row for _, row in rows])
        except (sa.exc.IntegrityError, sa.exc.DataError):
            self._find(statement, rows)
            raise

    def _find(self, statement: sa.Insert, rows: list[tuple[int, dict[str, object]]]) -> None:
        for number, row in rows:
            try:
                with _savepoint(self._conn):
                    self._conn.execute(statement, row)
            except (sa.exc.IntegrityError, sa.exc.DataError) as exc:
                why = f"it contradicts the rules of {self._name}, or another line"
                raise self._reader.broken(why, number) from exc


@contextmanager
def _savepoint(conn: sa.Connection) -> Iterator[None]:
    """Undo the block alone where the rows are refused. A full disk undoes all of it by itself: there is no way back."""
    conn.exec_driver_sql("SAVEPOINT rows")
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.DataError):
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT rows")
        raise
    conn.exec_driver_sql("RELEASE SAVEPOINT rows")


def _advance_sequences(conn: sa.Connection, tables: dict[str, sa.Table]) -> None:
    """Let PostgreSQL count on from the highest number; SQLite does by itself."""
    if conn.dialect.name != "postgresql":
        return
    for name, one in tables.items():
        for column in one.primary_key.columns:
            highest = sa.select(sa.func.max(column)).scalar_subquery()
            sequence = sa.func.pg_get_serial_sequence(name, column.name)
            if isinstance(column.type, sa.Integer) and conn.execute(sa.select(sequence)).scalar() is not None:
                conn.execute(sa.select(sa.func.setval(sequence, highest)))
