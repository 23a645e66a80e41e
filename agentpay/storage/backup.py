"""A copy of a SQLite database that is in use, by SQLite's own backup: whole, of one moment, and marked as a copy."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from agentpay.errors import ConfigurationError, StorageCorrupt
from agentpay.storage.faults import translated
from agentpay.storage.files import new_file
from agentpay.storage.store import Store


def back_up(store: Store, path: Path) -> None:
    """Copy the database to a new file. Whoever opens the copy begins a new epoch; see `agentpay.manager.epochs`.

    Raises:
        ConfigurationError: not SQLite, or the file is there already or cannot be made.
        StorageError: the database, or the disk, did not do it; no file is left.
    """
    if store.dialect != "sqlite":
        raise ConfigurationError(
            "This copies SQLite databases.",
            next_step="For PostgreSQL use pg_dump, or agentpay db export, which holds the same in a readable form.",
        )
    with new_file(path) as part:
        try:
            with closing(sqlite3.connect(str(store.engine.url.database))) as source, closing(_opened(part)) as copy:
                source.backup(copy)
                copy.execute("UPDATE installation SET is_copy = 1")
                if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
                    raise StorageCorrupt("The copy is damaged, and so is the database.")
        except sqlite3.Error as exc:
            raise translated(sa.exc.OperationalError("backup", None, exc)) from exc


def _opened(part: Path) -> sqlite3.Connection:
    made = sqlite3.connect(part, isolation_level=None)
    made.execute("PRAGMA synchronous=FULL")
    return made
