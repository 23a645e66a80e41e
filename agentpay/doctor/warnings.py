"""What weakens the promise without breaking it: told, not counted as a fault."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from agentpay.audit.tables import AuditRow
from agentpay.billing.queries import PAID_WITH
from agentpay.doctor.model import UNREADABLE
from agentpay.payments.tables import AttemptRow, PaymentRow
from agentpay.spending import active
from agentpay.spending.tables import ApprovalRow, ApproverRow
from agentpay.storage.store import Store
from agentpay.storage.tables import InstallationRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table
from agentpay.subscriptions import queries as subscriptions
from agentpay.subscriptions.tables import SubscriptionRow
from agentpay.webhooks.tables import WebhookEventRow
from agentpay.worker import queries

_LOG = table(AuditRow)
_PAYMENTS = table(PaymentRow)
_ATTEMPTS = table(AttemptRow)
_APPROVALS = table(ApprovalRow)
_APPROVERS = table(ApproverRow)
_INSTALLATION = table(InstallationRow)

_EVENTS = table(WebhookEventRow)
_S = table(SubscriptionRow).c

_STALE: Final = timedelta(hours=1)
_OFTEN: Final = 3
_LONG: Final = timedelta(days=1)
_WAITING: Final = timedelta(hours=1)
_MOST: Final = 10


def of_rows(tx: Tx) -> list[str]:
    """What the rows tell."""
    return [warning for find in _OF_ROWS for warning in _told(find, tx)]


def _told(find: Callable[[Tx], Iterator[str]], tx: Tx) -> list[str]:
    try:
        return list(find(tx))
    except UNREADABLE as exc:
        return [f"A row that warnings are made of holds what nothing of ours wrote: {type(exc).__name__}."]


def of_file(store: Store, *, asks_people: bool) -> Iterator[str]:
    """What the file of a SQLite database tells: who else can read it, and whose it is.

    `asks_people` says that approvals or approvers exist, which are worth only what the file's own protection is.
    """
    path = Path(str(store.engine.url.database))
    if store.dialect != "sqlite" or not path.exists():
        return
    for one in (path, path.with_name(f"{path.name}.mock.db")):
        if one.exists() and _open_to_all(one):
            yield f"Every user of this machine can read {one}: chmod 600 it, and what lies beside it."
    if asks_people and hasattr(os, "getuid") and path.stat().st_uid == os.getuid():
        yield (
            f"{path} belongs to the user that runs this: where the agent runs as this user too, it can change the"
            " database, and the gate is advisory."
        )


def asks_people(tx: Tx) -> bool:
    """Whether anything here waits, or ever waited, for people."""
    return any(tx.first(sa.select(rows).limit(1)) is not None for rows in (_APPROVALS, _APPROVERS))


def _open_to_all(path: Path) -> bool:
    open_file = path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)
    return bool(open_file and path.parent.stat().st_mode & stat.S_IXOTH)


def _unknown(tx: Tx) -> Iterator[str]:
    a = _ATTEMPTS.c
    long_ago = tx.now() - _LONG
    query = sa.select(a.subject_id).where(a.outcome == "unknown", a.sent_at < long_ago).order_by(a.sent_at)
    yield from _listed("The outcome has been unknown for more than a day", tx, query)


def _late(tx: Tx) -> Iterator[str]:
    query = sa.select(_PAYMENTS.c.id).where(_PAYMENTS.c.late.is_(True)).order_by(_PAYMENTS.c.created_at)
    yield from _listed("The money moved late, after its hold was let go, perhaps above a cap", tx, query)


def _excess(tx: Tx) -> Iterator[str]:
    query = sa.select(_PAYMENTS.c.id).where(_PAYMENTS.c.excess.is_(True)).order_by(_PAYMENTS.c.created_at)
    yield from _listed("More is going back than was captured, by what was done at the provider", tx, query)


def _waiting(tx: Tx) -> Iterator[str]:
    e = _EVENTS.c
    long_ago = tx.now() - _WAITING
    query = sa.select(e.id).where(e.status == "waiting", e.received_at < long_ago).order_by(e.received_at)
    yield from _listed("Webhooks have waited for more than an hour for what they are about", tx, query)


def _unused(tx: Tx) -> Iterator[str]:
    """Payments that came for what can no longer be given, unless they were refunded since."""
    marked = sa.select(_LOG.c.object_id).where(_LOG.c.action == "payment.unused")
    p = _PAYMENTS.c
    query = sa.select(p.id).where(p.id.in_(marked), p.refunded_minor < p.captured_minor).order_by(p.created_at)
    yield from _listed("Paid for what can no longer be given: refund it, or find its use", tx, query)


def _resolved_by_one(tx: Tx) -> Iterator[str]:
    query = sa.select(_LOG.c.object_id).where(_LOG.c.action == "attempt.resolved_by_one").order_by(_LOG.c.seq)
    yield from _listed("One person alone said what became of it, since nobody else was enrolled", tx, query)


def _not_enrolled(tx: Tx) -> Iterator[str]:
    policy = active.policy(tx)
    enrolled = {row.name for row in tx.all(sa.select(_APPROVERS.c.name))}
    missing = sorted(policy.approver_names() - enrolled) if policy is not None else []
    if missing:
        yield f"The active policy asks approvers who are not enrolled: {', '.join(missing)}."


def _stale(tx: Tx) -> Iterator[str]:
    """Nobody looks outcomes up, and there are some to look up. A start of a program does, and is not written down."""
    a, now = _ATTEMPTS.c, tx.now()
    waiting = sa.select(a.id).where(a.outcome.in_(("sent", "unknown")), a.next_check_at < now - _STALE).limit(1)
    job = queries.job(tx, "reconcile")
    ran = None if job is None else job.ran_at
    if tx.first(waiting) is not None and (ran is None or ran < now - _STALE):
        since = "never" if ran is None else f"last at {ran:%Y-%m-%d %H:%M} UTC"
        yield (
            f"Outcomes are unknown, their look-up is overdue by more than an hour, and a worker ran {since}: run"
            " agentpay worker."
        )


def _not_renewed(tx: Tx) -> Iterator[str]:
    """No worker runs, or their provider is not enabled: it is asked of no other."""
    is_due = subscriptions.is_due(tx.now() - _LONG)
    query = sa.select(_S.id, PAID_WITH.label("provider")).where(is_due, _S.free.is_(False)).order_by(_S.paid_until)
    named = [f"{row.id} ({row.provider})" if row.provider else row.id for row in tx.all(query)]
    told = "Due for more than a day and not renewed: run agentpay worker with the provider enabled that is named"
    yield from _some(told, named)


def _failing(tx: Tx) -> Iterator[str]:
    for job in queries.failing(tx, _OFTEN):
        yield f"The job {job.name} has failed {job.failures} times in a row, with {job.fault}; see the worker's log."


def _epoch(tx: Tx) -> Iterator[str]:
    i = _INSTALLATION.c
    row = tx.first(sa.select(i.epoch).where(i.reconciled_epoch < i.epoch))
    if row is not None:
        yield (
            f"The database is a restored or imported copy, in its epoch {row.epoch}: agents are halted. Run agentpay"
            " reconcile, compare the newest payments with the provider's own, then run agentpay resume."
        )


def _listed(what: str, tx: Tx, query: sa.Select[tuple[str]]) -> Iterator[str]:
    yield from _some(what, [row[0] for row in tx.all(query)])


def _some(what: str, ids: list[str]) -> Iterator[str]:
    if ids:
        more = f" and {len(ids) - _MOST} more" if len(ids) > _MOST else ""
        yield f"{what}: {', '.join(ids[:_MOST])}{more}."


_OF_ROWS: Final[tuple[Callable[[Tx], Iterator[str]], ...]] = (
    _unknown,
    _late,
    _excess,
    _waiting,
    _unused,
    _resolved_by_one,
    _not_enrolled,
    _stale,
    _not_renewed,
    _failing,
    _epoch,
)
