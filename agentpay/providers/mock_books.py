"""The mock's server side: the rules by which its books take requests. Its own idea of the money, for an auditor.

Each request is one transaction: the key is claimed, the rule applied, the movement written and the answer stored, or
nothing of it. The same key with the same request gets the stored answer and moves nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from agentpay.canonical import canonical, digest
from agentpay.clock import Clock
from agentpay.errors import Conflict, NotFound, ProviderError
from agentpay.providers import mock_script
from agentpay.providers.mock_records import (
    Answer,
    Completion,
    MockCharge,
    MockRefund,
    Movement,
    Reply,
    Row,
    Status,
    as_charge,
    as_movement,
    as_refund,
    dump,
    load,
)
from agentpay.providers.mock_script import PLAIN, Scenario
from agentpay.providers.mock_store import CHARGES, MOVEMENTS, REFUNDS, REQUESTS, BooksStore
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee

ORDER_PREFIX: Final = "mord_"
"""The reference of a charge that goes on by a capture: `prepare_resume` tells it by this."""

_CHARGE_PREFIX: Final = "mch_"
_REFUND_PREFIX: Final = "mre_"
_URL: Final = "https://mock.invalid/act/"


class TooLate(Exception):
    """The request was not taken within the time that its sender waits. Nothing was done by this delivery."""


class Books:
    """The books, and the only code that writes them."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._store = BooksStore(url)
        self._clock = clock

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """One write of the books, for what is done at the provider itself."""
        return self._store.writing()

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """One look into the books."""
        return self._store.reading()

    def close(self) -> None:
        """Close every connection; private books are removed."""
        self._store.close()

    # -- requests ------------------------------------------------------------------------------------------------

    def submit(
        self, key: str, request: Mapping[str, object], *, scenario: Scenario, sent_at: datetime, wait: timedelta
    ) -> Reply:
        """Take one request. Its deadline is checked under the lock: after `sent_at + wait` no money moves by it.

        Raises:
            TooLate: the sender has given up by now.
            ProviderError: the key was used with another request.
            StorageError: the books did not answer; nothing is proved.
        """
        hashed = digest("agentpay.mock.request", request)
        with self._store.writing() as conn:
            now = self._clock.now()
            stored = self._claim(conn, key, hashed, request, now)
            if stored is not None:
                return Reply(stored, replayed=True)
            if now - sent_at > wait:
                raise TooLate
            reply = self._apply(conn, key, request, scenario, now)
            update(conn, REQUESTS, REQUESTS.c.key == key, answer=dump(reply.answer), subject_id=reply.answer.reference)
            return reply

    def _claim(
        self, conn: sa.Connection, key: str, hashed: str, request: Mapping[str, object], now: datetime
    ) -> Answer | None:
        """Enter the key, or give the answer that it got. On PostgreSQL this waits for a delivery in flight."""
        insert = sqlite.insert if self._store.is_sqlite else postgresql.insert
        row = {
            "key": key,
            "hash": hashed,
            "op": str(request["op"]),
            "body": canonical(request),
            "subject_id": "",
            "at": now,
        }
        claimed = insert(REQUESTS).values(row).on_conflict_do_nothing().returning(REQUESTS.c.key)
        if conn.execute(claimed).first() is not None:
            return None
        found = conn.execute(sa.select(REQUESTS).where(REQUESTS.c.key == key)).one()
        if found.hash != hashed:
            raise ProviderError(
                "idempotency_error: the key was used with another request. Nothing was done by this one."
            )
        return load(found.answer)

    def _apply(
        self, conn: sa.Connection, key: str, request: Mapping[str, object], scenario: Scenario, now: datetime
    ) -> Reply:
        op = request["op"]
        if op in ("charge", "create"):
            return _take_charge(conn, key, request, scenario, now)
        if op == "refund":
            return _take_refund(conn, key, request, scenario, now)
        charge = _locked(conn, CHARGES, str(request["charge"]))
        if charge is None:
            return Reply(Answer("declined", str(request["charge"]), code="charge_unknown"))
        return _confirm(conn, charge) if op == "confirm" else _capture(conn, charge, now)

    # -- reading -------------------------------------------------------------------------------------------------

    def scenario_of(self, reference: str) -> Scenario:
        """The scenario of a charge that is under way."""
        with self._store.reading() as conn:
            name = conn.execute(sa.select(CHARGES.c.scenario).where(CHARGES.c.id == reference)).scalar()
        return PLAIN if name is None else mock_script.named(name)

    def find(self, key: str) -> Answer | None:
        """What became of a request: the present state of the charge or refund that it belongs to.

        By its key only: that a charge exists does not prove that a later request for it arrived.
        """
        with self._store.reading() as conn:
            subject = conn.execute(sa.select(REQUESTS.c.subject_id).where(REQUESTS.c.key == key)).scalar()
            return None if subject is None else _present(conn, subject)

    def state(self, reference: str) -> Answer | None:
        """The present state of a charge or refund, by the provider's own id."""
        with self._store.reading() as conn:
            return _present(conn, reference)

    def ping(self) -> None:
        """Read nothing much.

        Raises:
            StorageError: the books do not answer.
        """
        with self._store.reading() as conn:
            conn.execute(sa.select(MOVEMENTS.c.seq).limit(1)).first()

    def charges(self) -> list[MockCharge]:
        """Every charge, in the order they were made."""
        with self._store.reading() as conn:
            return [as_charge(row) for row in conn.execute(sa.select(CHARGES).order_by(CHARGES.c.at, CHARGES.c.id))]

    def refunds(self) -> list[MockRefund]:
        """Every refund, in the order they were made."""
        with self._store.reading() as conn:
            return [as_refund(row) for row in conn.execute(sa.select(REFUNDS).order_by(REFUNDS.c.at, REFUNDS.c.id))]

    def movements(self) -> list[Movement]:
        """Every movement of money, in the order they happened."""
        with self._store.reading() as conn:
            return [as_movement(row) for row in conn.execute(sa.select(MOVEMENTS).order_by(MOVEMENTS.c.seq))]

    def requests(self) -> list[tuple[str, Mapping[str, object]]]:
        """Every request that was taken, as (key, request)."""
        with self._store.reading() as conn:
            rows = conn.execute(sa.select(REQUESTS.c.key, REQUESTS.c.body).order_by(REQUESTS.c.at, REQUESTS.c.key))
            return [(row.key, json.loads(row.body)) for row in rows]

    # -- what happens by itself at a real provider ------------------------------------------------------------------

    def complete(self, reference: str, status: Completion) -> None:
        """Let a pending charge or refund come to its end.

        Raises:
            NotFound: there is none of that reference.
            Conflict: it is not pending.
        """
        with self._store.writing() as conn:
            now = self._clock.now()
            if reference.startswith(_REFUND_PREFIX):
                refund = required(conn, REFUNDS, reference, {"pending"})
                charge = required(conn, CHARGES, refund.charge_id, {"succeeded"})
                _end_refund(conn, charge, refund, status, now)
            else:
                _end_charge(conn, required(conn, CHARGES, reference, {"pending"}), status, "generic_decline", now)

    def customer_acts(self, reference: str, *, approve: bool) -> None:
        """Let the customer do what a charge waits for, or refuse it.

        Raises:
            NotFound: there is none of that reference.
            Conflict: it does not wait for its customer.
        """
        with self._store.writing() as conn:
            charge = required(conn, CHARGES, reference, {"requires_action"})
            if approve and charge.id.startswith(ORDER_PREFIX):
                update(conn, CHARGES, CHARGES.c.id == reference, status="approved")
            else:
                refused = "customer_refused" if not approve else charge.code
                end: Completion = "declined" if refused else "succeeded"
                _end_charge(conn, charge, end, refused, self._clock.now())


