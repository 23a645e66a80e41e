"""The side lock: one writer at a time over threads and processes, in turn, and never left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentpay.errors import StorageBusy
from agentpay.storage.lock import SideLock
from support.forks import in_child
from support.parallel import Failure, Processes, run_threads, values

JOBS = "integration.storage.test_lock"


def hold(_index: int, path: str, seconds: float) -> None:
    """A job for worker processes: take the lock, say so in a file, and keep it."""
    with SideLock(Path(path), timeout=10).held():
        Path(f"{path}.held").touch()
        time.sleep(seconds)


def take_often(_index: int, path: str, times: int) -> float:
    """A job for worker processes: the longest wait among many turns, each of a millisecond."""
    lock, longest = SideLock(Path(path), timeout=10), 0.0
    for _ in range(times):
        asked = time.monotonic()
        with lock.held():
            longest = max(longest, time.monotonic() - asked)
            time.sleep(0.001)
    return longest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db.lock"


def wait_until_held(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not Path(f"{path}.held").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_one_thread_at_a_time_holds_it(path: Path) -> None:
    lock, inside, most = SideLock(path, timeout=10), [0], [0]

    def take(_: int) -> None:
        for _ in range(20):
            with lock.held():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    values(run_threads(8, take))
    assert most == [1]


def test_two_locks_on_one_file_exclude_each_other(path: Path) -> None:
    with SideLock(path, timeout=1).held(), pytest.raises(StorageBusy), SideLock(path, timeout=0.1).held():
        raise AssertionError("both hold it")
    with SideLock(path, timeout=1).held():
        pass


def test_a_waiter_that_gave_up_does_not_keep_the_lock_later(path: Path) -> None:
    with SideLock(path, timeout=1).held():
        for _ in range(3):
            with pytest.raises(StorageBusy), SideLock(path, timeout=0.05).held():
                pass
    with SideLock(path, timeout=5).held():
        pass
    deadline = time.monotonic() + 5
    while any(thread.name == "agentpay-lock" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_waiter_gets_it_as_soon_as_it_is_free(path: Path) -> None:
    """No polling: eight waiters behind one holder are through within milliseconds of its end."""
    first = SideLock(path, timeout=5)
    taken = threading.Event()

    def take(index: int) -> float:
        if index == 0:
            with first.held():
                taken.set()
                time.sleep(0.2)
                return time.monotonic()
        taken.wait(5)
        with SideLock(path, timeout=5).held():
            return time.monotonic()

    freed, *got = values(run_threads(9, take))
    assert max(got) - freed < 0.5


def test_processes_take_turns_fairly(path: Path, run_processes: Callable[..., list[Any]]) -> None:
    waits = values(run_processes(4, f"{JOBS}:take_often", (str(path), 60)))
    assert max(waits) < 1.0, "a process starved: the busy handler of SQLite kept one waiting for five seconds"


def test_the_death_of_its_holder_frees_it(path: Path, processes: Processes) -> None:
    holder = processes.pids(1)[0]
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.extend(processes.run(1, f"{JOBS}:hold", (str(path), 60.0))))
    thread.start()
    wait_until_held(path)
    with pytest.raises(StorageBusy), SideLock(path, timeout=0.05).held():
        pass
    os.kill(holder, signal.SIGKILL)
    with SideLock(path, timeout=5).held():
        pass
    thread.join(10)
    assert isinstance(result[0], Failure) and result[0].kind == "ProcessDied"


def test_a_child_forked_while_it_is_held_does_not_keep_it(path: Path) -> None:
    """The child has the same open file: closing the parent's alone would leave it locked until the child ends."""
    lock = SideLock(path, timeout=1)
    with lock.held():
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # until the parent closes its end
            os._exit(0)
        os.close(reader)
    with SideLock(path, timeout=0.5).held():
        pass
    os.close(writer)
    os.waitpid(child, 0)


def test_a_child_forked_by_another_thread_of_a_writer_can_write(path: Path) -> None:
    assert in_child(lambda: SideLock(path, timeout=1).held().__enter__()) is None
