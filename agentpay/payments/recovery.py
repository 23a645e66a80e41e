"""Recovery: what became of attempts whose answer was lost. It looks up; it never starts anything.

What a provider finds nowhere, and can be sent again byte for byte without any second effect (`Resends`), is sent again
while its payment may still run and its agent is not halted.

"Not found" proves that nothing was sent only after the attempt's lease, and from a provider whose look-ups are
consistent. Otherwise an unknown outcome stays unknown, and is looked up again after five minutes, an hour, then daily.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from agentpay.errors import ProviderUnknown, StorageError
from agentpay.payments import queries
from agentpay.payments.attempts import begun_before, reference_to
from agentpay.payments.settling import Settling
from agentpay.providers.base import Finding, Found, NoAnswer, NotFound, PaymentProvider, Resends
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Pending, RequiresAction, Succeeded, Unknown
from agentpay.providers.registry import Providers
from agentpay.spending import halts
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReconcileReport:
    """What a pass did: how many attempts were looked up, how many are settled now, and how many stay open."""

    looked_up: int
    settled: int
    still_open: int
    more: bool


@dataclass(frozen=True)
class Recovery:
    """Looks attempts up and settles what it finds."""

    store: Store
    providers: Providers
    settling: Settling
    monotonic: Callable[[], float]

    def reconcile(self, *, limit: int = 20, seconds: float = 2.0, every: bool = False) -> ReconcileReport:
        """Look up the attempts that are due, or every open one: at most `limit`, and for about so many seconds.

        Those of a provider that is not enabled wait until it is, and keep no other from its turn.
        """
        names = self.providers.names
        due = self.store.read(lambda tx: queries.due(tx, None if every else tx.now(), limit, names))
        end = self.monotonic() + seconds
        looked_up = settled = 0
        for attempt in due:
            if looked_up and self.monotonic() > end:
                break
            looked_up += 1
            settled += self._recovered(attempt)
        return ReconcileReport(looked_up, settled, looked_up - settled, more=looked_up < len(due) or len(due) == limit)

    def _recovered(self, attempt: Row) -> bool:
        """Recover one of many: whatever keeps it from being settled, the others have their turn."""
        try:
            return self._recover(attempt)
        except StorageError as exc:
            logger.error("attempt %s cannot be settled: %s", attempt.id, exc.code)
            self.store.write(lambda tx: self.settling.postpone(tx, attempt.id))
            return False

    def recover(self, subject_id: str) -> bool:
        """Look up the newest attempt of one payment or refund, if it is open. True where it is settled now."""
        rows = self.store.read(lambda tx: queries.attempts(tx, subject_id))
        if not rows or rows[-1].outcome not in queries.OPEN_OUTCOMES:
            return False
        return self._recover(rows[-1])

    def answered(self, subject_id: str) -> bool:
        """Look up the newest attempt of one payment or refund, if it is open, because news of it came; only what its
        provider knows of it is written down. True where it knew it."""
        rows = self.store.read(lambda tx: queries.attempts(tx, subject_id))
        if not rows or rows[-1].outcome not in queries.OPEN_OUTCOMES or rows[-1].provider not in self.providers:
            return False
        attempt, now = rows[-1], self.store.read(lambda tx: tx.now())
        finding = _looked_up(self.providers.get(attempt.provider), attempt, attempt.reference)
        if not isinstance(finding, Found):
            return False
        outcome = finding.outcome
        under_way = attempt.outcome == "sent" and now < attempt.lease_until
        if not under_way or isinstance(outcome, Succeeded | Declined):
            self.store.write(lambda tx: self.settling.settle(tx, attempt.id, outcome, lease=attempt.lease_until))
        return True

    def _recover(self, attempt: Row) -> bool:
        try:
            provider = self.providers.get(attempt.provider)
        except ProviderUnknown:
            logger.warning("provider %s of attempt %s is not enabled", attempt.provider, attempt.id)
            return False
        outcome = self._outcome(attempt, provider)
        if outcome is None:
            return False
        self.store.write(lambda tx: self.settling.settle(tx, attempt.id, outcome, lease=attempt.lease_until))
        return self.store.read(lambda tx: queries.attempt(tx, attempt.id).outcome not in queries.OPEN_OUTCOMES)

    def _outcome(self, attempt: Row, provider: PaymentProvider) -> Outcome | None:
        """What a look-up says of an attempt; None where it must be left as it is for now."""
        now = self.store.read(lambda tx: tx.now())  # a look-up proves what was so when it was begun
        finding = _looked_up(provider, attempt, attempt.reference)
        under_way = attempt.outcome == "sent" and now < attempt.lease_until
        match finding:
            case Found(Unknown()) if not under_way and isinstance(provider, Resends) and self._may_resend(attempt):
                return _resent(provider, attempt)
            case Found(outcome):
                # Within its lease the call itself may go on with further steps: only what is final is taken from it.
                return None if under_way and not isinstance(outcome, Succeeded | Declined) else outcome
            case NotFound():
                return self._not_found(attempt, provider, now)
            case NoAnswer(detail):
                return None if under_way else _still(attempt, detail)

    def _may_resend(self, attempt: Row) -> bool:
        """Whether stored bytes may be sent again: the payment may still run, and whoever asked for it is not halted."""

        def read(tx: Tx) -> bool:
            refund = attempt.subject_id.startswith("ref_")
            subject = (queries.refund if refund else queries.payment)(tx, attempt.subject_id)
            stopped = {halt.scope for halt in halts.halts(tx)} if subject.principal_kind == "agent" else set()
            mine = {halts.scope_of(None), halts.scope_of(subject.principal_id)}
            return subject.status in ("pending", "unknown") and not stopped & mine

        return self.store.read(read)

    def _not_found(self, attempt: Row, provider: PaymentProvider, now: datetime) -> Outcome | None:
        if now < attempt.lease_until:
            return None
        if not provider.capabilities().consistent_lookup or attempt.outcome in ("pending", "requires_action"):
            return _still(attempt, "the look-up found nothing")
        started = self._started_object(attempt)
        if started is None:
            return NotSent(evidence="a consistent look-up after the lease found nothing")
        earlier = _looked_up(provider, started, started.reference)
        return earlier.outcome if isinstance(earlier, Found) else _still(attempt, "the earlier step was not found")

    def _started_object(self, attempt: Row) -> Row | None:
        return begun_before(attempt, self.store.read(lambda tx: queries.attempts(tx, attempt.subject_id)))


def _resent(provider: Resends, attempt: Row) -> Outcome:
    """Have the stored request of an attempt sent again, as it is."""
    try:
        return provider.resend(reference_to(attempt, attempt.reference))
    except Exception as exc:  # noqa: BLE001 - the named seam: whatever a provider raises, the money may have moved
        logger.warning("sending attempt %s again raised %s", attempt.id, type(exc).__name__)
        return Unknown(evidence=f"{type(exc).__name__} when it was sent again")


def _looked_up(provider: PaymentProvider, attempt: Row, reference: str | None) -> Finding:
    try:
        return provider.lookup(reference_to(attempt, reference))
    except Exception as exc:  # noqa: BLE001 - the named seam: a look-up that fails says nothing
        logger.warning("look-up of attempt %s at %s raised %s", attempt.id, provider.name, type(exc).__name__)
        return NoAnswer(type(exc).__name__)


def _still(attempt: Row, why: str) -> Outcome:
    """The attempt stays as it is: an open object stays open, everything else is unknown."""
    if attempt.outcome == "pending" and attempt.reference is not None:
        return Pending(attempt.reference)
    if attempt.outcome == "requires_action" and attempt.reference is not None:
        return RequiresAction(attempt.reference)
    return Unknown(evidence=why)
