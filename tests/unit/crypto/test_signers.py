"""Who signs: three ways to a signer, and what comes back is checked against what was given."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from agentpay.errors import ConfigurationError, ProviderError
from agentpay.providers.crypto.config import load_crypto
from agentpay.providers.crypto.signers import KeySigner, Unsigned, signed, signer_from
from agentpay.providers.crypto.token import TransferCall

KEY = "0x" + "4c" * 32
ADDRESS = str(Account.from_key(KEY).address)
PASSWORD = "a password of ours"
UNSIGNED = Unsigned(
    31337, 7, TransferCall("0x" + "12" * 20, "0x" + "34" * 20, 10**30), gas=60_000, max_fee=10**10, tip=10**9
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_key_signs_exactly_what_it_is_given() -> None:
    tx_hash, raw = signed(KeySigner(KEY), UNSIGNED)
    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    assert (fields["nonce"], fields["chainId"], fields["gas"], fields["value"]) == (7, 31337, 60_000, 0)
    assert Account.recover_transaction(raw) == ADDRESS
    assert HexBytes(tx_hash) == keccak(HexBytes(raw))
    assert signed(KeySigner(KEY), UNSIGNED) == (tx_hash, raw), "signed twice, the bytes are the same"


def test_a_key_file_is_opened_with_its_password_only(folder: Path) -> None:
    (folder / "key.json").write_text(
        json.dumps(Account.encrypt(bytes.fromhex(KEY[2:]), PASSWORD, kdf="pbkdf2", iterations=10))
    )
    opened = signer_from(load_crypto(keystore="key.json", keystore_password=PASSWORD))
    assert opened is not None and opened.address == ADDRESS
    with pytest.raises(ConfigurationError, match="cannot be opened") as caught:
        signer_from(load_crypto(keystore="key.json", keystore_password="another one"))
    assert "another one" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "no JSON", "{}", "[]", '{"version": 3}', '{"crypto": {}, "version": 3}'])
def test_what_is_no_key_file_is_said(folder: Path, text: str) -> None:
    (folder / "key.json").write_text(text)
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        signer_from(load_crypto(keystore="key.json", keystore_password=PASSWORD))


def test_without_a_key_there_is_no_signer(folder: Path) -> None:
    assert signer_from(load_crypto()) is None


def test_a_signer_shows_its_address_and_never_its_key() -> None:
    signer = KeySigner(KEY)
    assert repr(signer) == f"KeySigner({ADDRESS!r})"
    assert "4c4c" not in repr(vars(signer))
    with pytest.raises(TypeError):
        pickle.dumps(signer)


class Lying:
    """A signer object that signs what it likes."""

    def __init__(self, change: dict[str, object], address: str = ADDRESS) -> None:
        self.address = address
        self._change = change

    def sign(self, unsigned: Unsigned) -> bytes:
        return bytes(Account.sign_transaction({**unsigned.fields(), **self._change}, KEY).raw_transaction)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": 8},
        {"value": 1},
        {"to": "0x" + "99" * 20},
        {"chainId": 1},
        {"gas": 60_001},
        {"maxFeePerGas": 10**11},
        {"data": replace(UNSIGNED.call, recipient="0x" + "99" * 20).data},
        {"data": "0x095ea7b3" + "00" * 64},
        {"accessList": [{"address": "0x" + "99" * 20, "storageKeys": []}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_signer_that_signs_something_else_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ProviderError, match="something else"):
        signed(Lying(change), UNSIGNED)


def test_a_signer_for_another_address_is_refused() -> None:
    with pytest.raises(ProviderError, match="something else"):
        signed(Lying({}, address="0x" + "99" * 20), UNSIGNED)


def test_what_a_signer_raises_is_not_shown() -> None:
    class Broken:
        address = ADDRESS

        def sign(self, unsigned: Unsigned) -> bytes:
            raise RuntimeError(f"cannot use {KEY}")

    with pytest.raises(ProviderError) as caught:
        signed(Broken(), UNSIGNED)
    assert KEY not in f"{caught.value!r} {caught.value}" and "nothing was sent" in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("units", [0, -1, 2**256])
def test_a_transfer_of_nothing_or_too_much_cannot_be_built(units: int) -> None:
    with pytest.raises(ValueError, match="more than nothing"):
        _ = TransferCall("0x" + "12" * 20, "0x" + "34" * 20, units).data
