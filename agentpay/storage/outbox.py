"""The outbox: what others may want to hear of, written in the transaction that made it so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agentpay.canonical import canonical
from agentpay.storage.tables import OutboxRow
from agentpay.storage.transaction import Tx


def tell(tx: Tx, topic: str, object_id: str, data: Mapping[str, object], at: datetime) -> None:
    """Write down that something happened to an object, for whoever delivers it."""
    tx.insert(OutboxRow, topic=topic, object_id=object_id, body=canonical(data), created_at=at)
