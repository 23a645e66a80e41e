"""Money that came and is no payment's: posted to `unallocated`, audited, told; and taken back where it went again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from agentpay.audit import log
from agentpay.ids import Ids
from agentpay.ledger import postings
from agentpay.ledger import service as ledger
from agentpay.principal import SYSTEM
from agentpay.providers.events import StrayNews
from agentpay.storage import outbox
from agentpay.storage.transaction import Tx

Stray = Literal["posted", "known", "waits"]

KEPT: Final = "fraction"
"""The reason of what is ours to keep: the part of an amount that only told one payment from others."""


@dataclass(frozen=True)
class Strays:
    """Writes such money down. Every verb runs in a transaction; it may be told the same any number of times."""

    ids: Ids

    def apply(self, tx: Tx, provider_account: str, news: StrayNews) -> Stray:
        """Write down that money came, or that it is gone again; what is to be taken back waits until it came.

        `provider_account` is `name:account`, as the ledger calls it.
        """
        money = news.money
        entries = postings.stray(
            provider_account=provider_account,
            money_minor=money.minor,
            currency=money.currency,
            kept=news.reason == KEPT,
        )
        if news.status == "taken_back":
            if not ledger.is_posted(tx, event="stray.received", object_id=news.reference):
                return "waits"
            entries = postings.reversal(entries)
        topic, now = f"stray.{news.status}", tx.now()
        if not ledger.post(tx, event=topic, object_id=news.reference, entries=entries, at=now, ids=self.ids):
            return "known"
        data = {"amount": str(money.minor), "currency": money.currency, "reason": news.reason}
        log.record(tx, principal=SYSTEM, action=topic, object_id=news.reference, data=data, at=now)
        outbox.tell(tx, topic, news.reference, data, now)
        return "posted"
