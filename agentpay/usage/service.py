"""`UsageTracker`: recording, reserving and reading usage, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from agentpay.customers import service as customers
from agentpay.errors import AgentPayError
from agentpay.ids import Ids
from agentpay.principal import OPERATOR, Principal
from agentpay.storage import Store, Tx
from agentpay.storage.keys import checked_key
from agentpay.usage import recording, reporting, reserving
from agentpay.usage.models import Usage, UsageRecord
from agentpay.usage.recording import Permit
from agentpay.usage.taking import Cap, asked
from agentpay_policies.money import Amount
from agentpay_policies.text import identifier

T = TypeVar("T")

DEFAULT_LIFE: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class Reservation:
    """Units that are held: commit what was used of them, or release them. Until then nobody else gets them.

    `state` is that of the moment at which it was made or found: open, or committed on a repeat.
    """

    id: str
    customer: str
    feature: str
    quantity: int
    state: str
    expires_at: datetime
    replayed: bool = False
    _tracker: UsageTracker | None = field(default=None, repr=False, compare=False)
    _principal: Principal = field(default=OPERATOR, repr=False, compare=False)

    def commit(self, quantity: int | None = None) -> UsageRecord:
        """Record what was used, all of it unless a smaller quantity is given; the rest is given back.

        Raises:
            ReservationClosed: it was released, has expired, or was committed with another quantity.
            ValidationError: more than was reserved, or nothing.
        """
        return self._bound().commit(self.id, quantity, principal=self._principal)

    def release(self) -> None:
        """Give back what is held. Releasing twice, or what has expired, does nothing.

        Raises:
            ReservationClosed: it was committed.
        """
        self._bound().release(self.id, principal=self._principal)

    def _bound(self) -> UsageTracker:
        assert self._tracker is not None, "a reservation comes from UsageTracker.reserve"
        return self._tracker


class UsageTracker:
    """The usage of one store. `default_plan` is what a customer without a subscription gets."""

    def __init__(self, store: Store, *, ids: Ids, default_plan: str | None = None) -> None:
        self._store = store
        self._ids = ids
        self._default = default_plan

    @property
    def default_plan(self) -> str | None:
        """The id of the plan that a customer without a subscription gets."""
        return self._default

    def record(
        self,
        customer: str,
        feature: str,
        quantity: int = 1,
        *,
        idempotency_key: str,
        cost: Amount | None = None,
        currency: str | None = None,
        principal: Principal = OPERATOR,
        permit: Permit | None = None,
    ) -> UsageRecord:
        """Record that a customer used a feature; the same key again changes nothing.

        A cost of one's own replaces the computed price; without a currency it is in the plan's, else in USD. What no
        plan names is recorded without a limit. `permit` is asked what a new use costs before it is recorded.

        Raises:
            UsageLimitExceeded: the quantity does not fit; `retry_at` is when the limit resets. Nothing is recorded.
            FeatureNotAvailable: only plans that the customer lacks have the feature.
            SubscriptionExpired: the customer had one of them, and it has ended or was not renewed.
            CreditsExhausted: the feature is paid from credits, and too few are left.
            IdempotencyConflict: the key names another use.
            ValidationError: an argument is none.
        """
        wanted = asked(customer, feature, quantity, cost, currency)
        key = checked_key(idempotency_key)

        def write(tx: Tx) -> UsageRecord | AgentPayError:
            return recording.record(
                tx,
                wanted,
                idempotency_key=key,
                principal=principal,
                ids=self._ids,
                default_plan=self._default,
                permit=permit,
            )

        return self._write(write)

    def reserve(
        self,
        customer: str,
        feature: str,
        quantity: int = 1,
        *,
        idempotency_key: str,
        expires_in: timedelta = DEFAULT_LIFE,
        cap: Cap | None = None,
        principal: Principal = OPERATOR,
    ) -> Reservation:
        """Hold units before they are used. After `expires_in` they are free again, and the reservation is refused.

        The same key again gives the reservation as it stands; where it was released or has expired, the units are held
        anew. With a `cap` of the caller's own no plan is asked: it is the only limit.

        Raises:
            PaymentRequired: one of its kinds, as `record`; nothing is held.
            IdempotencyConflict: the key names another reservation.
            ValidationError: an argument is none.
        """
        wanted = replace(asked(customer, feature, quantity), cap=cap)
        key = checked_key(idempotency_key)
        life = reserving.checked_life(expires_in)

        def write(tx: Tx) -> reserving.Reserved | AgentPayError:
            return reserving.reserve(
                tx,
                wanted,
                idempotency_key=key,
                expires_in=life,
                principal=principal,
                ids=self._ids,
                default_plan=self._default,
            )

        made = self._write(write)
        return Reservation(
            id=made.id,
            customer=made.customer,
            feature=made.feature,
            quantity=made.quantity,
            state=made.state,
            expires_at=made.expires_at,
            replayed=made.replayed,
            _tracker=self,
            _principal=principal,
        )

    def commit(
        self, reservation_id: str, quantity: int | None = None, *, principal: Principal = OPERATOR
    ) -> UsageRecord:
        """Record what was reserved, or less of it: see `Reservation.commit`.

        Raises:
            NotFound: there is no such reservation.
        """
        checked = identifier(reservation_id, "reservation")
        return self._store.write(
            lambda tx: reserving.commit(
                tx, checked, quantity, principal=principal, ids=self._ids, default_plan=self._default
            )
        )

    def release(self, reservation_id: str, *, principal: Principal = OPERATOR) -> None:
        """Give back what is reserved: see `Reservation.release`.

        Raises:
            NotFound: there is no such reservation.
        """
        checked = identifier(reservation_id, "reservation")
        self._store.write(lambda tx: reserving.release(tx, checked, principal=principal))

    def get(
        self,
        customer: str,
        feature: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Usage:
        """What a customer used and has left, of one feature or of all; `since` and `until` bound what was recorded.

        A customer whom nobody knows yet has used nothing. Reading makes no customer.
        """

        def read(tx: Tx) -> Usage:
            found = customers.known(tx, customer)
            now = tx.now()
            made = reporting.usage(tx, found, feature, default_plan=self._default, now=now, since=since, until=until)
            return made if found is not None else replace(made, customer=customer)

        return self._store.read(read)

    def _write(self, fn: Callable[[Tx], T | AgentPayError]) -> T:
        """Run a write whose refusal is a value, and raise that after the commit."""
        made = self._store.write(fn)
        if isinstance(made, AgentPayError):
            raise made
        return made
