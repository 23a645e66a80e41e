"""All SQL about the jobs of workers."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.worker.tables import WorkerJobRow

_JOBS = table(WorkerJobRow)
_J = _JOBS.c


def job(tx: Tx, name: str) -> Row | None:
    """When a job ran and is due; None where it never ran."""
    return tx.first(sa.select(_JOBS).where(_J.name == name))


def note(
    tx: Tx, name: str, *, worker: str, ended_at: datetime, due_at: datetime, failures: int, fault: str | None
) -> None:
    """Write down that a job ended; that it went well where there is no fault."""
    values = {"worker": worker, "ended_at": ended_at, "due_at": due_at, "failures": failures, "fault": fault}
    if fault is None:
        values["ran_at"] = ended_at
    if not tx.insert_new(WorkerJobRow, name=name, **values):
        tx.execute(sa.update(_JOBS).where(_J.name == name).values(**values))


def failing(tx: Tx, failures: int) -> list[Row]:
    """The jobs that failed so often in a row."""
    return list(tx.all(sa.select(_JOBS).where(_J.failures >= failures).order_by(_J.name)))
