"""Deposits: what a customer is asked to pay, so that the transfer tells whose it is.

By an extended public key each payment has an address of its own. Otherwise all share one address, and a fraction that
is added to the amount tells them apart; an amount is not used again while its deposit lives, nor a month after.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from agentpay.canonical import digest
from agentpay.errors import ProviderError
from agentpay.providers.base import Request
from agentpay.providers.crypto import queries
from agentpay.providers.crypto.amounts import shown
from agentpay.providers.crypto.config import ChainConfig, TokenConfig
from agentpay.providers.crypto.tables import ChainDepositRow
from agentpay.storage.transaction import Row, Tx

if TYPE_CHECKING:
    from agentpay.providers.crypto.rpc import Head

FRACTIONS: Final = 9999
"""How many amounts one price has at a shared address: up to 0.009999 is added."""

_FRACTION_DECIMALS: Final = 6
COOLING: Final = timedelta(days=30)
"""How long after its deposit an amount is not used again: a transfer that comes late is still told whose it was."""


class NoSlot(Exception):
    """Every amount of that price is in use at the shared address."""


@dataclass(frozen=True)
class Wanted:
    """A deposit that is to be handed out."""

    key: str
    request: Request
    token: TokenConfig
    units: int
    opened: Head
    deadline: datetime


def derived_address(xpub: str, index: int) -> str:
    """The address of an extended public key at `0/index`: the account's external chain, as wallets derive it.

    Raises:
        ValueError: that is no extended public key.
    """
    from bip32 import BIP32
    from eth_keys.datatypes import PublicKey

    wallet = BIP32.from_xpub(xpub)
    public = wallet.get_pubkey_from_path([0, index])
    return str(PublicKey.from_compressed_bytes(public).to_checksum_address())


@lru_cache(maxsize=64)
def source_of(config: ChainConfig) -> str:
    """Where deposits go, by a name that tells nothing: of an extended key, a fingerprint."""
    if config.xpub is None:
        return f"address:{config.deposit_address}"
    return f"xpub:{hashlib.sha256(config.xpub.encode()).hexdigest()[:16]}"


def request_hash(request: Request) -> str:
    """By what a request is told from another one under the same key."""
    return digest("agentpay.chain.request.v1", dict(request))


def allocate(tx: Tx, config: ChainConfig, wanted: Wanted) -> Row:
    """Hand out a deposit, or find the one that its key has already.

    Raises:
        ProviderError: the key names another request.
        NoSlot: no amount is free.
    """
    hashed = request_hash(wanted.request)
    for values in _places(tx, config, wanted):
        tx.insert_new(
            ChainDepositRow,
            id=deposit_id(wanted.key),
            key=wanted.key,
            request_hash=hashed,
            payment_id=str(wanted.request["payment_id"]),
            chain=config.chain,
            source=source_of(config),
            token=wanted.token.address,
            currency=wanted.token.currency,
            decimals=wanted.token.decimals,
            price=str(wanted.units),
            state="waiting",
            opened_block=wanted.opened.number,
            opened_at=wanted.opened.at,
            deadline=wanted.deadline,
            created_at=tx.now(),
            **values,
        )
        row = queries.deposit_by_key(tx, wanted.key)  # none where another process took the place: the next one, then
        if row is not None:
            if row.request_hash != hashed:
                raise ProviderError("The key names another request.")
            return row
    raise NoSlot


def deposit_id(key: str) -> str:
    """The id of the deposit of a key: the same whenever it is asked for."""
    return "dep_" + hashlib.sha256(f"deposit\n{key}".encode()).hexdigest()[:24]


def _places(tx: Tx, config: ChainConfig, wanted: Wanted) -> Iterator[dict[str, object]]:
    """Addresses or amounts that are free, the best first."""
    if config.xpub is not None:
        first = queries.next_index(tx, config.chain, source_of(config))
        for index in range(first, first + 1000):
            address = derived_address(config.xpub, index)
            yield {"path_index": index, "address": address, "units": str(wanted.units)}
        return
    address, token = str(config.deposit_address), wanted.token
    taken = queries.slots(tx, config.chain, address, token.address)
    step = 10 ** (token.decimals - _FRACTION_DECIMALS)
    start = int.from_bytes(hashlib.sha256(wanted.key.encode()).digest()[:4], "big")
    for number in range(FRACTIONS):
        units = str(wanted.units + (1 + (start + number) % FRACTIONS) * step)
        if units not in taken:
            yield {"address": address, "units": units, "slot": units}


def instructions(row: Row, received: int = 0) -> str:
    """What the customer is told: chain, token, address, exact amount, deadline; and the same as a payment URI."""
    left = int(row.units) - received
    amount, fraction = shown(left, row.decimals), int(row.units) - int(row.price)
    parts = [
        f"Send exactly {amount} {row.currency} (token {row.token} on eip155:{row.chain}) to {row.address} "
        f"before {row.deadline.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}."
    ]
    if fraction:
        part = f"{shown(fraction, row.decimals)} of it tells this payment from others, so the amount must be exact"
        parts.append(f"{part}.")
    if received:
        parts.append(f"{shown(received, row.decimals)} of {shown(int(row.units), row.decimals)} has arrived.")
    parts.append("Another token or chain does not arrive.")
    parts.append(f"ethereum:{row.token}@{row.chain}/transfer?address={row.address}&uint256={left}")
    return " ".join(parts)
