"""What a server does beside answering, and what every start does: the jobs of the worker that start no payment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agentpay.audit.seal import seal
from agentpay.manager.wiring import Engine
from agentpay.storage.pruning import prune_writes
from agentpay.worker.jobs import JOBS
from agentpay.worker.service import Worker

WAITING_AT_START: Final = 20


@contextmanager
def background(engine: Engine, *, at_once: bool = False) -> Iterator[None]:
    """Run the jobs in a thread of its own for as long as the block runs; servers on one database divide them.

    The first look at each comes after its interval, unless `at_once`: a start has done them a moment ago.
    """
    stop = threading.Event()
    worker = Worker(engine, [job for job in JOBS if not job.starts_payments])
    thread = threading.Thread(
        target=worker.run, args=(stop,), kwargs={"at_once": at_once}, name="agentpay-background", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def start_pass(engine: Engine) -> None:
    """The bounded pass of every start, due or not: look up what was left open, end what has expired, seal what is
    unsealed. It does not count as the reconcile that a new epoch wants."""
    engine.payments.reconcile()
    engine.webhooks.retry_waiting(WAITING_AT_START)
    prune_writes(engine.store)
    if engine.store.dialect == "postgresql":
        seal(engine.store)
