"""Fresh databases, fast: a copied file on SQLite, a copied template on PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from agentpay.storage import Store
from agentpay.storage.schema import prepare
from support.postgres import Postgres

Dialect = Literal["sqlite", "postgresql"]


class Databases:
    """Makes databases for the tests of one process, and removes them. PostgreSQL is started when the first one asks."""

    def __init__(self, folder: Path, postgres: Callable[[], Postgres]) -> None:
        self._folder = folder
        self._postgres = postgres
        self._numbers = itertools.count(1)
        self._template = folder / "template.db"

    def create(self, dialect: Dialect, *, empty: bool = False) -> str:
        """The URL of a fresh database with our schema and no row, or of an empty one (on SQLite: no file yet)."""
        if dialect == "postgresql":
            return self._postgres().create("template0") if empty else self._postgres().create()
        path = self._folder / f"{next(self._numbers)}.db"
        if not empty:
            shutil.copyfile(self._prepared_template(), path)
        return f"sqlite:///{path}"

    def drop(self, url: str) -> None:
        """Remove a database that `create` made."""
        if url.startswith("postgresql"):
            self._postgres().drop(url)
            return
        path = Path(url.removeprefix("sqlite:///"))
        for found in path.parent.glob(f"{path.name}*"):
            found.unlink()

    def _prepared_template(self) -> Path:
        if not self._template.exists():
            made = self._template.with_suffix(".new")
            store = Store(f"sqlite:///{made}")
            prepare(store)
            store.close()
            made.rename(self._template)
        return self._template
