"""Attempts: each request to a provider is a row with a key of its own, committed before it is sent."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, cast

from agentpay.canonical import canonical
from agentpay.errors import Conflict
from agentpay.ids import Ids
from agentpay.payments import queries
from agentpay.payments.asks import Kind, Made, Started
from agentpay.payments.tables import AttemptRow
from agentpay.providers.base import PaymentProvider, Reference, Request
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx

_MARGIN: Final = timedelta(milliseconds=500)
"""How much longer than the provider's lease an attempt is trusted to be under way, at the least."""


@dataclass(frozen=True)
class Attempts:
    """Makes attempts. Keys derive from the installation's secret, so a restored database sends the same ones."""

    ids: Ids
    installation: str
    secret: str = field(repr=False)
    monotonic: Callable[[], float]

    def open(
        self,
        tx: Tx,
        subject: Row,
        kind: Kind,
        operation: str,
        step: str,
        provider: PaymentProvider,
        request: Request,
    ) -> Made:
        """The next attempt of a payment or refund. It must be committed before it is sent."""
        earlier = queries.attempts(tx, subject.id)
        number = len(earlier) + 1
        now = tx.now(*(row.sent_at for row in earlier))
        for row in earlier:
            if row.next_check_at is not None:
                queries.update_attempt(tx, row.id, next_check_at=None)
        attempt_id, key = self.ids.new("att"), self._key(subject, operation, number)
        lease_until = now + lease(provider)
        tx.insert(
            AttemptRow,
            id=attempt_id,
            subject_id=subject.id,
            subject_kind="refund" if kind == "refund" else "charge",
            number=number,
            step=step,
            provider=provider.name,
            provider_key=key,
            request=canonical(request),
            outcome="sent",
            sent_at=now,
            lease_until=lease_until,
            next_check_at=lease_until,
        )
        return Made(attempt_id, key, self.monotonic(), lease_until)

    def still_ours(self, store: Store, made: Made, provider: PaymentProvider) -> bool:
        """Whether a committed attempt may be sent now. One that waited for long takes its lease anew first: meanwhile a
        look-up may have proved that it was never sent.

        A process that was stopped or starved learns it from the clock that never jumps; a machine that slept, while
        that clock stood still, from the time of the database.
        """
        waited = timedelta(seconds=self.monotonic() - made.made_at)
        left = made.lease_until - store.read(lambda tx: tx.now())
        enough = margin(provider) / 2
        if waited < enough and left > lease(provider) - enough:
            return True
        return store.write(lambda tx: self._renew(tx, made, provider))

    def _renew(self, tx: Tx, made: Made, provider: PaymentProvider) -> bool:
        row = queries.attempt(tx, made.id, lock=True)
        if row.outcome != "sent" or row.lease_until != made.lease_until:
            return False
        until = tx.now(row.sent_at) + lease(provider)
        queries.update_attempt(tx, made.id, lease_until=until, next_check_at=until)
        return True

    def _key(self, subject: Row, operation: str, number: int) -> str:
        parts = [self.installation, subject.principal_kind, subject.principal_id, operation, subject.idempotency_key]
        message = canonical({"parts": parts, "attempt": str(number)}).encode("utf-8", "surrogatepass")
        return "agentpay_" + hmac.new(self.secret.encode(), message, hashlib.sha256).hexdigest()


class RecordedSteps:
    """The requests of one charge or refund as a provider makes them: each is committed before it may be sent."""

    def __init__(self, store: Store, attempts: Attempts, started: Started) -> None:
        self._store = store
        self._attempts = attempts
        self._started = started
        self.attempt_id = started.attempt.id
        self._key = started.attempt.key
        self._request = started.request

    @property
    def key(self) -> str:
        """The provider key of the current request."""
        return self._key

    @property
    def request(self) -> Request:
        """The current request."""
        return self._request

    def record(self, name: str, request: Request, *, reference: str) -> None:
        """Commit the next request, and that the one before it made `reference`.

        Raises:
            Conflict: the attempt was settled by somebody else meanwhile; nothing more may be sent for it.
        """
        made = self._store.write(lambda tx: self._next(tx, name, request, reference))
        if made is None or not self._attempts.still_ours(self._store, made, self._started.provider):
            raise Conflict("The attempt was settled meanwhile.")
        self.attempt_id, self._key = made.id, made.key
        self._request = request

    def _next(self, tx: Tx, name: str, request: Request, reference: str) -> Made | None:
        started = self._started
        refund = started.kind == "refund"
        subject = (queries.refund if refund else queries.payment)(tx, started.subject_id, lock=True)
        if queries.attempt(tx, self.attempt_id).outcome != "sent":
            return None
        now = tx.now()
        queries.update_attempt(tx, self.attempt_id, outcome="pending", reference=reference, settled_at=now)
        operation = "refund" if refund else subject.operation
        return self._attempts.open(tx, subject, started.kind, operation, name, started.provider, request)


def stored_request(attempt: Row) -> Request:
    """The request of an attempt, exactly as it was committed."""
    return cast(Request, json.loads(attempt.request))


def reference_to(attempt: Row, reference: str | None) -> Reference:
    """By what a provider may find an attempt; `reference` is the provider's id, where one is known."""
    return Reference(
        key=attempt.provider_key,
        kind=attempt.subject_kind,
        step=attempt.step,
        request=stored_request(attempt),
        reference=reference,
        sent_at=attempt.sent_at,
    )


def newest(attempts: Sequence[Row]) -> Row | None:
    """The attempt that decides how a payment stands."""
    return attempts[-1] if attempts else None


def begun_before(attempt: Row, attempts: Sequence[Row]) -> Row | None:
    """The earlier step of the same charge that made something at the provider which may still be paid."""
    begun = all_begun_before(attempt, attempts)
    return begun[-1] if begun else None


def all_begun_before(attempt: Row, attempts: Sequence[Row]) -> list[Row]:
    """Every such step, the first first. Not each of their requests needs to have arrived: what one began stands for all
    that went on with it."""
    return [row for row in attempts if row.number < attempt.number and row.outcome in ("pending", "requires_action")]


def margin(provider: PaymentProvider) -> timedelta:
    """What is added to a provider's lease: the time that may pass between committing a request and sending it."""
    return max(_MARGIN, provider.capabilities().lease / 10)


def lease(provider: PaymentProvider) -> timedelta:
    """How long an attempt may be under way after it was committed."""
    return provider.capabilities().lease + margin(provider)
