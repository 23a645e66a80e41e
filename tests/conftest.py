"""Fixtures that all tests share.

`database` (SQLite and PostgreSQL: each test that uses it runs twice) is the URL of a fresh database with our schema;
`store` an opened `Store` on it, with the installation made, whose invariants are checked after the test; `clock` stands
still at 2026-01-31T10:00Z; `ids` are random; `run_processes` runs jobs in processes that were started once.
Where PostgreSQL cannot be run, its half is skipped, the summary says so, and with CI=true the run fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from agentpay.clock import Clock, FixedClock
from agentpay.ids import Ids, RandomIds
from agentpay.storage import Store
from agentpay.storage.schema import install
from support import compiled
from support.databases import Databases
from support.folders import quick_folder
from support.invariants import check_invariants
from support.parallel import Processes
from support.postgres import NOT_TESTED, Postgres, PostgresUnavailable, remove_folder, shared_folder

OpenStore = Callable[..., Store]

START = datetime(2026, 1, 31, 10, tzinfo=UTC)

compiled.share()


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Makes fresh databases; for tests that need several, or an empty one."""
    started: list[Postgres] = []
    folder = shared_folder(os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid()))

    @cache
    def start() -> Postgres | PostgresUnavailable:
        try:
            started.append(Postgres(folder))
        except PostgresUnavailable as exc:
            return exc
        return started[0]

    def postgres() -> Postgres:
        found = start()
        if isinstance(found, PostgresUnavailable):
            pytest.skip(f"{NOT_TESTED}: {found}")
        return found

    with TemporaryDirectory(prefix="agentpay-sqlite-", dir=quick_folder()) as files:
        yield Databases(Path(files), postgres)
    for server in started:
        server.close()
    remove_folder(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn."""
    return str(request.param)


@pytest.fixture
def database(databases: Databases, dialect: Any) -> Iterator[str]:
    """The URL of a fresh database with our schema and no row."""
    url = databases.create(dialect)
    yield url
    databases.drop(url)


@pytest.fixture
def empty_database(databases: Databases, dialect: Any) -> Iterator[str]:
    """The URL of a database without any table; on SQLite there is no file yet."""
    url = databases.create(dialect, empty=True)
    yield url
    databases.drop(url)


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands at 2026-01-31T10:00Z until the test moves it."""
    return FixedClock(START)


@pytest.fixture
def ids() -> Ids:
    """Random identifiers."""
    return RandomIds()


@pytest.fixture
def open_store(database: str, clock: Clock, ids: Ids) -> Iterator[OpenStore]:
    """Opens further stores on the database of the test, closed after it: `open_store(clock=…, lock_timeout=…)`."""
    opened: list[Store] = []

    def open_one(url: str | None = None, **options: Any) -> Store:
        opened.append(Store(url or database, **{"clock": clock, "ids": ids, **options}))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore, request: pytest.FixtureRequest) -> Iterator[Store]:
    """An opened store on a fresh database, the installation made; after the test its invariants are checked, unless it
    is marked `breaks_invariants`."""
    made = open_store()
    install(made, mode="test")
    yield made
    if request.node.get_closest_marker("breaks_invariants") is None:
        check_invariants(made)


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """The worker processes, started when the first job needs them."""
    made = Processes()
    yield made
    made.close()


@pytest.fixture
def run_processes(processes: Processes) -> Callable[..., list[Any]]:
    """`run_processes(n, "module:function", args)`: see `support.parallel.Processes.run`."""
    return processes.run


def _not_tested(config: pytest.Config) -> list[str]:
    """Why PostgreSQL was not tested; empty where it was, or where no test asked."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    texts = {report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)}
    return sorted(text.partition("Skipped: ")[2] or text for text in texts if NOT_TESTED in text)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a run without PostgreSQL is a failed run."""
    if session.exitstatus == 0 and os.environ.get("CI", "").lower() in ("1", "true") and _not_tested(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say that PostgreSQL was not tested, and why."""
    for reason in _not_tested(config):
        terminalreporter.write_line(reason, red=True, bold=True)
