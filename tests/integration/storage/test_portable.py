"""Exports and imports: lossless between SQLite and PostgreSQL, and all or nothing."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.doctor.checks import examine
from agentpay.errors import ConfigurationError, Conflict, ImportInvalid, SchemaNewer, StorageFull
from agentpay.manager import PaymentManager
from agentpay.storage import Store, importing
from agentpay.storage.exporting import export_to, exported_tables
from agentpay.storage.importing import import_from
from agentpay.storage.lines import end_line
from agentpay.storage.metadata import models
from agentpay.storage.schema import REVISION, VERSION_TABLE, install, prepare
from agentpay.storage.texts import keep, text_of
from conftest import START
from integration.doctor.story import Story
from support.databases import Databases

HISTORY = Path(__file__).parent / "revisions" / "0001.jsonl"
OTHER = {"sqlite": "postgresql", "postgresql": "sqlite"}

Made = Callable[[Any], Store]


@pytest.fixture
def empty(databases: Databases, clock: FixedClock) -> Iterator[Made]:
    """Makes stores on databases without a table: `empty("sqlite")`."""
    made: list[tuple[Store, str]] = []

    def make(dialect: Any) -> Store:
        url = databases.create(dialect, empty=True)
        made.append((Store(url, clock=clock), url))
        return made[-1][0]

    yield make
    for store, url in made:
        store.close()
        databases.drop(url)


@pytest.fixture(scope="module")
def told(databases: Databases) -> Iterator[Any]:
    """`told(dialect)`: the export of an installation with a long history on that database; made once."""
    made: dict[str, bytes] = {}

    def of(dialect: Any) -> bytes:
        if dialect not in made:
            url = databases.create(dialect)
            story = Story(url, FixedClock(START)).tell()
            made[dialect] = exported(story.manager._engine.store)
            story.manager.close()
            databases.drop(url)
        return made[dialect]

    yield of


def exported(store: Store) -> bytes:
    sink = io.BytesIO()
    export_to(store, sink)
    return sink.getvalue()


def without_header(export: bytes) -> bytes:
    return export.partition(b"\n")[2]


@pytest.mark.parametrize("same", [True, False], ids=["the same kind", "the other kind"])
def test_an_import_exported_again_is_the_same(told: Any, empty: Made, dialect: Any, same: bool, tmp_path: Path) -> None:
    export = told(dialect)
    (tmp_path / "e.jsonl").write_bytes(export)
    target = empty(dialect if same else OTHER[dialect])
    done = import_from(target, tmp_path / "e.jsonl")
    assert (done.rows, done.header.dialect, done.header.revision) == (export.count(b"\n") - 2, dialect, REVISION)
    assert without_header(exported(target)) == without_header(export)


@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
def test_what_was_imported_is_sound_and_goes_on(
    told: Any, empty: Made, dialect: Any, source: Any, tmp_path: Path
) -> None:
    (tmp_path / "e.jsonl").write_bytes(told(source))
    target = empty(dialect)
    header = import_from(target, tmp_path / "e.jsonl").header
    with PaymentManager(
        target.database_url, provider="mock", policy=False, clock=FixedClock(header.exported_at)
    ) as manager:
        assert manager.doctor().breaches == ()
        made = manager.charge("alice", "5.00", "USD", idempotency_key="after the import")  # numbers count on
        assert manager.charge("alice", "40.00", "USD", idempotency_key="key-1").replayed
        assert made.status == "succeeded"
        assert manager.doctor().breaches == ()


def test_an_export_of_an_earlier_program_is_imported(empty: Made, dialect: Any) -> None:
    target = empty(dialect)
    assert import_from(target, HISTORY).header.revision == "0001"
    prepare(target)  # it has the revision of this program: nothing is left to do
    assert examine(target).breaches == ()
    assert b'"is_copy":true' in exported(target)


def test_a_database_that_was_made_and_not_used_is_empty_enough(
    empty: Made, dialect: Any, told: Any, tmp_path: Path
) -> None:
    (tmp_path / "e.jsonl").write_bytes(told("sqlite"))
    target = empty(dialect)
    prepare(target)
    import_from(target, tmp_path / "e.jsonl")


def test_a_database_in_use_is_not_imported_into(empty: Made, dialect: Any, told: Any, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_bytes(told("sqlite"))
    target = empty(dialect)
    prepare(target)
    install(target, mode="test")
    before = exported(target)
    with pytest.raises(Conflict, match="not empty: there are rows in installation"):
        import_from(target, tmp_path / "e.jsonl")
    with pytest.raises(Conflict, match=f"of revision {REVISION}; the file has revision 0001"):
        import_from(target, HISTORY)
    assert without_header(exported(target)) == without_header(before)


def _line(export: bytes, start: bytes) -> int:
    return next(number for number, line in enumerate(export.split(b"\n")) if line.startswith(start))


def _edited(number: int, edit: Callable[[Any], object]) -> Callable[[list[bytes]], list[bytes]]:
    def change(found: list[bytes]) -> list[bytes]:
        data = json.loads(found[number])
        edit(data)
        return [*found[:number], json.dumps(data).encode() + b"\n", *found[number + 1 :]]

    return change


def _sealed(found: list[bytes]) -> list[bytes]:
    """The lines with a last one that fits them: whoever edits a file can do that too."""
    counts = Counter(str(json.loads(line)["table"]) for line in found[1:-1])
    return [*found[:-1], end_line(counts, hashlib.sha256(b"".join(found[1:-1])).hexdigest())]


BROKEN: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "empty": (lambda _: [], "Line 1 .*empty"),
    "another file": (lambda _: [b"Dear diary,\n"], "Line 1 "),
    "a later format": (_edited(0, lambda data: data.update(format=2)), "Line 1 .*format"),
    "no JSON": (lambda found: [*found[:5], b"{oops\n", *found[6:]], "Line 6 "),
    "cut off in a line": (lambda found: [*found[:5], found[5][:20]], "Line 6 .*cut off"),
    "cut off between lines": (lambda found: found[:6], "Line 7 .*ends before its last line"),
    "without its end": (lambda found: found[:-1], "ends before its last line"),
    "an unknown table": (_edited(4, lambda data: data.update(table="users")), "Line 5 .*no table 'users'"),
    "a table of ours that is none of its": (
        _edited(4, lambda data: data.update(table="agentpay_revision")),
        "Line 5 .*no table",
    ),
    "a column more": (_edited(4, lambda data: data["row"].update(x="1")), "Line 5 .*other columns"),
    "a column less": (_edited(4, lambda data: data["row"].pop("id")), "Line 5 .*other columns"),
    "a number as a number": (_edited(1, lambda data: data["row"].update(number=1)), "Line 2 .*number cannot be 1"),
    "nothing where something must be": (_edited(1, lambda data: data["row"].update(digest=None)), "Line 2 .*approvals"),
    "a row twice": (lambda found: [*found[:3], found[2], *found[3:]], "Line 4 .*contradicts"),
    "a row missing": (lambda found: [*found[:3], *found[4:]], "other numbers of rows|contradicts"),
    "a row changed": (_edited(1, lambda data: data["row"].update(payee="paypal:eve")), "hash is not that"),
    "a number for a moment": (
        _edited(1, lambda data: data["row"].update(created_at="9223372036854775807")),
        "Line 2 .*is no moment",
    ),
    "without its installation": (
        lambda found: _sealed([line for line in found if not line.startswith(b'{"table":"installation"')]),
        "the installation's own row is missing",
    ),
    "more behind the end": (lambda found: [*found, b"\n"], "more follows"),
}


SEEN_BY_THE_DATABASE = (
    "a row twice",
    "nothing where something must be",
    "a row changed",
    "without its installation",
)


@pytest.mark.parametrize(
    ("dialect", "broken"),
    [*(("sqlite", name) for name in BROKEN), *(("postgresql", name) for name in SEEN_BY_THE_DATABASE)],
)
def test_a_broken_file_imports_nothing_and_names_the_line(
    told: Any, empty: Made, dialect: Any, tmp_path: Path, broken: str
) -> None:
    change, message = BROKEN[broken]
    (tmp_path / "e.jsonl").write_bytes(b"".join(change(told("sqlite").splitlines(keepends=True))))
    target = empty(dialect)
    with pytest.raises(ImportInvalid, match=message) as caught:
        import_from(target, tmp_path / "e.jsonl")
    assert caught.value.line >= 1
    assert caught.value.next_step
    assert sa.inspect(target.engine).get_table_names() == []


def test_a_file_of_a_later_program_is_refused(told: Any, empty: Made, dialect: Any, tmp_path: Path) -> None:
    found = told("sqlite").splitlines(keepends=True)
    changed = _edited(0, lambda data: data.update(revision="9999"))(found)
    (tmp_path / "e.jsonl").write_bytes(b"".join(changed))
    with pytest.raises(SchemaNewer, match="9999"):
        import_from(empty(dialect), tmp_path / "e.jsonl")


def test_a_file_that_cannot_be_read(empty: Made, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            import_from(empty("sqlite"), path)


def test_a_full_disk_imports_nothing_and_the_next_try_works(empty: Made, told: Any, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_bytes(told("sqlite"))
    target = empty("sqlite")
    full = True
    sa.event.listen(
        target.engine, "connect", lambda conn, _: conn.execute(f"PRAGMA max_page_count={130 if full else 100_000}")
    )
    with pytest.raises(StorageFull):
        import_from(target, tmp_path / "e.jsonl")
    full = False
    target.engine.dispose()
    assert sa.inspect(target.engine).get_table_names() == []
    target.engine.dispose()
    import_from(target, tmp_path / "e.jsonl")


def test_an_export_is_of_one_moment(store: Store, open_store: Any) -> None:
    """What is committed while it is written is not in it."""
    store.write(lambda tx: keep(tx, "pay_1", "description", "before"))
    other, sink = open_store(), _Interrupted(lambda: other.write(lambda tx: keep(tx, "pay_2", "description", "during")))
    export_to(store, sink)
    assert sink.text.count("before") == 1 and "during" not in sink.text
    assert store.read(lambda tx: text_of(tx, "pay_2", "description")) == "during"


class _Interrupted:
    """A sink that does something once, after the first line."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.text = ""
        self._act: Callable[[], object] | None = act

    def write(self, line: bytes) -> None:
        self.text += line.decode()
        act, self._act = self._act, None
        if act is not None:
            act()


def test_rows_pass_through_and_are_not_gathered(store: Store, empty: Made, tmp_path: Path) -> None:
    """Memory does not grow with the database: 10 MB of texts pass through a fraction of that."""
    made = sa.text("INSERT INTO texts (owner_id, kind, body) VALUES (:id, 'description', :body)")
    many = [{"id": f"pay_{number}", "body": "x" * 4000} for number in range(2500)]
    store.write(lambda tx: tx.execute(made, many))
    target = empty(store.dialect)
    tracemalloc.start()
    try:
        with (tmp_path / "e.jsonl").open("wb") as sink:
            export_to(store, sink)
        import_from(target, tmp_path / "e.jsonl")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "e.jsonl").stat().st_size > 10_000_000
    assert peak < 6_000_000


def test_what_is_not_exported_is_not_imported_either() -> None:
    left_out = {one.name for one in models().sorted_tables} - {one.name for one in exported_tables()}
    assert left_out | {VERSION_TABLE} == importing._MACHINERY
