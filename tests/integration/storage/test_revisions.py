"""Migrations on data: a database of every earlier revision, filled, is brought to this one, and nothing is lost.

`revisions/0001.jsonl` is the export of an installation with a long history, as it was then. Each later migration adds a
file of its own, `revisions/<revision>.jsonl`, with rows for the tables that it makes: a test fails where it is missing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from agentpay.clock import FixedClock
from agentpay.doctor.checks import examine
from agentpay.manager import PaymentManager
from agentpay.storage import Store, lines
from agentpay.storage.migrate import config, upgrade_to
from agentpay.storage.schema import REVISION, VERSION_TABLE, prepare, revision_on
from integration.storage.schemas import schema_of

FOLDER = Path(__file__).parent / "revisions"
REVISIONS = [one.revision for one in ScriptDirectory.from_config(config()).walk_revisions()][::-1]

Rows = dict[str, list[dict[str, Any]]]


def rows_of(revision: str) -> Rows:
    """The rows that a revision's file has, by table."""
    found: Rows = defaultdict(list)
    for line in (FOLDER / f"{revision}.jsonl").read_bytes().splitlines(keepends=True):
        data = lines.parsed(line)
        if "table" in data:
            found[data["table"]].append(data["row"])
    return found


def fill(store: Store, revision: str) -> None:
    """Bring a database to a revision as its program made it: each migration on the way finds rows in every table."""
    with store.backend.creating() as conn:
        for step in REVISIONS[: REVISIONS.index(revision) + 1]:
            upgrade_to(conn, step)
            there = sa.MetaData()
            there.reflect(conn)
            for name, rows in rows_of(step).items():
                one = there.tables[name]
                values = [{key: lines.decoded(one.c[key], value) for key, value in row.items()} for row in rows]
                conn.execute(sa.insert(one), values)


@pytest.fixture
def empty_store(empty_database: str, clock: FixedClock) -> Iterator[Store]:
    store = Store(empty_database, clock=clock)
    yield store
    store.close()


def test_the_first_revision_and_each_later_one_has_its_rows() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.jsonl")) == sorted(REVISIONS)


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_table_of_a_revision_is_filled(empty_store: Store, revision: str) -> None:
    fill(empty_store, revision)
    with empty_store.engine.connect() as conn:
        names = set(sa.inspect(conn).get_table_names()) - {VERSION_TABLE, "writes"}
        counts = {name: conn.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar() for name in names}
    assert [name for name, count in sorted(counts.items()) if not count] == []


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_database_of_an_earlier_revision_is_migrated_with_its_rows(
    empty_store: Store, databases: Any, dialect: Any, revision: str, clock: FixedClock
) -> None:
    fill(empty_store, revision)
    before = _contents(empty_store)
    prepare(empty_store, upgrade=True)
    with empty_store.engine.connect() as conn:
        assert revision_on(conn) == REVISION
    after = _contents(empty_store)
    for name, rows in before.items():
        kept = [{key: value for key, value in row.items() if key in rows[0]} for row in after[name]] if rows else []
        assert _sorted(kept) == _sorted(rows), name
    assert examine(empty_store).breaches == ()
    _same_schema_as_a_new_one(empty_store, databases, dialect)
    _goes_on(empty_store, clock)


def _goes_on(store: Store, clock: FixedClock) -> None:
    """The program of today works on it: append-only triggers stand, numbers count on, an old key is still known."""
    clock.set(lines.moment("2026-03-05T00:00:00.000000Z"))
    _advance(store)
    with PaymentManager(store.database_url, provider="mock", policy=False, clock=clock) as manager:
        made = manager.charge("alice", "5.00", "USD", idempotency_key="after the migration")
        again = manager.charge("alice", "40.00", "USD", idempotency_key="key-1")
        assert (made.status, made.replayed, again.replayed) == ("succeeded", False, True)
    assert examine(store).breaches == ()
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), store.engine.begin() as conn:
        conn.execute(sa.text("UPDATE audit_log SET action = 'forged'"))


def _advance(store: Store) -> None:
    """The rows came with their numbers, as a restore by hand has them."""
    if store.dialect == "postgresql":
        with store.engine.begin() as conn:
            for name in ("audit_log", "ledger_entries", "outbox", "holds", "decisions"):
                conn.execute(
                    sa.text(f"SELECT setval(pg_get_serial_sequence('{name}', 'seq'), (SELECT max(seq) FROM {name}))")
                )


def _same_schema_as_a_new_one(store: Store, databases: Any, dialect: Any) -> None:
    url = databases.create(dialect)
    fresh = Store(url)
    assert schema_of(store) == schema_of(fresh)
    fresh.close()
    databases.drop(url)


def _contents(store: Store) -> Rows:
    with store.engine.connect() as conn:
        there = sa.MetaData()
        there.reflect(conn)
        return {
            name: [dict(row._mapping) for row in conn.execute(sa.select(one))]
            for name, one in there.tables.items()
            if name != VERSION_TABLE
        }


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)