# -- the rules -------------------------------------------------------------------------------------------------------


def _take_charge(
    conn: sa.Connection, key: str, request: Mapping[str, object], scenario: Scenario, now: datetime
) -> Reply:
    money = Money(str(request["amount"]), str(request["currency"]))
    payee = Payee.parse(request["payee"])
    goes_on = "page" not in request and (request["op"] == "create" or scenario.answer == "act")
    reference = _id_for(ORDER_PREFIX if goes_on else _CHARGE_PREFIX, key)
    method = request.get("method")
    row = {
        "id": reference,
        "key": key,
        "payment_id": str(request["payment_id"]),
        "customer": str(request["customer"]),
        "payee": payee.canonical,
        "direction": payee.direction,
        "method": None if method is None else str(method),
        "amount": money.minor,
        "currency": money.currency,
        "captured": 0,
        "refunded": 0,
        "status": "requires_action" if "page" in request else _first_status(str(request["op"]), scenario),
        "code": scenario.code,
        "scenario": scenario.name,
        "at": now,
    }
    conn.execute(sa.insert(CHARGES).values(row))
    charge = conn.execute(sa.select(CHARGES).where(CHARGES.c.id == reference)).one()
    if charge.status != "succeeded":
        return Reply(charge_answer(charge))
    return _moved(conn, charge, now)


