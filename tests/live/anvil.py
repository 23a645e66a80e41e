"""anvil as a local chain: a real node with a pool, reorganisations, and transactions that are dropped or replaced."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from web3 import HTTPProvider, Web3

from agentpay.providers.crypto.rpc import Endpoint, endpoint
from agentpay.testing.chain import ChainClock, LocalChain

MNEMONIC = "test test test test test test test test test test test junk"


class AnvilChain(LocalChain):
    """A chain behind an anvil that this process started."""

    chain_id = 31337

    def __init__(self, url: str) -> None:
        self.url = url
        self._provider = HTTPProvider(url, request_kwargs={"timeout": 10})
        self.eth = Web3(self._provider).eth
        self.clock = ChainClock(self)

    def rpc(self, method: str, *parameters: Any) -> Any:
        """Ask the node by method."""
        said = self._provider.make_request(method, list(parameters))
        assert "error" not in said, said
        return said["result"]

    def key(self, number: int) -> str:
        from eth_account import Account

        Account.enable_unaudited_hdwallet_features()
        return str(Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{number}").key.to_0x_hex())

    def mine(self, blocks: int = 1) -> None:
        self.rpc("anvil_mine", hex(blocks))

    def later(self, by: timedelta) -> None:
        self.rpc("evm_increaseTime", int(by.total_seconds()))
        self.mine()

    @contextmanager
    def automine_off(self) -> Iterator[None]:
        self.rpc("evm_setAutomine", False)
        try:
            yield
        finally:
            self.rpc("evm_setAutomine", True)

    def reorganise(self, depth: int) -> None:
        """Replace the newest blocks by empty ones: the same height, other hashes."""
        self.rpc("anvil_reorg", depth, [])

    def endpoint(self, label: str = "anvil") -> Endpoint:
        return endpoint(self.url, 10.0)


@contextmanager
def running() -> Iterator[AnvilChain]:
    """A node of its own, on a free loopback port, ended at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [os.environ["AGENTPAY_ANVIL"], "--host", "127.0.0.1", "--port", str(port), "--silent"]
    options = ["--chain-id", "31337", "--mnemonic", MNEMONIC]
    node = subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL)
    try:
        chain = AnvilChain(f"http://127.0.0.1:{port}")
        end = time.monotonic() + 20
        while not chain.eth.w3.is_connected():
            assert time.monotonic() < end and node.poll() is None, "anvil did not start"
            time.sleep(0.05)
        yield chain
    finally:
        node.terminate()
        node.wait(timeout=10)
