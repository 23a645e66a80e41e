"""Speeding up: what waits at a provider is replaced by the same with a better chance. A person's decision, audited."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from agentpay.audit import log
from agentpay.errors import AgentPayError, Conflict, ProviderUnsupported
from agentpay.payments import queries
from agentpay.payments.attempts import newest, reference_to
from agentpay.payments.settling import Settling
from agentpay.principal import Principal
from agentpay.providers.base import SpeedsUp
from agentpay.providers.outcomes import Outcome, Unknown
from agentpay.providers.registry import Providers
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Speeding:
    """Has providers replace what waits."""

    store: Store
    providers: Providers
    settling: Settling

    def speed_up(self, subject_id: str, by: Principal) -> None:
        """Replace what waits of a payment or refund; its attempt stays the same one, and has one effect at most.

        Raises:
            NotFound: there is no such payment or refund.
            Conflict: nothing of it waits.
            ProviderUnsupported, ProviderError: the provider cannot, or would not.
        """
        attempt = self.store.write(lambda tx: self._decided(tx, subject_id, by))
        provider = self.providers.get(attempt.provider)
        if not isinstance(provider, SpeedsUp):
            raise ProviderUnsupported(f"{attempt.provider} has nothing that could be sped up.")
        outcome = _replaced(provider, attempt)
        self.store.write(lambda tx: self.settling.settle(tx, attempt.id, outcome, by=by))

    def _decided(self, tx: Tx, subject_id: str, by: Principal) -> Row:
        """The attempt that waits; that a person decided so is written down before anything is replaced."""
        refund = subject_id.startswith("ref_")
        row = (queries.refund if refund else queries.payment)(tx, subject_id, lock=True)
        attempt = newest(queries.attempts(tx, subject_id))
        waits = attempt is not None and attempt.outcome in ("sent", "pending", "unknown")
        if attempt is None or not waits or row.status not in ("pending", "unknown"):
            raise Conflict(f"Nothing of {subject_id[:60]} waits: it is {row.status}.")
        now, data = tx.now(row.updated_at), {"attempt": attempt.id}
        action = f"{'refund' if refund else 'payment'}.speed_up"
        log.record(tx, principal=by, action=action, object_id=subject_id, data=data, at=now)
        return attempt


def _replaced(provider: SpeedsUp, attempt: Row) -> Outcome:
    try:
        return provider.speed_up(reference_to(attempt, attempt.reference))
    except AgentPayError:
        raise  # the provider says that it did nothing, and why
    except Exception as exc:  # noqa: BLE001 - the named seam: whatever a provider raises, the money may have moved
        logger.warning("speeding up attempt %s raised %s", attempt.id, type(exc).__name__)
        return Unknown(evidence=f"{type(exc).__name__} when it was sped up", reference=attempt.reference)
