"""Workers: each job in one place at a time, at its rhythm, whatever jobs and processes come to."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.manager.operations import Desk
from agentpay.storage import Store
from agentpay.storage.backends import Backend, backend_for
from agentpay.storage.schema import install
from agentpay.worker.jobs import Did, Job, Turn
from agentpay.worker.service import Ran, Worker, after
from conftest import OpenStore
from support.faulty import FaultyBackend
from support.parallel import values

SECOND = timedelta(seconds=1)


class Engine:
    """As much of an engine as jobs of these tests need."""

    def __init__(self, store: Store) -> None:
        self.store = store


class Unheld(FaultyBackend):
    """A naive backend, which lets everybody hold everything."""

    @contextmanager
    def holding(self, name: str) -> Iterator[Callable[[], bool] | None]:
        yield lambda: True


def worker(store: Store, *jobs: Job, **more: Any) -> Worker:
    return Worker(Engine(store), jobs, **more)  # type: ignore[arg-type]


def noted(
    counts: list[str], name: str = "job", every: timedelta = SECOND * 30, fail: list[Exception] | None = None
) -> Job:
    """A job that writes down that it ran, and fails as often as it is told."""

    def run(_engine: object, _turn: Turn) -> Did:
        counts.append(name)
        if fail:
            raise fail.pop(0)
        return {"ran": 1}

    return Job(name, every, run)


def test_a_job_runs_when_it_is_due_for_all_workers_together(
    store: Store, open_store: OpenStore, clock: FixedClock
) -> None:
    ran: list[str] = []
    one, other = worker(store, noted(ran)), worker(open_store(), noted(ran))
    assert [found.ended for found in (*one.once(), *other.once(), *one.once())] == ["done", "not_due", "not_due"]
    clock.advance(SECOND * 31)
    assert [found.ended for found in (*other.once(), *one.once())] == ["done", "not_due"]
    assert ran == ["job", "job"]


def test_a_job_that_fails_is_tried_again_later_each_time_and_holds_no_other_up(
    store: Store, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []
    fail: list[Exception] = [ValueError("card 4242"), KeyError("x")]
    both = worker(store, noted(ran, "bad", fail=fail), noted(ran, "good"))
    bad, good = both.once()
    assert (bad.ended, bad.fault, bad.due_in, good.ended) == ("failed", "ValueError", 60.0, "done")
    assert "4242" not in caplog.text and "bad failed with ValueError" in caplog.text
    clock.advance(SECOND * 61)
    assert both.once()[0].due_in == 120.0
    clock.advance(SECOND * 121)
    assert both.once()[0] == Ran("bad", "done", {"ran": 1}, None, 30.0)


def test_the_pause_grows_and_has_an_end() -> None:
    pauses = [after(SECOND * 30, failures).total_seconds() for failures in (0, 1, 2, 5, 100)]
    assert pauses == [30, 60, 120, 900, 900]
    assert after(timedelta(hours=1), 9) == timedelta(hours=1)


def test_a_clock_that_was_set_back_makes_nothing_wait_for_the_old_future(
    store: Store, open_store: OpenStore, clock: FixedClock
) -> None:
    ran: list[str] = []
    ahead = FixedClock(clock.now() + timedelta(days=400))
    worker(open_store(clock=ahead), noted(ran)).once()
    store.write(lambda tx: None, accept_clock=True)
    assert worker(store, noted(ran)).once()[0].ended == "done"


def test_what_is_held_is_left_to_its_holder(store: Store, open_store: OpenStore) -> None:
    ran: list[str] = []
    other = open_store()
    with other.holding("job-job") as held:
        assert held is not None and held()
        assert worker(store, noted(ran)).once()[0].ended == "elsewhere"
        with store.holding("job-another") as free:
            assert free is not None
    assert worker(store, noted(ran)).once()[0].ended == "done"


def test_a_long_job_ends_when_it_is_told_to(store: Store) -> None:
    stop, begun = threading.Event(), threading.Event()

    def run(_engine: object, turn: Turn) -> Did:
        begun.set()
        while turn.going_on():
            time.sleep(0.01)
        return {"ended": 1}

    heard: list[Ran] = []
    one = worker(store, Job("long", SECOND, run), tell=heard.append)
    thread = threading.Thread(target=one.run, args=(stop,))
    thread.start()
    assert begun.wait(20)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert [(found.ended, found.did) for found in heard] == [("done", {"ended": 1})]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_lock_that_went_with_its_connection_is_noticed(store: Store, open_store: OpenStore) -> None:
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    killer, other = open_store(), open_store()
    with store.holding("job-job") as held:
        assert held is not None and held()
        killer.write(lambda tx: tx.all(sa.text(others + "AND pid <> pg_backend_pid()")))
        assert not held()
        with other.holding("job-job") as theirs:
            assert theirs is not None
    with store.holding("job-job") as again:
        assert again is not None


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_worker_goes_on_after_its_connections_were_cut_off(store: Store, open_store: OpenStore) -> None:
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    ran: list[str] = []
    one = worker(store, noted(ran))
    with store.holding("job-another"):  # leaves a connection behind in the pool
        pass
    open_store().write(lambda tx: tx.all(sa.text(others + "AND pid <> pg_backend_pid()")))
    assert [one.once()[0].ended, one.once()[0].ended] == ["failed", "done"]


# --- processes -----------------------------------------------------------------------------------------------------


def divide(index: int, url: str, seconds: float, naive: bool) -> list[tuple[str, float, float]]:
    """A job for worker processes: run three jobs whenever they are due; when each run began and ended."""
    backend: Backend = backend_for(url, clock=None, lock_timeout=20.0)
    store = Store(url, backend=Unheld(backend) if naive else backend)
    runs: list[tuple[str, float, float]] = []

    def job(name: str) -> Job:
        def run(_engine: object, _turn: Turn) -> Did:
            begun = time.monotonic()
            time.sleep(0.05)
            runs.append((name, begun, time.monotonic()))
            return {}

        return Job(name, timedelta(milliseconds=20), run)

    mine = worker(store, *(job(f"{letter}") for letter in "abc"))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        mine.once()
    store.close()
    return runs


def overlaps(runs: list[tuple[str, float, float]]) -> int:
    """How often a run of a job began before the one before it had ended."""
    return sum(
        later[1] < earlier[2]
        for name in "abc"
        for found in [sorted((run for run in runs if run[0] == name), key=lambda run: run[1])]
        for earlier, later in itertools.pairwise(found)
    )


@pytest.mark.parametrize("naive", [False, True], ids=["held", "naive"])
def test_processes_divide_the_jobs_and_none_runs_twice_at_once(
    databases: Any, dialect: Any, run_processes: Callable[..., list[Any]], naive: bool
) -> None:
    url = databases.create(dialect)
    target = "integration.worker.test_worker:divide"
    answers = values(run_processes(3, target, (url, 1.2, naive)))
    runs = [run for answer in answers for run in answer]
    databases.drop(url)
    if naive:
        assert overlaps(runs) > 0
        return
    assert overlaps(runs) == 0
    assert len([answer for answer in answers if answer]) >= 2  # not one of them did it all
    assert {run[0] for run in runs} == set("abc")


_HOLDER = """
import sys, time
from agentpay.storage import Store
store = Store(sys.argv[1])
with store.holding("job-job") as held:
    print("held" if held else "not", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_holds_nothing_any_more(store: Store) -> None:
    ran: list[str] = []
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, store.database_url], stdout=subprocess.PIPE, text=True, env=os.environ.copy()
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        assert worker(store, noted(ran)).once()[0].ended == "elsewhere"
        os.kill(child.pid, signal.SIGKILL)
        child.wait(20)
        end = time.monotonic() + 20
        while worker(store, noted(ran)).once()[0].ended == "elsewhere":  # PostgreSQL notices in a moment
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        child.kill()
        child.wait(20)
        assert child.stdout is not None
        child.stdout.close()
    assert ran == ["job"]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_child_of_a_fork_does_not_keep_what_its_parent_held(store: Store) -> None:
    reader, writer = os.pipe()
    with store.holding("job-job") as held:
        assert held is not None
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        os.close(reader)
    with store.holding("job-job") as again:
        assert again is not None
    os.close(writer)
    os.waitpid(child, 0)


def test_a_database_that_is_away_ends_no_worker(
    tmp_path: Path, dialect: str, databases: Any, clock: FixedClock
) -> None:
    url = databases.create(dialect)
    store = Store(url, clock=clock)
    install(store, mode="test")
    ran: list[str] = []
    if dialect == "postgresql":
        store.close()
        databases.drop(url)
    else:
        Path(url.removeprefix("sqlite:///")).write_bytes(b"no database" * 1000)
    found = worker(store, noted(ran)).once()[0]
    assert (found.ended, found.due_in) == ("failed", 2.0)
    assert found.fault in ("STORAGE_CORRUPT", "STORAGE_BUSY", "STORAGE_ERROR")
    assert ran == []
    store.close()


def test_the_desk_makes_a_worker(databases: Any, dialect: Any) -> None:
    url = databases.create(dialect)
    with Desk(url) as people:
        assert all(ran.ended == "done" for ran in people.worker().once())
    databases.drop(url)
