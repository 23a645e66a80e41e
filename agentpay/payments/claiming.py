"""A key becomes the one of a new payment or refund, or is found to be another's."""

from __future__ import annotations

from datetime import datetime

from agentpay.errors import AgentPayError, IdempotencyConflict
from agentpay.payments.asks import ChargeAsk, RefundAsk
from agentpay.spending.throttle import Throttle
from agentpay.storage import keys
from agentpay.storage.transaction import Tx


class Claimed(AgentPayError):
    """Another transaction claimed the same key a moment earlier, for the payment or refund of that id."""

    def __init__(self, subject_id: str) -> None:
        super().__init__("The key is known.")
        self.subject_id = subject_id


def claim(
    tx: Tx, throttle: Throttle, ask: ChargeAsk | RefundAsk, operation: str, hashed: str, subject_id: str, now: datetime
) -> None:
    """Give the key of a call to a new payment or refund, and count it where it is an agent's.

    Raises:
        Claimed: it names the same call already.
        IdempotencyConflict: it names another one.
        Throttled: the agent has had too many.
    """
    if not keys.claim(tx, ask.principal, operation, ask.key, hashed, subject_id, now):
        known = keys.find(tx, ask.principal, operation, ask.key, hashed)
        raise Claimed(known) if known else IdempotencyConflict(f"The key {ask.key[:60]!r} is in use.")
    if ask.principal.kind == "agent":
        throttle.admit(tx, ask.principal.id, now)
