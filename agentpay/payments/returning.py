"""A refund that succeeded and failed in the end: its money is with us again. Undone once, whichever was heard first."""

from __future__ import annotations

import logging
from datetime import datetime

from agentpay.audit import log
from agentpay.ids import Ids
from agentpay.ledger import service as ledger
from agentpay.payments import queries
from agentpay.principal import SYSTEM
from agentpay.spending import holds
from agentpay.storage import outbox
from agentpay.storage.transaction import Tx

logger = logging.getLogger(__name__)

_EVENT = "refund.returned"


def give_back(tx: Tx, refund_id: str, now: datetime, *, ids: Ids) -> bool:
    """Undo what a refund's success did to the books and to budgets, where it is both succeeded and returned. True where
    that was done now. The payment is locked."""
    row = queries.refund(tx, refund_id)
    if not (row.returned and row.status == "succeeded") or ledger.is_posted(tx, event=_EVENT, object_id=refund_id):
        return False
    if holds.spend_again(tx, refund_id, refunded=row.payment_id):
        queries.update_payment(tx, row.payment_id, late=True, updated_at=now)  # others may have used that budget since
    undone = ledger.post_reversal(tx, of="refund.succeeded", event=_EVENT, object_id=refund_id, at=now, ids=ids)
    if undone:
        data = {"amount": str(row.amount_minor), "currency": row.currency, "payment": row.payment_id}
        log.record(tx, principal=SYSTEM, action=_EVENT, object_id=refund_id, data=data, at=now)
        outbox.tell(tx, _EVENT, refund_id, data, now)
        logger.error("refund %s succeeded and failed afterwards: its money is back", refund_id)
    return undone
