"""A worker: it looks which jobs are due, and runs each where no other worker of the database is at it.

A job is held by a lock that does not outlive its process: on PostgreSQL one of the session, on SQLite one of the
operating system on a side file. Where the process dies the next worker goes on at once, and where it is only slow, or
was suspended, nobody takes the job from it: a lease that ends by the clock does neither.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from agentpay.errors import StorageError
from agentpay.storage.transaction import Tx
from agentpay.worker import queries
from agentpay.worker.jobs import JOBS, Job, Turn

if TYPE_CHECKING:
    from agentpay.manager.wiring import Engine

logger = logging.getLogger(__name__)

Ended = Literal["done", "failed", "not_due", "elsewhere"]

_LONGEST_PAUSE: Final = timedelta(minutes=15)
_LOOK_AGAIN: Final = 5.0
_TICK: Final = 1.0
_LONGEST_RUN: Final = 60.0


@dataclass(frozen=True)
class Ran:
    """What became of one look at a job. `elsewhere`: another worker is at it now."""

    job: str
    ended: Ended
    did: Mapping[str, int] = field(default_factory=dict)
    fault: str | None = None
    due_in: float = 0.0
    """In how many seconds to look again."""


class Worker:
    """Runs jobs on one database; any number of workers may run on it, in any number of processes and machines."""

    def __init__(
        self,
        engine: Engine,
        jobs: Sequence[Job] = JOBS,
        *,
        tell: Callable[[Ran], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._jobs = [job for job in jobs if engine.store.dialect in job.dialects]
        self._tell = tell
        self._monotonic = monotonic
        self._strikes: dict[str, int] = {}
        self._stop = threading.Event()
        self.name = f"{platform.node()[:60]}:{os.getpid()}"

    def once(self) -> tuple[Ran, ...]:
        """Run every job that is due, once."""
        return tuple(self._look(job) for job in self._jobs)

    def run(self, stop: threading.Event, *, at_once: bool = True) -> None:
        """Run what is due until `stop` is set; the job under way then is finished first. Without `at_once` each job
        is looked at for the first time after its interval: for who did it all a moment ago."""
        self._stop = stop
        begun = self._monotonic()
        due = {job.name: begun + (0.0 if at_once else job.every.total_seconds()) for job in self._jobs}
        while not stop.is_set():
            for job in self._jobs:
                if not stop.is_set() and self._monotonic() >= due[job.name]:
                    ran = self._look(job)
                    due[job.name] = self._monotonic() + ran.due_in
                    self._tell(ran)
            stop.wait(_TICK)

    def _look(self, job: Job) -> Ran:
        """Run a job where it is due and nobody else is at it."""
        try:
            ran = self._alone(job)
        except StorageError as exc:  # the database is away: nothing can be noted, and nothing is lost
            logger.warning("job %s could not be looked at: %s", job.name, exc.code)
            ran = Ran(job.name, "failed", fault=exc.code, due_in=self._struck(job.name))
        if ran.ended != "failed":
            self._strikes.pop(job.name, None)
        return ran

    def _alone(self, job: Job) -> Ran:
        store = self._engine.store
        with store.holding(f"job-{job.name}") as still_held:
            if still_held is None:
                return Ran(job.name, "elsewhere", due_in=min(_LOOK_AGAIN, job.every.total_seconds()))
            row, now = store.read(lambda tx: (queries.job(tx, job.name), tx.now()))
            if row is not None and row.ended_at <= now < row.due_at:  # one from the future is of a clock set back since
                return Ran(job.name, "not_due", due_in=(row.due_at - now).total_seconds())
            return self._run(job, now, 0 if row is None else row.failures, still_held)

    def _run(self, job: Job, now: datetime, failures: int, still_held: Callable[[], bool]) -> Ran:
        end = self._monotonic() + _LONGEST_RUN
        turn = Turn(now, lambda: not self._stop.is_set() and self._monotonic() < end and still_held())
        did: Mapping[str, int] = {}
        fault: str | None = None
        try:
            did = job.run(self._engine, turn)
        except Exception as exc:  # noqa: BLE001 - the named seam: the loop outlives what a job, or a plug-in's, raises
            fault = str(getattr(exc, "code", type(exc).__name__))
            logger.warning("job %s failed with %s; it is tried again", job.name, fault)
        failures = 0 if fault is None else failures + 1
        pause = after(job.every, failures)
        if job.noted:
            self._note(job, pause, failures, fault)
        elif fault is not None:
            pause = timedelta(seconds=self._struck(job.name))
        return Ran(job.name, "done" if fault is None else "failed", did, fault, pause.total_seconds())

    def _note(self, job: Job, pause: timedelta, failures: int, fault: str | None) -> None:
        def write(tx: Tx) -> None:
            now = tx.now()
            queries.note(
                tx, job.name, worker=self.name, ended_at=now, due_at=now + pause, failures=failures, fault=fault
            )

        self._engine.store.write(write)

    def _struck(self, name: str) -> float:
        self._strikes[name] = self._strikes.get(name, 0) + 1
        return after(timedelta(seconds=1), self._strikes[name]).total_seconds()


def after(every: timedelta, failures: int) -> timedelta:
    """When to run a job again: after its interval; after failures twice as long each time, up to a quarter of an hour
    or its interval."""
    doubled: timedelta = every * 2 ** min(failures, 20)
    return min(doubled, max(every, _LONGEST_PAUSE))
