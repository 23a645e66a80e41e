"""The doctor: every invariant of an installation as a query, with the rows that break it. It changes nothing."""

from __future__ import annotations

from typing import Final

from agentpay.audit.verify import Verification, verify
from agentpay.doctor import books, decisions, history, payments, spending, subscriptions, usage, warnings, webhooks
from agentpay.doctor.model import Breach, Check, Examination
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx

__all__ = ["CHECKS", "Breach", "Check", "Examination", "examine"]

CHECKS: Final[tuple[Check, ...]] = (
    *books.CHECKS,
    *decisions.CHECKS,
    *spending.CHECKS,
    *payments.CHECKS,
    *usage.CHECKS,
    *webhooks.CHECKS,
    *subscriptions.CHECKS,
    *history.CHECKS,
)
"""Every check, by its invariant of the design. The audit's own verification stands apart."""

AUDIT: Final = "the audit verifies: every row by its bytes, every object's history, the chain over all"

MOST_ROWS: Final = 50
"""How many rows of one breach are named."""


def examine(store: Store) -> Examination:
    """Examine everything: the rows on one snapshot of the database, the audit on one of its own.

    Raises:
        StorageError: the database does not answer.
    """

    def read(tx: Tx) -> tuple[list[Breach], list[str], bool]:
        return _broken(tx), warnings.of_rows(tx), warnings.asks_people(tx)

    breaches, told, asks_people = store.read(read)
    audit = verify(store)
    if audit.faults:
        breaches.append(Breach(9, AUDIT, audit.faults))
    told += [*_unsealed(audit), *warnings.of_file(store, asks_people=asks_people)]
    ordered = tuple(sorted(breaches, key=lambda breach: breach.invariant))
    return Examination(ok=not ordered, breaches=ordered, warnings=tuple(told), checked=_checked())


def _broken(tx: Tx) -> list[Breach]:
    found = ((check, check.found(tx)) for check in CHECKS)
    return [Breach(check.invariant, check.title, _some(rows)) for check, rows in found if rows]


def _some(rows: list[str]) -> tuple[str, ...]:
    more = [f"and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else []
    return (*rows[:MOST_ROWS], *more)


def _checked() -> tuple[str, ...]:
    titles = [f"{check.invariant}: {check.title}" for check in CHECKS]
    return tuple(sorted([*titles, f"9: {AUDIT}"]))


def _unsealed(audit: Verification) -> list[str]:
    """On SQLite a row that is not sealed is a fault already."""
    if not audit.unsealed or audit.faults:
        return []
    return [f"{audit.unsealed} rows of the audit are not sealed yet: run agentpay reconcile, or start a server."]
