"""What the operator says about the chain. Read from `CRYPTO_…` settings or given as arguments, and checked here.

| variable | means | default |
|---|---|---|
| CRYPTO_RPC_URLS | JSON-RPC endpoints, separated by commas, the best first | none |
| CRYPTO_CHAIN_ID | the chain's id; every endpoint must answer with it | none |
| CRYPTO_TOKENS | `USDT=0x…:6,USDC=0x…:6`: currency, contract, decimals | none |
| CRYPTO_CONFIRMATIONS | blocks, its own included, until a transfer counts | `12` |
| CRYPTO_XPUB | extended public key of an account: a fresh address for each payment | none |
| CRYPTO_DEPOSIT_ADDRESS | or one address for all: the amount tells payments apart | none |
| CRYPTO_DEPOSIT_MINUTES | how long a customer has to pay | `60` |
| CRYPTO_KEYSTORE, CRYPTO_KEYSTORE_PASSWORD | an encrypted key file to send with, and its password | none |
| CRYPTO_PRIVATE_KEY | or the key itself | none |
| CRYPTO_MAX_GAS | the most that the gas of one transfer may cost, in the chain's own coin | `0.01` |
| CRYPTO_MAX_LAG_SECONDS | how old the newest block may be | `600` |
| CRYPTO_STUCK_MINUTES | how long a transfer waits in the pool before it is called stuck | `10` |
| CRYPTO_TIMEOUT_SECONDS | how long one request may take | `10` |
| CRYPTO_TEST_CHAIN | `1`: the chain is a test chain, whatever its id | `0` |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from agentpay.errors import ConfigurationError
from agentpay.providers.base import Mode
from agentpay.settings import SourcedSettings, load
from agentpay_policies.currencies import exponent
from agentpay_policies.errors import CurrencyUnknown, MoneyError, PayeeInvalid
from agentpay_policies.money import parse_decimal
from agentpay_policies.payees import Payee

TEST_CHAINS: Final = frozenset({
    97, 1337, 17000, 31337, 43113, 80002, 84532, 421614, 560048, 11155111, 11155420, 131277322940537,
})  # fmt: skip
"""Chain ids of public test networks and of local chains. Any other moves real money."""

_TOKEN: Final = re.compile(r"([A-Z][A-Z0-9]{1,11})=(0x[0-9a-fA-F]{40}):([0-9]{1,2})\Z")
_MOST_DECIMALS: Final = 36


@dataclass(frozen=True)
class TokenConfig:
    """A token: the currency that it is to us, its contract, and its decimals on the chain."""

    currency: str
    address: str
    decimals: int

    @property
    def scale(self) -> int:
        """How many base units one minor unit of our money is: 1 for USDT with 6 decimals, 10¹² for one with 18."""
        return int(10 ** (self.decimals - exponent(self.currency)))


@dataclass(frozen=True)
class ChainConfig:
    """Everything that is not secret. Made by `chain_config`, which checks it."""

    chain: int
    tokens: tuple[TokenConfig, ...]
    confirmations: int = 12
    deposit_address: str | None = None
    deposit_life: timedelta = timedelta(minutes=60)
    max_gas_wei: int = 10**16
    max_lag: timedelta = timedelta(minutes=10)
    stuck_after: timedelta = timedelta(minutes=10)
    overlap: int = 64
    log_range: int = 2000
    test_chain: bool = False
    xpub: str | None = field(default=None, repr=False)

    @property
    def mode(self) -> Mode:
        """Test on chains that are known to be for tests, or said to be; live on every other."""
        return "test" if self.test_chain or self.chain in TEST_CHAINS else "live"

    @property
    def collects(self) -> bool:
        """Whether there is a way to tell deposits apart."""
        return self.xpub is not None or self.deposit_address is not None

    def token_of(self, currency: str) -> TokenConfig | None:
        """The token of a currency."""
        return next((token for token in self.tokens if token.currency == currency), None)

    def token_at(self, address: str) -> TokenConfig | None:
        """The token of a contract."""
        return next((token for token in self.tokens if token.address == address), None)


class CryptoSettings(SourcedSettings):
    """`CRYPTO_…` as it stands in the environment; see the module."""

    model_config = SettingsConfigDict(env_prefix="CRYPTO_")

    rpc_urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field(default=(), repr=False)
    chain_id: int | None = Field(default=None, ge=1)
    tokens: str = ""
    confirmations: int = Field(default=12, ge=1, le=10_000)
    xpub: SecretStr | None = Field(default=None, repr=False)
    deposit_address: str | None = None
    deposit_minutes: int = Field(default=60, ge=1, le=60 * 24 * 30)
    keystore: str | None = None
    keystore_password: SecretStr | None = Field(default=None, repr=False)
    private_key: SecretStr | None = Field(default=None, repr=False)
    max_gas: str = "0.01"
    max_lag_seconds: int = Field(default=600, ge=1)
    stuck_minutes: int = Field(default=10, ge=1)
    timeout_seconds: int = Field(default=10, ge=1, le=60)
    test_chain: bool = False

    @field_validator("rpc_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def load_crypto(**overrides: object) -> CryptoSettings:
    """The settings in force; arguments win.

    Raises:
        ConfigurationError: a value is wrong. The variable is named, its value never shown.
    """
    return load(CryptoSettings, **overrides)


def chain_config(settings: CryptoSettings) -> ChainConfig:
    """The chain as the settings describe it.

    Raises:
        ConfigurationError: something is missing, contradicts itself, or is no address of a chain.
    """
    if settings.chain_id is None:
        raise ConfigurationError("CRYPTO_CHAIN_ID is not set: name the chain, such as 1 for Ethereum.")
    xpub = None if settings.xpub is None else settings.xpub.get_secret_value()
    if xpub is not None and settings.deposit_address is not None:
        raise ConfigurationError("CRYPTO_XPUB and CRYPTO_DEPOSIT_ADDRESS exclude each other: deposits go one way.")
    tokens = parse_tokens(settings.tokens, settings.chain_id)
    return ChainConfig(
        chain=settings.chain_id,
        tokens=tokens,
        confirmations=settings.confirmations,
        deposit_address=_checked_address(settings.deposit_address, settings.chain_id, tokens),
        deposit_life=timedelta(minutes=settings.deposit_minutes),
        max_gas_wei=_wei(settings.max_gas),
        max_lag=timedelta(seconds=settings.max_lag_seconds),
        stuck_after=timedelta(minutes=settings.stuck_minutes),
        test_chain=settings.test_chain,
        xpub=_checked_xpub(xpub),
    )


def parse_tokens(text: str, chain: int) -> tuple[TokenConfig, ...]:
    """`USDT=0x…:6,USDC=0x…:6`.

    Raises:
        ConfigurationError: it is not written so, names a currency or a contract twice, or one that is none.
    """
    tokens = tuple(_token(part.strip(), chain) for part in text.split(",") if part.strip())
    if not tokens:
        raise ConfigurationError("CRYPTO_TOKENS is not set: name tokens as USDT=0x…:6, separated by commas.")
    for what in ("currency", "address"):
        if len({getattr(token, what) for token in tokens}) < len(tokens):
            raise ConfigurationError(f"CRYPTO_TOKENS names one {what} twice.")
    return tokens


def _token(text: str, chain: int) -> TokenConfig:
    match = _TOKEN.match(text)
    if match is None:
        raise ConfigurationError(f"CRYPTO_TOKENS has {text[:60]!a}, which is not CURRENCY=0xADDRESS:DECIMALS.")
    currency, address, decimals = match[1], match[2], int(match[3])
    try:
        ours = exponent(currency)
    except CurrencyUnknown as exc:
        raise ConfigurationError(f"CRYPTO_TOKENS: {exc.message}") from None
    if not ours <= decimals <= _MOST_DECIMALS:
        raise ConfigurationError(f"CRYPTO_TOKENS: {currency} has {ours} decimals here, and the token has {decimals}.")
    return TokenConfig(currency, address_of(address, chain, "CRYPTO_TOKENS"), decimals)


def address_of(text: str, chain: int, variable: str) -> str:
    """The checksummed form of an address.

    Raises:
        ConfigurationError: it is none, or its checksum is wrong.
    """
    try:
        address = Payee.parse(f"eip155:{chain}:{text}").address
    except PayeeInvalid as exc:
        raise ConfigurationError(f"{variable}: {exc.message}") from None
    assert address is not None
    return address


def _checked_address(text: str | None, chain: int, tokens: tuple[TokenConfig, ...]) -> str | None:
    if text is None:
        return None
    address = address_of(text, chain, "CRYPTO_DEPOSIT_ADDRESS")
    if any(token.address == address for token in tokens):
        raise ConfigurationError("CRYPTO_DEPOSIT_ADDRESS is a token's own contract: what is paid there is lost.")
    return address


def _checked_xpub(text: str | None) -> str | None:
    """An extended public key. A private one is refused: it has no business on a server that only watches."""
    if text is None:
        return None
    if text[1:4] == "prv":
        raise ConfigurationError(
            "CRYPTO_XPUB is a private key: whoever reads it has all deposits.",
            next_step="Give the extended public key of the account (xpub…), and move what the private one guards.",
        )
    from agentpay.providers.crypto.deposits import derived_address

    try:
        derived_address(text, 0)
    except ValueError:
        raise ConfigurationError("CRYPTO_XPUB is no extended public key (xpub…).") from None
    return text


def _wei(text: str) -> int:
    try:
        amount = parse_decimal(text)
    except MoneyError as exc:
        raise ConfigurationError(f"CRYPTO_MAX_GAS cannot be used: {exc.message}") from None
    wei = int(amount.scaleb(18))
    if wei <= 0:
        raise ConfigurationError("CRYPTO_MAX_GAS must be more than 0.")
    return wei


def in_coin(wei: int) -> str:
    """Wei as the chain's own coin, for people."""
    return f"{Decimal(wei).scaleb(-18).normalize():f}"
