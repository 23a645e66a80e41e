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


def give_back(tx: Tx, refund_id: str, now: datetime, *, ids: Ids, same_as: str | None = None) -> bool:
    """Undo what a refund's success did to the books and to budgets, where it is both succeeded and returned. True where
    that was done now. The payment is locked. `same_as` is the refund that stands for the same money from now on."""
    row = queries.refund(tx, refund_id)
    if not (row.returned and row.status == "succeeded") or ledger.is_posted(tx, event=_EVENT, object_id=refund_id):
        return False
    if holds.spend_again(tx, refund_id, refunded=row.payment_id):
        queries.update_payment(tx, row.payment_id, late=True, updated_at=now)  # others may have used that budget since
    undone = ledger.post_reversal(tx, of="refund.succeeded", event=_EVENT, object_id=refund_id, at=now, ids=ids)
    if undone:
        data = {"amount": str(row.amount_minor), "currency": row.currency, "payment": row.payment_id}
        data |= {} if same_as is None else {"same_as": same_as}
        log.record(tx, principal=SYSTEM, action=_EVENT, object_id=refund_id, data=data, at=now)
        outbox.tell(tx, _EVENT, refund_id, data, now)
        if same_as is None:
            logger.error("refund %s succeeded and failed afterwards: its money is back", refund_id)
        else:
            logger.warning("refund %s was heard of before it was asked for again: it is %s", refund_id, same_as)
    return undone
