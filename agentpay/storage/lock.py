"""A blocking lock on a side file: the queue in which processes wait to write to one SQLite file.

SQLite's own busy handler polls and is unfair: with eight processes the unluckiest waited five seconds. A blocking lock
of the operating system wakes the next waiter at once.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import portalocker

from agentpay.errors import StorageBusy, StorageReadOnly


def lock_number(text: str) -> int:
    """A number of 64 bits, with a sign, by which a lock on the text is named."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


class SideLock:
    """One writer at a time, over all threads and processes that use the same file."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._threads = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            StorageBusy: it was not free within the time-out.
            StorageReadOnly: the side file cannot be opened for writing.
        """
        if not self._threads.acquire(timeout=self._timeout):
            raise StorageBusy("Another thread holds the database.")
        try:
            handle = self._locked_handle()
            try:
                yield
            finally:
                _release(handle)
        finally:
            self._threads.release()

    def _locked_handle(self) -> IO[bytes]:
        try:
            handle = self._path.open("ab")
        except OSError as exc:
            raise StorageReadOnly(f"{self._path} cannot be written: {exc.strerror}.") from exc
        try:
            portalocker.lock(handle, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.exceptions.LockException:
            return _wait_for(handle, self._timeout)
        return handle


@contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Hold a side file for as long as the block runs: True where nobody else does. Never waits; where the process dies
    the operating system lets go of it.

    Raises:
        StorageReadOnly: the side file cannot be opened for writing.
    """
    try:
        handle = path.open("ab")
    except OSError as exc:
        raise StorageReadOnly(f"{path} cannot be written: {exc.strerror}.") from exc
    try:
        portalocker.lock(handle, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.exceptions.LockException:
        handle.close()
        yield False
        return
    _HELD.add(handle)
    try:
        yield True
    finally:
        _HELD.discard(handle)
        _release(handle)


def let_go_in_child() -> None:
    """In the child of a fork: close what the parent holds, or its lock would last as long as the child."""
    for handle in _HELD:
        handle.close()
    _HELD.clear()


_HELD: Final[set[IO[bytes]]] = set()


def _release(handle: IO[bytes]) -> None:
    """Unlock, then close. A child forked meanwhile has the same open file: closing ours alone would leave it locked."""
    try:
        portalocker.unlock(handle)
    finally:
        handle.close()


def _wait_for(handle: IO[bytes], timeout: float) -> IO[bytes]:
    """Block for the lock in a helper thread, since a blocking lock itself knows no time-out."""
    decided = threading.Lock()
    got, given_up, ended = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        try:
            portalocker.lock(handle, portalocker.LockFlags.EXCLUSIVE)
        except portalocker.exceptions.LockException:
            handle.close()
        else:
            with decided:
                if given_up.is_set():
                    _release(handle)
                else:
                    got.set()
        ended.set()

    threading.Thread(target=wait, name="agentpay-lock", daemon=True).start()
    try:
        ended.wait(timeout)
    finally:  # also where the wait is interrupted: whoever gets the lock then must give it back
        with decided:
            if not got.is_set():
                given_up.set()
    if got.is_set():
        return handle
    raise StorageBusy(f"Another process has held the database for {timeout:g} seconds.")
