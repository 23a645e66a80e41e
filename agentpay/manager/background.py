"""What a server does beside answering: seal the audit, look up what is open, end what has expired."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agentpay.audit.seal import seal
from agentpay.manager.wiring import Engine
from agentpay.spending.throttle import close_minutes
from agentpay.storage.pruning import prune_writes

logger = logging.getLogger(__name__)

SEAL_EVERY: Final = 1.0
TIDY_EVERY: Final = 30
WAITING_AT_START: Final = 20


@contextmanager
def background(engine: Engine, *, every: float = SEAL_EVERY) -> Iterator[None]:
    """Run the loop in a thread of its own for as long as the block runs."""
    stop = threading.Event()
    thread = threading.Thread(target=_loop, args=(engine, stop, every), name="agentpay-background", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def start_pass(engine: Engine) -> None:
    """The bounded pass of every start: look up what was left open, end what has expired, seal what is unsealed."""
    engine.payments.reconcile()
    engine.webhooks.retry_waiting(WAITING_AT_START)
    prune_writes(engine.store)
    if engine.store.dialect == "postgresql":
        seal(engine.store)


def _tidy(engine: Engine) -> None:
    engine.payments.reconcile()
    engine.webhooks.retry_waiting()
    engine.store.write(lambda tx: close_minutes(tx, tx.now()))
    prune_writes(engine.store)


def _loop(engine: Engine, stop: threading.Event, every: float) -> None:
    rounds = 0
    while not stop.wait(every):
        rounds += 1
        try:
            if engine.store.dialect == "postgresql":
                seal(engine.store, recent_only=True)
            if rounds % TIDY_EVERY == 0:
                _tidy(engine)
        except Exception as exc:  # noqa: BLE001 - the named seam: the loop outlives a database that is away for a while
            logger.warning("the background pass failed with %s; it is tried again", type(exc).__name__)
