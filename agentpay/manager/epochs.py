"""Epochs: what becomes of a database that was restored or imported.

A copy of a database does not know what was paid after it was taken. So it is opened halted, in a new epoch: everything
that it holds as open is due to be looked up, no agent pays and no worker renews, until a person has run a reconcile,
compared what the provider has with what stands here, and resumed. Keys that reach providers derive from the
installation's secret, which a copy keeps: what is asked again is asked under the same key.
"""

from __future__ import annotations

import sqlalchemy as sa

from agentpay.audit import log
from agentpay.audit.seal import seal_within
from agentpay.errors import NotFound, ReconcileFirst
from agentpay.payments import queries as payments
from agentpay.principal import OPERATOR, SYSTEM, Principal
from agentpay.spending import halts
from agentpay.storage.store import Store
from agentpay.storage.tables import InstallationRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table

_INSTALLATION = table(InstallationRow)

_WHY = "The database is a restored or imported copy: run agentpay reconcile, then agentpay resume."


def begin_of_copy(tx: Tx) -> None:
    """Begin a new epoch where the rows are marked as a copy; the mark is taken off. Safe to repeat."""
    row = _locked(tx)
    if row.is_copy:
        _begin(tx, row, SYSTEM)


def declare_restored(tx: Tx) -> int:
    """A person says that the database is a copy, which no mark tells of: the number of the new epoch."""
    return _begin(tx, _locked(tx), OPERATOR)


def check_reconciled(tx: Tx) -> ReconcileFirst | None:
    """Why agents may not be let go on: this epoch has had no reconcile yet. None where they may."""
    row = _row(tx)
    if row.reconciled_epoch >= row.epoch:
        return None
    open_ones = payments.not_looked_up_since(tx, row.epoch_at)
    more = f" Attempts that were not looked up yet: {open_ones}." if open_ones else ""
    return ReconcileFirst(
        f"The database is a copy in its epoch {row.epoch}, and no reconcile was finished in it.{more}"
    )


def note_reconciled(store: Store) -> None:
    """After a pass of look-ups: note that the epoch has had its reconcile, where nothing from before it is left."""
    if store.read(_is_reconciled_now):
        store.write(_note)


def unsettled(tx: Tx) -> int | None:
    """The number of the epoch that still wants its reconcile; None where there is none."""
    row = _row(tx)
    return int(row.epoch) if row.reconciled_epoch < row.epoch else None


def _is_reconciled_now(tx: Tx) -> bool:
    row = _row(tx)
    return row.reconciled_epoch < row.epoch and not payments.not_looked_up_since(tx, row.epoch_at)


def _note(tx: Tx) -> None:
    row = _locked(tx)
    if row.reconciled_epoch >= row.epoch or payments.not_looked_up_since(tx, row.epoch_at):
        return
    tx.execute(sa.update(_INSTALLATION).values(reconciled_epoch=row.epoch))
    _tell(tx, "epoch_reconciled", row.epoch, SYSTEM)


def _begin(tx: Tx, row: Row, by: Principal) -> int:
    if tx.dialect == "sqlite":
        seal_within(tx)  # what PostgreSQL had not sealed yet; SQLite leaves nothing unsealed
    now, epoch = tx.now(row.epoch_at), int(row.epoch) + 1
    tx.execute(sa.update(_INSTALLATION).values(is_copy=False, epoch=epoch, epoch_at=now))
    payments.make_due(tx, now)
    halts.halt(tx, None, _WHY, by, now)
    _tell(tx, "epoch_begun", epoch, by)
    return epoch


def _tell(tx: Tx, what: str, epoch: int, by: Principal) -> None:
    data = {"epoch": epoch}
    log.record(tx, principal=by, action=f"installation.{what}", object_id="installation", data=data, at=tx.now())


def _row(tx: Tx) -> Row:
    row = tx.first(sa.select(_INSTALLATION))
    if row is None:
        raise NotFound("The database holds no installation yet.")
    return row


def _locked(tx: Tx) -> Row:
    return tx.lock(sa.select(_INSTALLATION))[0]
