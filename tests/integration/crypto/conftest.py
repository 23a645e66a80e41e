"""One chain a process, set back after each test; a provider on a database of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentpay.testing.chain import LocalChain, TestToken
from support.databases import Databases
from support.till import CUSTOMER, WALLET, Till

MakeTill = Callable[..., Till]


@pytest.fixture(scope="session")
def whole_chain() -> tuple[LocalChain, TestToken]:
    """The chain and its token: the wallet and the customer have 1000 of it each."""
    chain = LocalChain()
    usdt = chain.token("USDT")
    for account in (WALLET, CUSTOMER):
        chain.pay(usdt, chain.account(account), "1000")
    chain.mine(3)
    return chain, usdt


@pytest.fixture
def chain(whole_chain: tuple[LocalChain, TestToken]) -> Iterator[LocalChain]:
    """The chain as it was at the beginning."""
    made = whole_chain[0]
    before = made.tester.take_snapshot()
    yield made
    made.tester.auto_mine_transactions = True
    made.tester.revert_to_snapshot(before)


@pytest.fixture
def usdt(whole_chain: tuple[LocalChain, TestToken]) -> TestToken:
    """The token."""
    return whole_chain[1]


@pytest.fixture
def make_till(chain: LocalChain, usdt: TestToken, databases: Databases) -> Iterator[MakeTill]:
    """Makes providers with options of their own, on a fresh SQLite database or on the one that is named."""
    made: list[Till] = []

    def make(url: str | None = None, **options: Any) -> Till:
        made.append(Till(chain, usdt, url or databases.create("sqlite"), options))
        return made[-1]

    yield make
    for till in made:
        till.close()


@pytest.fixture
def till(make_till: MakeTill) -> Till:
    """A provider with an address for each payment, and two confirmations."""
    return make_till()


@pytest.fixture
def shared_till(make_till: MakeTill, chain: LocalChain) -> Till:
    """A provider with one address for all payments: the amount tells them apart."""
    return make_till(xpub=None, deposit_address=chain.account(9))