def _first_status(op: str, scenario: Scenario) -> Status:
    if op == "create":
        return "created"
    by_answer: dict[str, Status] = {"succeed": "succeeded", "decline": "declined", "pending": "pending"}
    return by_answer.get(scenario.answer, "requires_action")


def _confirm(conn: sa.Connection, charge: Row) -> Reply:
    if charge.status == "created":
        update(conn, CHARGES, CHARGES.c.id == charge.id, status="confirmed")
    return Reply(_present_required(conn, charge.id))


def _capture(conn: sa.Connection, charge: Row, now: datetime) -> Reply:
    if charge.status in ("created", "confirmed", "approved"):
        return _moved(conn, charge, now)
    return Reply(charge_answer(charge))


def _moved(conn: sa.Connection, charge: Row, now: datetime) -> Reply:
    """Move the money of a charge, once: the row is locked, and its status says that it was not moved."""
    _end_charge(conn, charge, "succeeded", None, now)
    return Reply(_present_required(conn, charge.id), moved=True)


def _end_charge(conn: sa.Connection, charge: Row, status: Completion, code: str | None, now: datetime) -> None:
    if status == "declined":
        update(conn, CHARGES, CHARGES.c.id == charge.id, status="declined", code=code)
        return
    update(conn, CHARGES, CHARGES.c.id == charge.id, status="succeeded", code=None, captured=charge.amount)
    send = charge.direction == "send"
    move(
        conn,
        kind="send" if send else "charge",
        charge_id=charge.id,
        refund_id=None,
        key=charge.key,
        source="wallet" if send else f"customer:{charge.customer}",
        target=receiver(charge),
        amount=charge.amount,
        currency=charge.currency,
        at=now,
    )


def _take_refund(
    conn: sa.Connection, key: str, request: Mapping[str, object], scenario: Scenario, now: datetime
) -> Reply:
    money = Money(str(request["amount"]), str(request["currency"]))
    reference = _id_for(_REFUND_PREFIX, key)
    charge = _locked(conn, CHARGES, str(request["charge"]))
    code = _refusal(charge, money) or scenario.code
    status: Status = "declined" if code else ("pending" if scenario.answer == "pending" else "succeeded")
    row = {
        "id": reference,
        "key": key,
        "charge_id": str(request["charge"]),
        "amount": money.minor,
        "currency": money.currency,
        "status": "pending" if status == "succeeded" else status,
        "code": code,
        "scenario": scenario.name,
        "at": now,
    }
    conn.execute(sa.insert(REFUNDS).values(row))
    if charge is None or status == "declined":
        return Reply(Answer("declined", reference, code=code))
    update(conn, CHARGES, CHARGES.c.id == charge.id, refunded=charge.refunded + money.minor)
    if status == "succeeded":
        refund = conn.execute(sa.select(REFUNDS).where(REFUNDS.c.id == reference)).one()
        _end_refund(conn, charge, refund, "succeeded", now)
    return Reply(Answer(status, reference), moved=status == "succeeded")


