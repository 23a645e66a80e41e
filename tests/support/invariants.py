"""What must hold in any database after any test: everything that the doctor knows."""

from __future__ import annotations

import sqlalchemy as sa

from agentpay.doctor.checks import CHECKS, Breach, examine
from agentpay.payments.tables import PaymentRow
from agentpay.storage import Store
from agentpay.storage.types import table


def check_invariants(store: Store) -> None:
    """Assert that the doctor finds no breach. The `store` fixture calls it after every test.

    A test of one domain alone makes up the payments that it refers to: where there is no payment at all, the checks
    that follow references across domains are left out.
    """
    breaches = list(examine(store).breaches)
    if not _has_payments(store):
        across = {check.title for check in CHECKS if check.across}
        breaches = [breach for breach in breaches if breach.what not in across]
    assert not breaches, "\n".join(_shown(breach) for breach in breaches)


def _has_payments(store: Store) -> bool:
    return store.read(lambda tx: tx.first(sa.select(table(PaymentRow)).limit(1))) is not None


def _shown(breach: Breach) -> str:
    return "\n    ".join([f"invariant {breach.invariant} is broken: {breach.what}", *breach.rows])
