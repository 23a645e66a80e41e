"""Telling people, in this process, that something waits for them.

Callbacks run after the commit, outside any transaction, and whatever they do changes nothing about what they tell of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from agentpay.payments.describing import effect_of
from agentpay.spending import approvals, cards
from agentpay.spending.cards import Card
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx

logger = logging.getLogger(__name__)

Callback = Callable[[Card], None]


class Telling:
    """Who is told that something waits for people, in this process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._callbacks: tuple[Callback, ...] = ()

    def on_approval(self, callback: Callback) -> None:
        """Tell `callback` of every approval that is asked for in this process from now on."""
        self._callbacks = (*self._callbacks, callback)

    def waits(self, approval_id: str) -> None:
        """An approval was asked for, and committed: tell everybody. Never raises."""
        for callback in self._callbacks:
            try:
                callback(read_card(self._store, approval_id))
            except Exception as exc:  # noqa: BLE001 - the named seam: no payment fails because somebody was not told
                logger.error("a callback of on_approval raised %s for %s", type(exc).__name__, approval_id)


def read_card(store: Store, approval_id: str) -> Card:
    """The card of an approval.

    Raises:
        NotFound: there is no such approval.
    """

    def read(tx: Tx) -> Card:
        approval = approvals.get(tx, approval_id, agent_id=None)
        return cards.card(tx, approval, effect_of(tx, approval.payment_id))

    return store.read(read)