def _refusal(charge: Row | None, money: Money) -> str | None:
    """Why the books refuse a refund, as a decline code. Pending refunds count: they may still succeed."""
    if charge is None:
        return "charge_unknown"
    if charge.direction == "send":
        return "not_refundable"
    if charge.status != "succeeded":
        return "charge_not_captured"
    if charge.currency != money.currency:
        return "currency_mismatch"
    return "refund_exceeds_charge" if charge.refunded + money.minor > charge.captured else None


def _end_refund(conn: sa.Connection, charge: Row, refund: Row, status: Completion, now: datetime) -> None:
    if status == "declined":
        update(conn, REFUNDS, REFUNDS.c.id == refund.id, status="declined", code="refund_failed")
        update(conn, CHARGES, CHARGES.c.id == charge.id, refunded=CHARGES.c.refunded - refund.amount)
        return
    update(conn, REFUNDS, REFUNDS.c.id == refund.id, status="succeeded")
    move(
        conn,
        kind="refund",
        charge_id=charge.id,
        refund_id=refund.id,
        key=refund.key,
        source=receiver(charge),
        target=f"customer:{charge.customer}",
        amount=refund.amount,
        currency=refund.currency,
        at=now,
    )


def receiver(charge: Row) -> str:
    return "clearing" if charge.payee == "self" else str(charge.payee)


def move(conn: sa.Connection, **values: object) -> None:
    conn.execute(sa.insert(MOVEMENTS).values(values))


# -- rows and answers ------------------------------------------------------------------------------------------------


def _id_for(prefix: str, key: str) -> str:
    """Made from the key, so that no randomness is needed and a repeat can be seen."""
    return prefix + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _locked(conn: sa.Connection, table: sa.Table, reference: str) -> Row | None:
    statement = sa.select(table).where(table.c.id == reference)
    return conn.execute(statement.with_for_update() if conn.dialect.name == "postgresql" else statement).first()


def required(conn: sa.Connection, table: sa.Table, reference: str, statuses: set[str]) -> Row:
    row = _locked(conn, table, reference)
    if row is None:
        raise NotFound(f"The mock has no {reference[:60]!r}.")
    if row.status not in statuses:
        raise Conflict(f"{reference} is {row.status} at the mock, not {' or '.join(sorted(statuses))}.")
    return row


def update(conn: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool], **values: object) -> None:
    conn.execute(sa.update(table).where(where).values(values))


def _present(conn: sa.Connection, reference: str) -> Answer | None:
    if reference.startswith(_REFUND_PREFIX):
        refund = conn.execute(sa.select(REFUNDS).where(REFUNDS.c.id == reference)).first()
        return None if refund is None else Answer(refund.status, refund.id, code=refund.code)
    charge = conn.execute(sa.select(CHARGES).where(CHARGES.c.id == reference)).first()
    return None if charge is None else charge_answer(charge)


def _present_required(conn: sa.Connection, reference: str) -> Answer:
    found = _present(conn, reference)
    assert found is not None
    return found


def charge_answer(charge: Row) -> Answer:
    scenario = mock_script.named(charge.scenario)
    waits = charge.status in ("requires_action", "approved")
    after_create: str = "confirm" if scenario.steps == 3 else "capture"
    following = {"created": after_create, "confirmed": "capture"}
    return Answer(
        charge.status,
        charge.id,
        code=charge.code if charge.status == "declined" else None,
        next=following.get(charge.status),
        url=f"{_URL}{charge.id}" if waits and scenario.instructions is None else None,
        instructions=scenario.instructions if waits else None,
    )
