"""What came over a chain and is no payment's, as people list it. Reads the books; asks no chain, needs no web3."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agentpay.providers.crypto import queries
from agentpay.providers.crypto.amounts import shown
from agentpay.storage.transaction import Row, Tx


@dataclass(frozen=True)
class UnallocatedTransfer:
    """A transfer, or a part of one, that belongs to no payment. `payment_id` is the payment that it came near to.

    Of a token that no payment was ever asked in, `amount` is in base units and `currency` is its contract.
    """

    chain: int
    tx_hash: str
    log_index: int
    block: int
    at: datetime
    sender: str
    recipient: str
    amount: str
    currency: str
    reason: str
    payment_id: str | None


def unallocated(tx: Tx, limit: int, *, fractions: bool = False) -> tuple[UnallocatedTransfer, ...]:
    """The newest first. `fractions`: with the parts of amounts that only told payments apart, which are ours."""
    tokens = {(row.chain, row.token): row for row in queries.tokens(tx)}
    rows = queries.strays(tx, limit, fractions=fractions)
    return tuple(_listed(row, tokens.get((row.chain, row.token))) for row in rows)


def _listed(row: Row, token: Row | None) -> UnallocatedTransfer:
    units = int(row.stray_units)
    return UnallocatedTransfer(
        chain=row.chain,
        tx_hash=row.tx_hash,
        log_index=row.log_index,
        block=row.block_number,
        at=row.block_at,
        sender=row.sender,
        recipient=row.recipient,
        amount=str(units) if token is None else shown(units, token.decimals),
        currency=row.token if token is None else token.currency,
        reason=row.stray_reason,
        payment_id=row.payment_id,
    )
