"""The background jobs: what is done beside answering, and how often. Each is bounded, and may run twice at once.

A new one is a `Job` in `JOBS`. `run` gets the engine and a `Turn`, does a bounded piece of work, and returns what it
did as counts; what it raises is logged, and it is tried again later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agentpay.audit.seal import seal
from agentpay.spending import halts
from agentpay.spending.throttle import close_minutes
from agentpay.storage.pruning import prune_writes
from agentpay.subscriptions import lifecycle

if TYPE_CHECKING:
    from agentpay.manager.wiring import Engine

Did = Mapping[str, int]

_RENEWALS_A_PASS: Final = 50


@dataclass(frozen=True)
class Turn:
    """One run of a job: its moment, by the database, and whether it may go on. A long job asks between two steps."""

    now: datetime
    going_on: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Job:
    """Something to be done every so often, by one worker of a database at a time.

    `starts_payments` keeps it to `agentpay worker`: a server that was started for something else runs the others.
    `noted` says that when it ran is written down, so that all workers together keep its rhythm; else each keeps its
    own, which is for what runs every second.
    """

    name: str
    every: timedelta
    run: Callable[[Engine, Turn], Did]
    starts_payments: bool = False
    noted: bool = True
    dialects: frozenset[str] = frozenset({"sqlite", "postgresql"})


def _seal(engine: Engine, _turn: Turn) -> Did:
    return {"sealed": seal(engine.store, recent_only=True)}


def _seal_all(engine: Engine, _turn: Turn) -> Did:
    """Rows that were committed after ten thousand later ones are found by this one alone."""
    return {"sealed": seal(engine.store)}


def _reconcile(engine: Engine, _turn: Turn) -> Did:
    from agentpay.manager import epochs

    report = engine.payments.reconcile()
    epochs.note_reconciled(engine.store)
    return {"looked_up": report.looked_up, "settled": report.settled}


def _approvals(engine: Engine, _turn: Turn) -> Did:
    return {"expired": engine.payments.expire_approvals()}


def _subscriptions(engine: Engine, _turn: Turn) -> Did:
    return {"ended": engine.store.write(lambda tx: lifecycle.expire_ended(tx, tx.now()))}


def _renewals(engine: Engine, turn: Turn) -> Did:
    """Nothing is started while everybody is halted, by a person or because the database is a restored copy."""
    if engine.store.read(halts.everybody_is_halted):
        return {"everybody_is_halted": 1}

    def going_on() -> bool:
        return turn.going_on() and not engine.store.read(halts.everybody_is_halted)

    report = engine.renewing.renew_due(limit=_RENEWALS_A_PASS, going_on=going_on)
    return {
        "renewed": report.renewed,
        "failed": report.failed,
        "waiting": report.waiting,
        "ended": report.ended,
        "stranded": report.stranded,
    }


def _throttles(engine: Engine, _turn: Turn) -> Did:
    engine.store.write(lambda tx: close_minutes(tx, tx.now()))
    return {}


def _prune(engine: Engine, _turn: Turn) -> Did:
    return {"forgotten": prune_writes(engine.store)}


def _polling(engine: Engine, _turn: Turn) -> Did:
    """Ask the providers that send no webhooks, and take what they tell as if it was sent."""
    return {"events": engine.webhooks.poll()}


def _webhooks(engine: Engine, _turn: Turn) -> Did:
    report = engine.webhooks.retry_waiting()
    return {"tried": report.tried, "applied": report.applied, "expired": report.expired}


_POSTGRESQL: Final = frozenset({"postgresql"})

JOBS: Final[tuple[Job, ...]] = (
    Job("seal", timedelta(seconds=1), _seal, noted=False, dialects=_POSTGRESQL),
    Job("seal-all", timedelta(minutes=10), _seal_all, dialects=_POSTGRESQL),
    Job("reconcile", timedelta(seconds=30), _reconcile),
    Job("polling", timedelta(seconds=15), _polling),
    Job("webhooks", timedelta(seconds=30), _webhooks),
    Job("approvals", timedelta(seconds=15), _approvals),
    Job("subscriptions", timedelta(minutes=1), _subscriptions),
    Job("renewals", timedelta(minutes=1), _renewals, starts_payments=True),
    Job("throttles", timedelta(minutes=1), _throttles),
    Job("prune", timedelta(minutes=10), _prune),
)
"""Every job, in the order in which a worker looks at them."""
