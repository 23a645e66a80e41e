"""What became of a transfer that was broadcast, from what every endpoint shows of it.

Nothing is proved by silence: a transfer that is in no block and no pool may still be mined. It has succeeded, or was
refused by the token, when its block has its confirmations; it never can succeed any more when another transaction has
taken its nonce, so deep that a node which lags behind its neighbours at the same endpoint would show it as well.
Everything else is Pending or Unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from agentpay.providers.crypto.rpc import ChainFault, Receipt, View
from agentpay.providers.outcomes import Declined, Outcome, Pending, Succeeded, Unknown


@dataclass(frozen=True)
class Outgoing:
    """A transfer of ours: its nonce, whom it pays, and the hashes of its signed forms, the newest last."""

    sender: str
    nonce: int
    token: str
    recipient: str
    units: int
    hashes: tuple[str, ...]
    sent_at: datetime


@dataclass(frozen=True)
class Shown:
    """What one endpoint shows, and how much that proves: what is in a block outweighs a pool, and a pool silence."""

    weight: Literal["taken", "silent", "pool", "block"]
    outcome: Outcome


_WEIGHTS: Final = {"block": 3, "pool": 2, "silent": 1, "taken": 0}


def shown_by(
    view: View, outgoing: Outgoing, *, confirmations: int, overlap: int, now: datetime, stuck_after: timedelta
) -> Shown:
    """What one endpoint shows of a transfer. `overlap`: how many blocks more than its confirmations must lie over a
    transaction that took its nonce."""
    for tx_hash in outgoing.hashes:
        receipt = view.receipt(tx_hash)
        if receipt is not None:
            return Shown("block", _mined(outgoing, receipt, view.head.number - receipt.block_number + 1, confirmations))
    newest = outgoing.hashes[-1]
    if view.nonces_used(outgoing.sender, view.head.number) > outgoing.nonce:
        return _taken(view, outgoing, view.head.number - confirmations - overlap + 1)
    if not any(view.in_pool(tx_hash) for tx_hash in outgoing.hashes):
        return Shown("silent", Unknown("It is in no block and in no pool.", newest))
    if now - outgoing.sent_at > stuck_after:
        return Shown("pool", Unknown("It is stuck in the pool: its fees may be too low.", newest))
    return Shown("pool", Pending(newest))


def _taken(view: View, outgoing: Outgoing, settled: int) -> Shown:
    """Its nonce is used, and there is no receipt. That may still be its own: many machines answer at one endpoint, some
    behind the others, and some keep no receipts. That it can never be mined is said of what is settled, and unknown."""
    newest = outgoing.hashes[-1]
    if any(view.in_block(tx_hash) for tx_hash in outgoing.hashes):
        return Shown("silent", Unknown("It is in a block, and the endpoint has no receipt of it.", newest))
    if settled >= 0 and view.nonces_used(outgoing.sender, settled) > outgoing.nonce:
        message = "Another transaction of the wallet took its nonce: it can never be mined."
        return Shown("taken", Declined("replaced", message, newest))
    return Shown("silent", Unknown("Another transaction took its nonce, and is not settled yet.", newest))


def _mined(outgoing: Outgoing, receipt: Receipt, depth: int, confirmations: int) -> Outcome:
    if depth < confirmations:
        return Pending(receipt.tx_hash)
    if not receipt.ok:
        return Declined("reverted", "The token's contract refused the transfer; only gas was spent.", receipt.tx_hash)
    paid = sum(
        log.units
        for log in receipt.transfers
        if (log.token, log.sender, log.recipient) == (outgoing.token, outgoing.sender, outgoing.recipient)
    )
    if paid == outgoing.units:
        return Succeeded(receipt.tx_hash)
    evidence = f"It was mined, and by the token's own log {paid} of {outgoing.units} base units reached the payee."
    return Unknown(evidence, receipt.tx_hash)


def combined(shown: Sequence[Shown | ChainFault]) -> Outcome:
    """What all endpoints together prove. What one has seen, another may not know yet; that a nonce was taken by
    another transaction must be what every one of them says, and where one has a success and another a refusal, neither
    is proved.

    Raises:
        ChainFault: none answered.
    """
    said = [one for one in shown if not isinstance(one, ChainFault)]
    silent = [one for one in shown if isinstance(one, ChainFault)]
    if not said:
        raise silent[0] if silent else ChainFault("unreachable", "no endpoint is configured")
    best = max(said, key=lambda one: _WEIGHTS[one.weight])
    if best.weight == "taken" and silent:
        return Unknown(f"Another transaction took its nonce, and not every endpoint says so: {silent[0].message}"[:400])
    if {Succeeded, Declined} <= {type(one.outcome) for one in said if one.weight == "block"}:
        return Unknown("The endpoints contradict each other about what became of it.")
    return best.outcome
