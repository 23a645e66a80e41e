"""Statements are compiled once for all the engines of a test run, not once for each database.

SQLAlchemy keeps what it compiled per engine, and nearly every test has an engine of its own: compiling was a third of
what such a test took.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import LRUCache

_MOST = 2000


class SharedCache(MutableMapping[Any, Any]):
    """The cache of every engine of one kind of database. SQLAlchemy's key begins with the engine's own dialect."""

    def __init__(self) -> None:
        self._kept: LRUCache[Any, Any] = LRUCache(_MOST)

    def __getitem__(self, key: tuple[Any, ...]) -> Any:
        return self._kept[self._of_any(key)]

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        self._kept[self._of_any(key)] = compiled

    def __delitem__(self, key: tuple[Any, ...]) -> None:
        del self._kept[self._of_any(key)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    @staticmethod
    def _of_any(key: tuple[Any, ...]) -> tuple[Any, ...]:
        return (type(key[0]), *key[1:])


_CACHE = SharedCache()


def _use(conn: sa.Connection) -> None:
    conn.execution_options(compiled_cache=_CACHE)


def share() -> None:
    """From now on every connection of this process uses one cache. To say so again changes nothing."""
    sa.event.listen(sa.Engine, "engine_connect", _use)
