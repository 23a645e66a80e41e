"""The URLs of databases: the three storages, what is refused, and names with odd characters."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa

from agentpay.errors import ConfigurationError
from agentpay.providers.mock_store import books_beside
from agentpay.storage import DatabaseStorage, FileStorage, MemoryStorage, storage_url
from agentpay.storage.backends import PostgresBackend, SqliteBackend, _options, backend_for


def test_the_three_storages() -> None:
    assert storage_url(MemoryStorage()) == "memory://"
    assert storage_url(DatabaseStorage("postgresql://h/d")) == storage_url("postgresql://h/d") == "postgresql://h/d"


@pytest.mark.parametrize("name", ["plain", "with space", "a?b", "100%", "a#b", "ü"])
def test_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    url = storage_url(FileStorage(tmp_path / name))
    backend = backend_for(url, clock=None, lock_timeout=1)
    assert isinstance(backend, SqliteBackend)
    assert backend.path == tmp_path / name / "agentpay.db"
    assert backend.engine.url.database == str(backend.path)
    assert (tmp_path / name).is_dir()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be made"):
        storage_url(FileStorage(tmp_path / "file" / "folder"))


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://h/d", "sqlite://", "sqlite:///:memory:", "sqlite:///a.db?mode=ro", "memory:///x"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        backend_for(url, clock=None, lock_timeout=1)


@pytest.mark.parametrize("url", ["mysql://me:hunter2@h/d", "postgresql://me:hunter2/d"])
def test_a_refused_url_is_not_repeated_since_it_may_hold_a_password(url: str) -> None:
    """Where the host is forgotten, the password stands where a port would."""
    for refuse in (lambda: backend_for(url, clock=None, lock_timeout=1), lambda: books_beside(url)):
        with pytest.raises(ConfigurationError) as caught:
            refuse()
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_postgresql_means_psycopg_3() -> None:
    for url in ("postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h/d"):
        backend = backend_for(url, clock=None, lock_timeout=1)
        assert isinstance(backend, PostgresBackend)
        assert backend.engine.url.drivername == "postgresql+psycopg"


def test_the_options_of_a_url_are_kept() -> None:
    assert _options(sa.make_url("postgresql://h/d"), 1.5) == "-c lock_timeout=1500"
    url = sa.make_url("postgresql://h/d?options=-csearch_path%3Dours")
    assert _options(url, 1.5) == "-csearch_path=ours -c lock_timeout=1500"
