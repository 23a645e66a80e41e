"""A copy of a SQLite database that is in use, by SQLite's own backup: whole, of one moment, and marked as a copy."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from agentpay.errors import ConfigurationError, SchemaOutdated, StorageCorrupt
from agentpay.storage.faults import translated
from agentpay.storage.files import new_file
from agentpay.storage.schema import known_revision
from agentpay.storage.store import Store

_OTHER: Final = "Name the right database with --database-url."


def back_up(store: Store, path: Path) -> None:
    """Copy the database to a new file. Whoever opens the copy begins a new epoch; see `agentpay.manager.epochs`.

    An older database is copied as it is: the backup that is made before an upgrade can be gone back to.

    Raises:
        ConfigurationError: not SQLite, or the file is there already or cannot be made; or there is nothing in it.
        SchemaNewer: the database is of a later program.
        SchemaOutdated: it is so old that a copy cannot be marked.
        StorageError: the database, or the disk, did not do it; no file is left.
    """
    if store.dialect != "sqlite":
        raise ConfigurationError(
            "This copies SQLite databases.",
            next_step="For PostgreSQL use pg_dump, or agentpay db export, which holds the same in a readable form.",
        )
    with new_file(path) as part:
        revision = known_revision(store)
        if revision is None:
            raise ConfigurationError("The database is empty: there is nothing to copy.", next_step=_OTHER)
        try:
            with closing(sqlite3.connect(str(store.engine.url.database))) as source, closing(_opened(part)) as copy:
                source.backup(copy)
                _mark(copy, revision)
                if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
                    raise StorageCorrupt("The copy is damaged, and so is the database.")
        except sqlite3.Error as exc:
            raise translated(sa.exc.OperationalError("backup", None, exc)) from exc


def _mark(copy: sqlite3.Connection, revision: str) -> None:
    if not any(column[1] == "is_copy" for column in copy.execute("PRAGMA table_info(installation)")):
        raise SchemaOutdated(
            f"A copy of revision {revision} cannot be marked as one.",
            next_step="Stop every program on it and copy the file with cp; after a restore run: agentpay db restored",
        )
    copy.execute("UPDATE installation SET is_copy = 1")


def _opened(part: Path) -> sqlite3.Connection:
    made = sqlite3.connect(part, isolation_level=None)
    made.execute("PRAGMA synchronous=FULL")
    return made
