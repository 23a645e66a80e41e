"""What must hold in any database after any test."""

from __future__ import annotations

from agentpay.audit.verify import verify
from agentpay.ledger import queries as ledger
from agentpay.storage import Store


def check_invariants(store: Store) -> None:
    """Assert the invariants of the books and the audit. The `store` fixture calls it after every test.

    Once `agentpay.doctor` has its checks, they are called here instead.
    """
    unbalanced, wrong = store.read(lambda tx: (ledger.unbalanced(tx), ledger.wrong_balances(tx)))
    assert not unbalanced, f"ledger transactions that do not add up to nothing: {unbalanced}"
    assert not wrong, f"running balances that are not the sum of their entries: {wrong}"
    found = verify(store)
    assert found.ok, f"the audit does not verify: {found.faults}"
