"""Threads and processes that start at the same moment, and what became of each."""

from __future__ import annotations

import importlib
import multiprocessing
import pickle
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from support import compiled

T = TypeVar("T")

_START_TIMEOUT = 60.0


@dataclass(frozen=True)
class Failure:
    """An exception in another process: its class, its `code` where it is one of ours, its text and its traceback."""

    kind: str
    code: str | None
    text: str
    trace: str = ""


def run_threads(n: int, fn: Callable[[int], T]) -> list[T | Exception]:
    """Run `fn(0)` … `fn(n - 1)` in threads that start together; each one's value, or the exception that it raised."""
    barrier = threading.Barrier(n)
    results: list[T | Exception] = [RuntimeError("did not run")] * n

    def run(index: int) -> None:
        barrier.wait(30)
        try:
            results[index] = fn(index)
        except Exception as exc:
            results[index] = exc

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a thread hangs"
    return results


def values(results: Sequence[T | Exception | Failure]) -> list[T]:
    """The values, where every one is one; else an error that shows the first exception."""
    good: list[T] = []
    for result in results:
        if isinstance(result, Failure):
            raise AssertionError(f"{result.kind}: {result.text}\n{result.trace}")
        if isinstance(result, Exception):
            raise result
        good.append(result)
    return good


class Processes:
    """Worker processes, started once and kept: each job goes to as many as it needs, through pipes."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[tuple[SpawnProcess, Connection]] = []

    def run(self, n: int, target: str, args: tuple[object, ...] = (), *, timeout: float = 60.0) -> list[Any]:
        """Run `function(index, *args)` in `n` processes that start it together, `target` being "module:function".

        The module must be importable by name (everything below `tests` is: "integration.storage.jobs:fill"). Each
        result is what the function returned, or a `Failure`, also where the process died.
        """
        workers = self._ready(n)
        for index, (_, pipe) in enumerate(workers):
            pipe.send((target, (index, *args)))
        for _, pipe in workers:  # each has imported its function and waits
            _answer(pipe, _START_TIMEOUT)
        for _, pipe in workers:
            _tell(pipe, "go")
        return [_answer(pipe, timeout) for _, pipe in workers]

    def pids(self, n: int) -> list[int]:
        """The process ids of the workers that a job for `n` will run in."""
        return [process.pid or 0 for process, _ in self._ready(n)]

    def close(self) -> None:
        """End the workers."""
        for _, pipe in self._workers:
            pipe.close()
        for process, _ in self._workers:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join(5)
            process.close()
        self._workers = []

    def _ready(self, n: int) -> list[tuple[SpawnProcess, Connection]]:
        alive = [(process, pipe) for process, pipe in self._workers if process.is_alive()]
        for process, pipe in self._workers:
            if not process.is_alive():
                pipe.close()
                process.close()
        self._workers = alive
        while len(self._workers) < n:
            here, there = self._context.Pipe()
            process = self._context.Process(target=_work, args=(there,), daemon=True)
            process.start()
            there.close()
            self._workers.append((process, here))
        return self._workers[:n]


def _tell(pipe: Connection, what: object) -> None:
    try:
        pipe.send(what)
    except OSError:  # it died; its answer says so
        return


def _answer(pipe: Connection, timeout: float) -> Any:
    if not wait([pipe], timeout):
        return Failure("Timeout", None, f"no answer within {timeout:g} s")
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return Failure("ProcessDied", None, "the process died")


def _work(pipe: Connection) -> None:
    """The life of a worker: import the function, wait for the start, run, answer; until the pipe is closed."""
    compiled.share()
    while True:
        try:
            target, args = pipe.recv()
        except EOFError:
            return
        module, _, name = target.partition(":")
        try:
            function = getattr(importlib.import_module(module), name)
        except Exception as exc:
            function = _raising(exc)
        pipe.send("ready")
        pipe.recv()
        pipe.send(_outcome(function, args))


def _outcome(function: Callable[..., object], args: tuple[object, ...]) -> object:
    try:
        value = function(*args)
        pickle.dumps(value)
    except Exception as exc:
        return Failure(type(exc).__name__, getattr(exc, "code", None), str(exc), traceback.format_exc())
    return value


def _raising(exc: Exception) -> Callable[..., object]:
    def fail(*_: object) -> object:
        raise exc

    return fail
