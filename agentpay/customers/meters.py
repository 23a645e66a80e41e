"""Usage that a provider's own meter bills: told once per key, while the provider still knows a key again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agentpay.audit import log
from agentpay.customers import service as customers
from agentpay.errors import Conflict, NotFound, ValidationError
from agentpay.ids import Ids
from agentpay.principal import OPERATOR
from agentpay.storage import keys
from agentpay.storage.transaction import Tx

OPERATION: Final = "report_usage"
_MARGIN: Final = timedelta(hours=1)
_MOST: Final = 10**15


@dataclass(frozen=True)
class MeterAsk:
    """Usage to be told. A repeat must equal it.

    Raises:
        ValidationError: the quantity is no whole number above nothing.
    """

    customer: str
    meter: str
    quantity: int
    provider: str
    key: str

    def __post_init__(self) -> None:
        if isinstance(self.quantity, bool) or not isinstance(self.quantity, int) or not 0 < self.quantity <= _MOST:
            raise ValidationError("quantity is a whole number, of at least 1.")

    @property
    def body(self) -> dict[str, object]:
        """What is the same in every repeat."""
        return {
            "customer": self.customer,
            "meter": self.meter,
            "quantity": str(self.quantity),
            "provider": self.provider,
        }


@dataclass(frozen=True)
class Report:
    """What the provider is told: the customer as it calls them, and the key that counts once."""

    reference: str
    key: str


def claim_report(tx: Tx, ask: MeterAsk, life: timedelta, ids: Ids) -> Report:
    """Let the key name this usage, before the provider is told.

    Raises:
        NotFound: the provider does not know the customer.
        Conflict: the key was used so long ago that the provider could count it again.
        IdempotencyConflict: the key names other usage.
    """
    now = tx.now()
    known = customers.known(tx, ask.customer)
    reference = None if known is None else customers.reference_of(tx, known.id, ask.provider)
    if known is None or reference is None:
        raise NotFound(f"{ask.provider} does not know the customer.", next_step="Link them with link_customer.")
    hashed = keys.body_hash(OPERATION, ask.body)
    report_id = ids.new("mtr")
    if keys.claim(tx, OPERATOR, OPERATION, ask.key, hashed, report_id, now):
        data = {"provider": ask.provider, "meter": ask.meter, "quantity": str(ask.quantity)}
        log.record(tx, principal=OPERATOR, action="usage.reported", object_id=report_id, data=data, at=now)
        return Report(reference, report_id)
    told = keys.find(tx, OPERATOR, OPERATION, ask.key, hashed)
    claimed = keys.claimed_at(tx, OPERATOR, OPERATION, ask.key)
    if told is None or claimed is None or now - claimed > life - _MARGIN:
        raise Conflict(
            f"The key {ask.key[:60]!r} was told too long ago: {ask.provider} could count it twice.",
            next_step="Look the usage up at the provider.",
        )
    return Report(reference, told)
