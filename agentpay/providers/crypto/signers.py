"""Who signs: an encrypted key file, a secret of the environment, or an object of your own.

A key never leaves its signer: not in a `repr`, an error, a log or a row. What comes back from a signer is checked
against what it was given before anything is done with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from agentpay.errors import ConfigurationError, ProviderError
from agentpay.providers.crypto.config import CryptoSettings
from agentpay.providers.crypto.libraries import Account, HexBytes, TypedTransaction, Web3
from agentpay.providers.crypto.token import TransferCall

_DYNAMIC_FEE: Final = 2


@dataclass(frozen=True)
class Unsigned:
    """A transfer that is to be signed: everything that the chain will see of it."""

    chain: int
    nonce: int
    call: TransferCall
    gas: int
    max_fee: int
    tip: int

    def fields(self) -> dict[str, Any]:
        """As eth-account takes it: of type 2, to the token, without any of the chain's own coin."""
        return {
            "type": _DYNAMIC_FEE,
            "chainId": self.chain,
            "nonce": self.nonce,
            "to": self.call.token,
            "value": 0,
            "data": self.call.data,
            "gas": self.gas,
            "maxFeePerGas": self.max_fee,
            "maxPriorityFeePerGas": self.tip,
        }


class Signer(Protocol):
    """Signs transfers for one address: a hardware module, a remote service, a wallet."""

    @property
    def address(self) -> str:
        """The address that sends."""
        ...

    def sign(self, unsigned: Unsigned) -> bytes:
        """The raw transaction, exactly as described by `unsigned.fields()`."""
        ...


class KeySigner:
    """Signs with a key in memory, which only the function that it hands out can reach."""

    def __init__(self, key: str | bytes) -> None:
        """Take a key.

        Raises:
            ValueError: it is none; the message does not show it.
        """
        self.address, self._sign = _signing(key)

    def __repr__(self) -> str:
        return f"KeySigner({self.address!r})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not written down")

    def sign(self, unsigned: Unsigned) -> bytes:
        """The raw transaction."""
        return self._sign(unsigned)


def _signing(key: str | bytes) -> tuple[str, Callable[[Unsigned], bytes]]:
    try:
        account = Account.from_key(key)
    except Exception:  # noqa: BLE001 - the named seam: whatever it raises may show the key
        raise ValueError("that is no private key") from None
    return str(account.address), lambda unsigned: bytes(account.sign_transaction(unsigned.fields()).raw_transaction)


def signed(signer: Signer, unsigned: Unsigned) -> tuple[str, str]:
    """The hash and the raw transaction, both in hex, of a transfer that a signer signed.

    Raises:
        ProviderError: the signer raised, or signed something else, or for another address. Nothing was sent.
    """
    try:
        raw = bytes(signer.sign(unsigned))
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        sender = Account.recover_transaction(raw)
    except Exception as exc:  # noqa: BLE001 - the named seam: a signer may raise anything, and its text may hold a secret
        raise ProviderError(f"The signer failed ({type(exc).__name__}); nothing was sent.") from None
    wanted = unsigned.fields()
    same = all(_plain(fields.get(name)) == _plain(value) for name, value in wanted.items())
    if not same or fields.get("accessList") or sender != signer.address:
        raise ProviderError("The signer signed something else than it was given; nothing was sent.")
    return Web3.keccak(raw).to_0x_hex(), HexBytes(raw).to_0x_hex()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return HexBytes(value).to_0x_hex().lower()
    return value.lower() if isinstance(value, str) else value


def signer_from(settings: CryptoSettings) -> Signer | None:
    """The signer that the settings name; None where they name none: then nothing can be sent.

    Raises:
        ConfigurationError: both a key file and a key, or one that cannot be opened. No secret is shown.
    """
    if settings.keystore is not None and settings.private_key is not None:
        raise ConfigurationError("CRYPTO_KEYSTORE and CRYPTO_PRIVATE_KEY exclude each other: one wallet sends.")
    if settings.keystore is not None:
        password = settings.keystore_password
        if password is None:
            raise ConfigurationError("CRYPTO_KEYSTORE needs CRYPTO_KEYSTORE_PASSWORD.")
        return KeySigner(_opened(Path(settings.keystore), password.get_secret_value()))
    if settings.private_key is None:
        return None
    try:
        return KeySigner(settings.private_key.get_secret_value())
    except ValueError as exc:
        raise ConfigurationError(f"CRYPTO_PRIVATE_KEY cannot be used: {exc}.") from None


def _opened(path: Path, password: str) -> bytes:
    try:
        text = path.expanduser().read_text("utf-8")
        return bytes(Account.decrypt(json.loads(text), password))
    except OSError as exc:
        raise ConfigurationError(f"The key file cannot be read: {exc.strerror}.") from None
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError):  # `~nobody`, JSON as deep as a stack
        raise ConfigurationError("The key file cannot be opened: it is none, or the password is wrong.") from None
