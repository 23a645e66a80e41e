"""Recovery: what became of attempts whose answer was lost. It looks up; it never starts anything.

At a provider whose look-ups prove nothing, a reconcile may send the very same request again: see `replaying`.
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
from agentpay.payments.attempts import all_begun_before, reference_to
from agentpay.payments.replaying import Replaying
from agentpay.payments.settling import Settling
from agentpay.providers.base import Finding, Found, NoAnswer, NotFound, PaymentProvider, Resends
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Pending, RequiresAction, Succeeded, Unknown
from agentpay.providers.registry import Providers
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row
from agentpay_policies.text import identifier

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
    replaying: Replaying
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
            return self._recover(attempt, may_send=True)
        except StorageError as exc:
            logger.error("attempt %s cannot be settled: %s", attempt.id, exc.code)
            self.store.write(lambda tx: self.settling.postpone(tx, attempt.id))
            return False

    def recover(self, subject_id: str) -> bool:
        """Look up the newest attempt of one payment or refund, if it is open. True where it is settled now."""
        named = identifier(subject_id, "payment_id")
        rows = self.store.read(lambda tx: queries.attempts(tx, named))
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

    def _recover(self, attempt: Row, *, may_send: bool = False) -> bool:
        try:
            provider = self.providers.get(attempt.provider)
        except ProviderUnknown:
            logger.warning("provider %s of attempt %s is not enabled", attempt.provider, attempt.id)
            return False
        now = self.store.read(lambda tx: tx.now())  # a look-up proves what was so when it was begun
        finding = _looked_up(provider, attempt, attempt.reference)
        sent = may_send and isinstance(finding, NotFound) and self.replaying.replay(attempt, provider)
        if not sent:
            outcome = self._outcome(attempt, provider, finding, now)
            if outcome is None:
                return False
            if may_send and isinstance(outcome, Unknown) and isinstance(finding, Found):
                outcome = self._resent(attempt, provider, outcome)
            self._settle(attempt, outcome)
        return self.store.read(lambda tx: queries.attempt(tx, attempt.id).outcome not in queries.OPEN_OUTCOMES)

    def _settle(self, attempt: Row, outcome: Outcome) -> None:
        self.store.write(lambda tx: self.settling.settle(tx, attempt.id, outcome, lease=attempt.lease_until))

    def _resent(self, attempt: Row, provider: PaymentProvider, found: Unknown) -> Outcome:
        """What becomes of an attempt that is found and unknown: its bytes go out again where that can do nothing twice,
        and where it is still wanted."""
        if not isinstance(provider, Resends) or not self.replaying.wanted(attempt, provider):
            return found
        return _given_again(provider, attempt)

    def _outcome(self, attempt: Row, provider: PaymentProvider, finding: Finding, now: datetime) -> Outcome | None:
        """What a finding says of an attempt; None where it must be left as it is for now."""
        under_way = attempt.outcome == "sent" and now < attempt.lease_until
        match finding:
            case Found(outcome):
                # Within its lease the call itself may go on with further steps: only what is final is taken from it.
                return None if under_way and not isinstance(outcome, Succeeded | Declined) else outcome
            case NotFound():
                return self._not_found(attempt, provider, now)
            case NoAnswer(detail):
                return None if under_way else _still(attempt, detail)

    def _not_found(self, attempt: Row, provider: PaymentProvider, now: datetime) -> Outcome | None:
        if now < attempt.lease_until:
            return None
        if not provider.capabilities().consistent_lookup or attempt.outcome in ("pending", "requires_action"):
            return _still(attempt, "the look-up found nothing")
        begun = all_begun_before(attempt, self.store.read(lambda tx: queries.attempts(tx, attempt.subject_id)))
        if not begun:
            return NotSent(evidence="a consistent look-up after the lease found nothing")
        return self._as_begun(attempt, begun, provider)

    def _as_begun(self, attempt: Row, begun: list[Row], provider: PaymentProvider) -> Outcome:
        """What the newest earlier step that arrived says of what was begun: those after it may be lost as well."""
        for step in reversed(begun):
            match _looked_up(provider, step, step.reference):
                case Found(outcome):
                    return outcome
                case NoAnswer(detail):
                    return _still(attempt, detail)
        return _still(attempt, "no earlier step was found")


def _given_again(provider: Resends, attempt: Row) -> Outcome:
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
