"""The contract of providers, both ways: deposits that a customer pays at once, and sends that are mined at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from agentpay.providers.base import Found, Order, PaymentProvider, Reference, RefundOrder, Request, Steps
from agentpay.providers.crypto.provider import CryptoProvider
from agentpay.providers.outcomes import Outcome, RequiresAction
from agentpay.testing import ProviderContract
from agentpay.testing.chain import CHAIN, LocalChain, TestToken
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee
from integration.crypto.conftest import MakeTill
from support.rpc_server import RpcServer, served
from support.till import CUSTOMER, WALLET, parsed_uri


class PaysAtOnce:
    """The provider, with a customer who pays every deposit before the call is over."""

    def __init__(self, provider: CryptoProvider, chain: LocalChain, usdt: TestToken) -> None:
        self._provider = provider
        self._chain = chain
        self._usdt = usdt

    def __getattr__(self, name: str) -> object:
        return getattr(self._provider, name)

    def charge(self, order: Order, steps: Steps) -> Outcome:
        reference = Reference(steps.key, "charge", "charge", steps.request)
        outcome = self._provider.charge(order, steps)
        if isinstance(outcome, RequiresAction):
            address, units = parsed_uri(str(outcome.instructions))
            call = self._usdt.contract.functions.transfer(address, units)
            call.transact({"from": self._chain.account(CUSTOMER), "gas": 200_000})
            found = self._provider.lookup(reference)
            assert isinstance(found, Found)
            return found.outcome
        return outcome


class _OnAChain(ProviderContract):
    def money(self) -> Money:
        return Money("20.00", "USDT")

    def effects(self, provider: PaymentProvider) -> int:
        """Every transfer of the token but those that set the scene."""
        assert isinstance(provider, PaysAtOnce)
        logs = provider._usdt.contract.events.Transfer().get_logs(from_block=0)
        return len(logs)


class TestDeposits(_OnAChain):
    @pytest.fixture
    def provider(self, make_till: MakeTill, chain: LocalChain, usdt: TestToken) -> PaysAtOnce:
        return PaysAtOnce(make_till(confirmations=1).provider, chain, usdt)

    def _refund_order(self, order: Order, reference: str, money: Money) -> RefundOrder:
        made = super()._refund_order(order, reference, money)
        return replace(made, customer=f"eip155:{CHAIN}:0x{'77' * 20}")


class TestSends(_OnAChain):
    @pytest.fixture
    def provider(self, make_till: MakeTill, chain: LocalChain, usdt: TestToken) -> Iterator[PaysAtOnce]:
        with served(chain) as server:
            self.server = server
            till = make_till(confirmations=1, xpub=None, endpoints=[server.endpoint(timeout=10)])
            yield PaysAtOnce(till.provider, chain, usdt)

    server: RpcServer

    def payee(self) -> Payee:
        return Payee.parse(f"eip155:{CHAIN}:0x{'77' * 20}")

    def several_steps_order(self) -> Order:
        return self.order()

    def requests(self, provider: PaymentProvider) -> Sequence[tuple[str, Request]] | None:
        return None  # what reaches the network are the recorded bytes alone, without key: see test_send

    def test_the_wallet_paid(self, provider: PaysAtOnce, usdt: TestToken, chain: LocalChain) -> None:
        before = usdt.balance(chain.account(WALLET))
        self._charged(provider)  # type: ignore[arg-type]
        assert usdt.balance(chain.account(WALLET)) == before - 20_000_000
