"""ERC-20, as little of it as moves money: reading a token, and the one call that can be built, `transfer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentpay.providers.crypto.config import TokenConfig
from agentpay.providers.crypto.rpc import ChainFault, View

_TRANSFER: Final = "0xa9059cbb"
_DECIMALS: Final = "0x313ce567"
_BALANCE_OF: Final = "0x70a08231"
_MOST: Final = 2**256 - 1


@dataclass(frozen=True)
class TransferCall:
    """A transfer of a token. Nothing else can be signed: no approval, no permit, no other call."""

    token: str
    recipient: str
    units: int

    @property
    def data(self) -> str:
        """What the token's contract is told."""
        if not 0 < self.units <= _MOST:
            raise ValueError("a transfer is of more than nothing, within 256 bits")
        return _TRANSFER + _word(int(self.recipient, 16)) + _word(self.units)


def balance(view: View, token: str, holder: str) -> int:
    """What an address has of a token, in base units."""
    return _number(view.call(token, _BALANCE_OF + _word(int(holder, 16))), "its balance")


def check(view: View, token: TokenConfig) -> None:
    """Hold a token's configuration against the chain.

    Raises:
        ChainFault: there is no contract, it is no token, or it has other decimals.
    """
    if not view.has_code(token.address):
        raise ChainFault("bad_answer", f"{token.currency}: there is no contract at {token.address}")
    try:
        decimals = _number(view.call(token.address, _DECIMALS), "its decimals")
        balance(view, token.address, token.address)
    except ChainFault as fault:
        if fault.kind not in ("reverted", "bad_answer"):
            raise
        raise ChainFault("bad_answer", f"{token.currency}: {token.address} is no token: {fault.message}") from None
    if decimals != token.decimals:
        raise ChainFault(
            "bad_answer", f"{token.currency}: {token.address} has {decimals} decimals, not {token.decimals}"
        )


def _number(answer: bytes, what: str) -> int:
    if len(answer) != 32:
        raise ChainFault("bad_answer", f"the contract does not say {what}")
    return int.from_bytes(answer, "big")


def _word(number: int) -> str:
    return f"{number:064x}"
