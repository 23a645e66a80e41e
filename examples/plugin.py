"""A payment provider of your own: prepaid vouchers, kept in a file. It passes `agentpay.testing.ProviderContract`.

    python examples/plugin.py [FOLDER]

What it shows: a key has one answer for ever, an answer is kept in the same write as the money it moved, and a look-up
by the key says what became of a request. `docs/providers.md` has the rest.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from agentpay import PaymentDeclined, PaymentManager
from agentpay.errors import ProviderError
from agentpay.providers.base import (
    Capabilities,
    Finding,
    Found,
    Health,
    Mode,
    NotFound,
    Order,
    Plain,
    Reference,
    RefundOrder,
    Request,
    Steps,
)  # fmt: skip
from agentpay.providers.outcomes import Declined, Outcome, Succeeded

VOUCHER = 100_00
"""What every customer has to begin with, in cents."""


class Vouchers(Plain):
    """The provider. What it cannot do (pages, saved methods, webhooks) `Plain` refuses for it."""

    name, account = "vouchers", "the-shop"
    mode: Mode = "test"

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self._open()) as db:
            db.execute("CREATE TABLE IF NOT EXISTS moves (key PRIMARY KEY, request, customer, charge, cents, code)")

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=5, isolation_level=None)

    def capabilities(self) -> Capabilities:
        lease = timedelta(seconds=10)  # a call waits 5 s for the file at the most
        return Capabilities(frozenset({"USD"}), frozenset({"self"}), lease=lease, consistent_lookup=True)

    def health(self) -> Health:
        return Health(self._path.is_file(), f"{self._path.name} is there.")

    def prepare(self, order: Order) -> Request:
        return {"customer": order.customer, "cents": order.money.minor, "payment": order.payment_id}

    def prepare_refund(self, order: RefundOrder) -> Request:
        return {"charge": order.charge_reference, "cents": order.money.minor, "refund": order.refund_id}

    def charge(self, order: Order, steps: Steps) -> Outcome:  # noqa: ARG002 - what is sent is what was stored
        return self._send(steps.key, steps.request)

    def refund(self, order: RefundOrder, steps: Steps) -> Outcome:  # noqa: ARG002
        return self._send(steps.key, steps.request)

    def lookup(self, reference: Reference) -> Finding:
        with closing(self._open()) as db:
            known = db.execute("SELECT code FROM moves WHERE key = ?", (reference.key,)).fetchone()
        return NotFound() if known is None else Found(_outcome(reference.key, known[0]))

    def _send(self, key: str, request: Request) -> Outcome:
        """What the provider's server does with a request: all of it in one transaction."""
        body = json.dumps(dict(request), sort_keys=True)
        with closing(self._open()) as db:
            db.execute("BEGIN IMMEDIATE")
            known = db.execute("SELECT request, code FROM moves WHERE key = ?", (key,)).fetchone()
            if known is not None and known[0] != body:
                raise ProviderError("The key was used with another request.")  # the engine takes it as Unknown
            if known is None:
                charge, code = request.get("charge"), _refusal(db, request)
                row = (key, body, request.get("customer"), charge, 0 if code else request["cents"], code)
                db.execute("INSERT INTO moves VALUES (?, ?, ?, ?, ?, ?)", row)
            db.execute("COMMIT")
        return _outcome(key, known[1] if known else code)


def _refusal(db: sqlite3.Connection, request: Request) -> str | None:
    """Why a request is declined; None where the money moves."""
    cents = int(str(request["cents"]))
    if "customer" in request:
        spent = "SELECT coalesce(sum(cents), 0) FROM moves WHERE customer = ?"
        return "voucher_empty" if db.execute(spent, (request["customer"],)).fetchone()[0] + cents > VOUCHER else None
    paid = db.execute("SELECT cents FROM moves WHERE key = ?", (request["charge"],)).fetchone()
    back = "SELECT coalesce(sum(cents), 0) FROM moves WHERE charge = ?"
    refunded = db.execute(back, (request["charge"],)).fetchone()[0]
    return "more_than_is_left" if paid is None or refunded + cents > paid[0] else None


def _outcome(reference: str, code: str | None) -> Outcome:
    return Succeeded(reference) if code is None else Declined(code, f"The voucher says {code}.", reference)


def main(folder: Path) -> None:
    """Run the example on `folder/agentpay.db`."""
    vouchers = Vouchers(folder / "vouchers.db")
    with PaymentManager(f"sqlite:///{folder / 'agentpay.db'}", provider=vouchers) as manager:
        paid = manager.charge("alice", "80.00", "USD", idempotency_key="order-1")
        print(f"Charged {paid.amount} {paid.currency} by {paid.provider}: {paid.status}")
        back = manager.refund(paid.id, "30.00", idempotency_key="refund-1")
        print(f"Refunded {back.amount} {back.currency}: {back.status}")
        try:
            manager.charge("alice", "80.00", "USD", idempotency_key="order-2")
        except PaymentDeclined as error:
            print(f"Declined: {error.decline_code}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
