"""A chain of one's own, in this process: for tests, demonstrations and documentation. It moves nothing real.

    chain = LocalChain()
    usdt = chain.token("USDT")
    provider = chain.provider("sqlite:///shop.db", tokens=[usdt], private_key=chain.key(1), xpub=XPUB)

It is py-evm behind web3's own test provider: `pip install 'web3[tester]'` beside the extra `crypto`. Blocks are made at
each transaction unless `automine` is off; their time is the chain's own, and `clock` follows it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from agentpay.errors import ConfigurationError

if TYPE_CHECKING:
    from agentpay.providers.crypto.provider import CryptoProvider
    from agentpay.providers.crypto.rpc import Endpoint

XPUB: Final = (
    "xpub6Ce9NcJvTk36xtLSrJLZqE7wtgA5deCeYs7rSQtreh4cj6ByPtrg9sD7V2FNFLPnf8heNP3FGkeV9qwfzvZNSd54JoNXVsXFYSYwHsnJxqP"
)
"""An extended public key for demonstrations: that of the account m/44'/60'/0' of the mnemonic "test test … junk", which
every developer's tool knows. What is paid to it is anybody's."""

SUPPLY: Final = 10**9
"""How many whole tokens the first account has of each token."""

CHAIN: Final = 131277322940537


@dataclass(frozen=True)
class TestToken:
    """A token on the local chain."""

    __test__ = False

    currency: str
    address: str
    decimals: int
    contract: Any

    @property
    def setting(self) -> str:
        """As CRYPTO_TOKENS writes it."""
        return f"{self.currency}={self.address}:{self.decimals}"

    def units(self, amount: str) -> int:
        """An amount in base units."""
        whole, _, part = amount.partition(".")
        return int(whole + part.ljust(self.decimals, "0"))

    def balance(self, address: str) -> int:
        """What an address has, in base units."""
        return int(self.contract.functions.balanceOf(address).call())


class ChainClock:
    """The time of the newest block: on a chain of one's own nothing else tells the time. `forward`: it never runs back,
    though blocks are taken back."""

    def __init__(self, chain: LocalChain, *, forward: bool = False) -> None:
        self._chain = chain
        self._forward = forward
        self._latest = datetime.fromtimestamp(0, UTC)

    def now(self) -> datetime:
        """When the newest block was made."""
        found = datetime.fromtimestamp(int(self._chain.eth.get_block("latest")["timestamp"]), UTC)
        self._latest = max(found, self._latest) if self._forward else found
        return self._latest


class LocalChain:
    """A chain that only this process knows, with accounts that have coins for gas.

    Everything goes through web3, but for mining and time, which are the test chain's own.

    Raises:
        ConfigurationError: eth-tester or the extra `crypto` is not installed.
    """

    chain_id = CHAIN

    def __init__(self) -> None:
        self._provider: Any = _tester()
        from agentpay.providers.crypto.libraries import Web3

        self.eth: Any = Web3(self._provider).eth
        self.clock = ChainClock(self)

    @property
    def tester(self) -> Any:
        """The chain behind web3: snapshots, time, mining."""
        return self._provider.ethereum_tester

    def account(self, number: int) -> str:
        """The address of an account that has coins for gas."""
        return str(self.eth.accounts[number])

    def key(self, number: int) -> str:
        """The private key of an account: known to everybody."""
        return str(self.tester.backend.account_keys[number])

    def token(self, currency: str, decimals: int = 6) -> TestToken:
        """Deploy a token with the quirks of USDT; the first account has `SUPPLY` of it."""
        made = self.deploy("TestUSDT", decimals, SUPPLY * 10**decimals)
        return TestToken(currency, str(made.address), decimals, made)

    def deploy(self, name: str, *arguments: object) -> Any:
        """Deploy one of the test contracts."""
        artifact = contracts()[name]
        factory = self.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
        tx_hash = factory.constructor(*arguments).transact({"from": self.account(0)})
        receipt = self.eth.wait_for_transaction_receipt(tx_hash, timeout=10, poll_latency=0.02)
        return self.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])

    def pay(self, token: TestToken, to: str, amount: str, *, sender: int = 0) -> str:
        """Transfer tokens, as a customer's wallet would. The hash of the transaction."""
        call = token.contract.functions.transfer(to, token.units(amount))
        return str(call.transact({"from": self.account(sender), "gas": 200_000}).to_0x_hex())

    def mine(self, blocks: int = 1) -> None:
        """Make empty blocks."""
        self.tester.mine_blocks(blocks)

    def later(self, by: timedelta) -> None:
        """Make a block so much later."""
        self.tester.time_travel(int((self.clock.now() + by).timestamp()))

    @contextmanager
    def automine_off(self) -> Iterator[None]:
        """Within the block, transactions wait in the pool; at its end they are mined."""
        self.tester.disable_auto_mine_transactions()
        try:
            yield
        finally:
            self.tester.enable_auto_mine_transactions()

    @contextmanager
    def replaced_blocks(self, *, longer: int = 1) -> Iterator[None]:
        """What happens within the block is taken back by a reorganisation: as many blocks and `longer` more follow."""
        before = self.tester.take_snapshot()
        start = int(self.eth.block_number)
        yield
        grown = int(self.eth.block_number) - start
        self.tester.revert_to_snapshot(before)
        self.mine(grown + longer)

    def endpoint(self, label: str = "local") -> Endpoint:
        """A way to read the chain."""
        from agentpay.providers.crypto.rpc import Endpoint

        return Endpoint(label, self._provider)

    def provider(
        self,
        database_url: str,
        *,
        tokens: Sequence[TestToken],
        endpoints: Sequence[Endpoint] | None = None,
        **options: Any,
    ) -> CryptoProvider:
        """The provider on this chain; `options` are those of `create_payment_provider("crypto", …)`."""
        from agentpay.providers.crypto.provider import from_settings

        return from_settings(
            database_url=database_url,
            endpoints=[self.endpoint()] if endpoints is None else endpoints,
            chain_id=self.chain_id,
            tokens=",".join(token.setting for token in tokens),
            **{"clock": ChainClock(self, forward=True), **options},
        )


def _tester() -> Any:
    """web3's test provider. py-evm raises Python's recursion limit for the whole process when it is loaded, so far that
    a deeply nested JSON text would end the process: it is set back, since no contract here calls another."""
    limit = sys.getrecursionlimit()
    try:
        from agentpay.testing.tester import tester_provider

        return tester_provider()
    except ImportError as exc:
        raise ConfigurationError(
            f"A local chain needs {exc.name}, which is not installed.",
            next_step="Install the extra and the test chain: agentpay-engine[crypto] and web3[tester].",
        ) from None
    finally:
        sys.setrecursionlimit(limit)


def contracts() -> dict[str, Any]:
    """The compiled test contracts."""
    text = resources.files("agentpay.testing").joinpath("contracts/TestUSDT.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
