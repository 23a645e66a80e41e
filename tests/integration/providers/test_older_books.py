"""Books that an earlier program made get the table that they lack."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from agentpay.providers.mock_store import DISPUTES, METADATA, MOVEMENTS, BooksStore


def test_older_books_get_the_table_of_disputes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'books.db'}"
    engine = sa.create_engine(url)
    METADATA.create_all(engine, tables=[table for table in METADATA.sorted_tables if table is not DISPUTES])
    engine.dispose()
    store = BooksStore(url)
    with store.reading() as conn:
        assert conn.execute(sa.select(DISPUTES)).all() == conn.execute(sa.select(MOVEMENTS)).all() == []
    store.close()
