"""Exporting a database: every row of it, of one moment, as lines (see `lines`). It is the readable form of a database,
for people, for moving between SQLite and PostgreSQL, and for keeping.

An export holds everything, secrets included: keep it as safe as the database itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import sqlalchemy as sa

from agentpay.errors import StorageBusy
from agentpay.storage import lines
from agentpay.storage.metadata import models
from agentpay.storage.schema import REVISION
from agentpay.storage.store import Store
from agentpay.storage.tables import InstallationRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table

_INSTALLATION: Final = table(InstallationRow)
_AT_A_TIME: Final = 200


class Sink(Protocol):
    """Where the lines go."""

    def write(self, line: bytes, /) -> object: ...


@dataclass(frozen=True)
class Exported:
    """What was written: how many rows, and the hash over their lines."""

    rows: int
    sha256: str


def export_to(store: Store, sink: Sink) -> Exported:
    """Write every row to `sink`, of one snapshot, a few at a time. The database must have this program's revision.

    Raises:
        StorageError: the database does not answer. What was written by then is no whole export.
    """
    begun: list[bool] = []

    def read(tx: Tx) -> Exported:
        if begun:
            raise StorageBusy("The connection was lost in the middle of the export.", next_step="Export again.")
        begun.append(True)
        return _written(tx, sink)

    return store.read(read)


def exported_tables() -> list[sa.Table]:
    """The tables whose rows are exported, each behind those that it refers to."""
    return [one for one in models().sorted_tables if one.info.get("exported", True)]


def _written(tx: Tx, sink: Sink) -> Exported:
    sink.write(lines.Header(REVISION, _installation(tx), tx.dialect, tx.now()).line())
    hashed, counts = hashlib.sha256(), {}
    for one in exported_tables():
        count = 0
        for line in _lines_of(tx, one):
            hashed.update(line)
            sink.write(line)
            count += 1
        counts[one.name] = count
    sink.write(lines.end_line(counts, hashed.hexdigest()))
    return Exported(sum(counts.values()), hashed.hexdigest())


def _lines_of(tx: Tx, one: sa.Table) -> Iterator[bytes]:
    columns: list[tuple[str, Callable[[Any], object]]] = [(column.name, lines.encoder(column)) for column in one.c]
    query = sa.select(one).order_by(*(_bytewise(tx, column) for column in one.primary_key.columns))
    for row in tx.execute(query.execution_options(yield_per=_AT_A_TIME)):
        values = {name: None if (value := getattr(row, name)) is None else code(value) for name, code in columns}
        if one is _INSTALLATION:
            values["is_copy"] = True  # what is made of this file is a copy
        yield lines.row_line(one.name, values)


def _bytewise(tx: Tx, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """The same order on both databases, whatever the collation."""
    is_text = isinstance(column.type, sa.String) and tx.dialect == "postgresql"
    return sa.collate(column, "C") if is_text else column


def _installation(tx: Tx) -> str:
    row: Row | None = tx.first(sa.select(_INSTALLATION.c.id))
    return "" if row is None else str(row.id)
