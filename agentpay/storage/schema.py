"""Opening a database: create it where it is empty, migrate it where it is older, refuse it where it is newer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from agentpay.errors import ConfigurationError, Conflict, SchemaNewer, SchemaOutdated
from agentpay.storage.faults import translated
from agentpay.storage.store import Store
from agentpay.storage.tables import InstallationRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table

REVISION: Final = "0006"
"""The revision that this program works with; a test holds it to the head of the migrations."""


VERSION_TABLE: Final = "agentpay_revision"
"""Where the revision stands: not in `alembic_version`, which may be the application's own."""

_VERSION: Final = sa.table(VERSION_TABLE, sa.column("version_num", sa.String))


@dataclass(frozen=True)
class Target:
    """Where `prepare` leads: a revision, and folders with migrations beside those of this package (for tests)."""

    revision: str = REVISION
    folders: tuple[Path, ...] = ()


_PACKAGED: Final = Target()

_INSTALLATION = table(InstallationRow)


def prepare(store: Store, *, upgrade: bool | None = None, target: Target = _PACKAGED) -> None:
    """Bring the database to the revision of this program.

    An empty database is created, under a lock. An older one is migrated at once on SQLite; on PostgreSQL only where
    `upgrade` is true, because other machines may still run the earlier program.

    Raises:
        SchemaOutdated: PostgreSQL, and the database is older.
        SchemaNewer: the database is of a later program.
        Conflict: it has no revision, and tables of the same names, which are somebody else's.
        StorageError: the database does not answer.
    """
    try:
        if _revision(store) == target.revision:
            return
        with store.backend.creating() as conn:
            found = revision_on(conn)
            if found is not None and found != target.revision:
                _check_known(found, target)
                if store.dialect == "postgresql" and not upgrade:
                    raise SchemaOutdated(f"The database has revision {found}; this program needs {target.revision}.")
            if found != target.revision:
                from agentpay.storage.migrate import upgrade_to_head

                if found is None:
                    check_free(conn)
                upgrade_to_head(conn, target.folders)
    except sa.exc.SQLAlchemyError as exc:
        raise translated(exc) from exc


def install(store: Store, *, mode: str) -> InstallationRow:
    """The installation's own row: made once, then read. The mode of a database never changes.

    Raises:
        ConfigurationError: MODE_MISMATCH, the database belongs to the other mode.
    """
    found = store.read(_installed)
    if found is None:
        found = store.write(lambda tx: _install(tx, store, mode))
    if found.mode != mode:
        from agentpay.errors import ModeMismatch

        raise ModeMismatch(f"The database holds {found.mode} payments; this program was started for {mode} ones.")
    return found


def _installed(tx: Tx) -> InstallationRow | None:
    row = tx.first(sa.select(_INSTALLATION))
    return None if row is None else InstallationRow(**row._mapping)


def _install(tx: Tx, store: Store, mode: str) -> InstallationRow:
    now = tx.now()
    tx.insert_new(InstallationRow, one=1, id=store.ids.new("ins"), secret=store.ids.secret(), mode=mode, created_at=now)
    row = _installed(tx)
    if row is None:
        raise ConfigurationError("The database does not keep what is written to it.")
    return row


def known_revision(store: Store) -> str | None:
    """The revision of a database as it is; None where it has none of our tables. Nothing is made or migrated.

    Raises:
        SchemaNewer: the database is of a later program.
        StorageError: the database does not answer.
    """
    try:
        found = _revision(store)
    except sa.exc.SQLAlchemyError as exc:
        raise translated(exc) from exc
    if found is not None and found != REVISION:
        _check_known(found, _PACKAGED)
    return found


def _revision(store: Store) -> str | None:
    with store.engine.connect() as conn:
        return revision_on(conn)


def revision_on(conn: sa.Connection) -> str | None:
    """The revision of a database; None where it has none of our tables."""
    if not sa.inspect(conn).has_table(VERSION_TABLE):
        return None
    found: str | None = conn.execute(sa.select(_VERSION.c.version_num)).scalar()
    return found


def check_free(conn: sa.Connection) -> None:
    """Refuse to make our tables where others of the same names are.

    Raises:
        Conflict: the database is in use by something else.
    """
    from agentpay.storage.metadata import models

    taken = sorted(models().tables.keys() & set(sa.inspect(conn).get_table_names()))
    if taken:
        raise Conflict(
            f"The database has tables of our names, and no revision of ours: {', '.join(taken[:5])}.",
            next_step="Give AgentPay a database of its own, or a schema of its own: …?options=-csearch_path%3Dagentpay",
        )


def _check_known(revision: str, target: Target) -> None:
    from agentpay.storage.migrate import known_revisions

    if revision not in known_revisions(target.folders):
        raise SchemaNewer(
            f"The database has revision {revision}, which this program (revision {target.revision}) does not know."
        )
