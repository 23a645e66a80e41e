"""The three ways to say where everything rests; each is a URL in the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from agentpay.errors import ConfigurationError


class Storage(Protocol):
    """Anything that has the URL of a database."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class MemoryStorage:
    """A private temporary SQLite file, gone when the manager is closed. Refused in live mode."""

    @property
    def url(self) -> str:
        return "memory://"


@dataclass(frozen=True)
class FileStorage:
    """`agentpay.db` in a folder, which is made where it is missing."""

    directory: str | Path

    @property
    def url(self) -> str:
        folder = Path(self.directory).absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigurationError(f"The folder {folder} cannot be made: {exc.strerror}.") from exc
        return sa.URL.create("sqlite", database=str(folder / "agentpay.db")).render_as_string()


@dataclass(frozen=True)
class DatabaseStorage:
    """A database by its URL: `sqlite:///file` or `postgresql://…`."""

    url: str


def storage_url(storage: str | Storage) -> str:
    """The URL that a storage argument names."""
    return storage if isinstance(storage, str) else storage.url
