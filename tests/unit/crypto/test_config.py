"""What the operator says about the chain, and what is refused; no refusal shows a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentpay.errors import ConfigurationError, ModeMismatch
from agentpay.providers.crypto.config import CryptoSettings, chain_config, load_crypto, parse_tokens
from agentpay.providers.crypto.deposits import derived_address
from agentpay.providers.crypto.provider import from_settings
from agentpay.providers.registry import Factory
from agentpay.testing.chain import XPUB

USDT = "0xdAC17F958D2ee523a2206206994597C13D831ec7"
XPRV = "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
KEY = "0x" + "4c" * 32

GOOD: dict[str, Any] = {
    "database_url": "memory://",
    "rpc_urls": "https://rpc.example.com/v3/hidden-api-key",
    "chain_id": 11155111,
    "tokens": f"USDT={USDT}:6",
    "xpub": XPUB,
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in CryptoSettings.model_fields:
        monkeypatch.delenv(f"CRYPTO_{name.upper()}", raising=False)


def make(**options: Any) -> Factory:
    return from_settings(**{**GOOD, **options})  # type: ignore[return-value]


def test_what_is_good_is_taken() -> None:
    provider = from_settings(**GOOD)
    assert (provider.name, provider.account, provider.mode) == ("crypto", "eip155:11155111", "test")
    assert provider.capabilities().currencies == frozenset({"USDT"})
    assert provider.capabilities().chains == frozenset({11155111})


def test_the_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        if name != "database_url":
            monkeypatch.setenv(f"CRYPTO_{name.upper()}", str(value))
    assert from_settings(database_url="memory://").account == "eip155:11155111"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"chain_id": None}, "CRYPTO_CHAIN_ID"),
        ({"chain_id": 0}, "CRYPTO_CHAIN_ID"),
        ({"rpc_urls": None}, "CRYPTO_RPC_URLS"),
        ({"rpc_urls": "file:///etc/passwd"}, "http or https"),
        ({"rpc_urls": "https://"}, "http or https"),
        ({"rpc_urls": "https://[::1/hidden-api-key"}, "http or https"),
        ({"rpc_urls": "https://ana:hidden-api-key@rpc.example.com/"}, "not sent"),
        ({"rpc_urls": "https://ana:hidden-api-key\u2100@rpc.example.com/"}, "http or https"),
        ({"rpc_urls": "https://rpc.example.com:99999/hidden-api-key"}, "http or https"),
        ({"tokens": None}, "CRYPTO_TOKENS"),
        ({"tokens": "USDT"}, "CRYPTO_TOKENS"),
        ({"tokens": f"USDT={USDT}"}, "CRYPTO_TOKENS"),
        ({"tokens": f"USDT={USDT}:5"}, "decimals"),
        ({"tokens": f"USDT={USDT}:99"}, "decimals"),
        ({"tokens": f"WORD={USDT}:6"}, "not a currency"),
        ({"tokens": f"USDT={USDT}:6,USDT=0x{'12' * 20}:6"}, "one currency twice"),
        ({"tokens": f"USDT={USDT}:6,USDC={USDT}:6"}, "one address twice"),
        ({"tokens": f"USDT={USDT.replace('dAC', 'Dac')}:6"}, "wrong checksum"),
        ({"tokens": f"USDT=0x{'0' * 40}:6"}, "zero address"),
        ({"confirmations": 0}, "CRYPTO_CONFIRMATIONS"),
        ({"deposit_minutes": 0}, "CRYPTO_DEPOSIT_MINUTES"),
        ({"deposit_minutes": -5}, "CRYPTO_DEPOSIT_MINUTES"),
        ({"max_gas": "0"}, "CRYPTO_MAX_GAS"),
        ({"max_gas": "-1"}, "CRYPTO_MAX_GAS"),
        ({"max_gas": "lots"}, "CRYPTO_MAX_GAS"),
        ({"deposit_address": "0x" + "12" * 20}, "exclude each other"),
        ({"xpub": None, "deposit_address": "0x12"}, "CRYPTO_DEPOSIT_ADDRESS"),
        ({"xpub": None, "deposit_address": USDT.lower()}, "token's own contract"),
        ({"xpub": None}, "nothing to do"),
        ({"xpub": "xpub123"}, "no extended public key"),
        ({"xpub": XPRV}, "private key"),
        ({"private_key": KEY, "keystore": "k.json"}, "exclude each other"),
        ({"keystore": "k.json"}, "CRYPTO_KEYSTORE_PASSWORD"),
        ({"keystore": "k.json", "keystore_password": "hunter2-of-ours"}, "cannot be read"),
        ({"keystore": "~nobody-of-that-name/k.json", "keystore_password": "hunter2-of-ours"}, "cannot be opened"),
        ({"private_key": "0x1234"}, "no private key"),
        ({"private_key": KEY + "ff"}, "no private key"),
        ({"database_url": None}, "database_url"),
        ({"colour": "blue"}, "no option colour"),
    ],
    ids=str,
)
def test_what_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**options)
    assert says in str(caught.value)
    for secret in (XPRV, KEY, KEY[2:], "hidden-api-key", "hunter2-of-ours", "0x1234", "xpub123"):
        assert secret not in f"{caught.value} {caught.value!r} {caught.value.next_step}"
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_real_money_needs_to_be_said() -> None:
    with pytest.raises(ModeMismatch, match="AGENTPAY_LIVE"):
        make(chain_id=1)


def test_a_chain_that_nobody_knows_moves_real_money(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModeMismatch):
        make(chain_id=987654)
    assert from_settings(**{**GOOD, "chain_id": 987654, "test_chain": True}).mode == "test"
    monkeypatch.setenv("AGENTPAY_LIVE", "1")
    assert from_settings(**{**GOOD, "chain_id": 1}).mode == "live"


def test_a_shared_address_needs_decimals_to_tell_payments_apart() -> None:
    with pytest.raises(ConfigurationError, match="6 decimals or more"):
        make(xpub=None, deposit_address="0x" + "12" * 20, tokens=f"USD={USDT}:2")


def test_other_stablecoins_are_configuration() -> None:
    tokens = parse_tokens(f"USDC=0x{'12' * 20}:6, USDT={USDT}:18,USDP=0x{'34' * 20}:18", 56)
    assert [(token.currency, token.decimals, token.scale) for token in tokens] == [
        ("USDC", 6, 1),
        ("USDT", 18, 10**12),
        ("USDP", 18, 10**10),
    ]
    (dollars,) = parse_tokens(f"USD=0x{'12' * 20}:18", 1)  # one that has no currency of its own here
    assert dollars.scale == 10**16


def test_addresses_are_those_that_wallets_derive() -> None:
    """The first accounts of the mnemonic "test test … junk", as every developer's tool shows them."""
    assert [derived_address(XPUB, index) for index in range(3)] == [
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    ]


def test_settings_show_no_secret() -> None:
    settings = load_crypto(rpc_urls=GOOD["rpc_urls"], private_key=KEY, xpub=XPUB, keystore_password="hunter2-of-ours")
    text = f"{settings!r} {settings} {chain_config(load_crypto(**{**GOOD, 'database_url': None}))!r}"
    for secret in (KEY, "hidden-api-key", "hunter2-of-ours", XPUB):
        assert secret not in text
