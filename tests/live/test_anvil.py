"""Against a real node: mining, a reorganisation, transactions that are dropped and replaced, a pool that waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentpay.providers.base import NoAnswer
from agentpay.providers.events import AttemptNews, ReversalNews
from agentpay.providers.outcomes import Declined, Pending, RequiresAction, Succeeded, Unknown
from live.anvil import AnvilChain, running
from support.till import CUSTOMER, WALLET, Till

PAID = 7_000_000


@pytest.fixture
def chain() -> Iterator[AnvilChain]:
    with running() as made:
        yield made


@pytest.fixture
def till(chain: AnvilChain, tmp_path: Path) -> Iterator[Till]:
    usdt = chain.token("USDT")
    for account in (WALLET, CUSTOMER):
        chain.pay(usdt, chain.account(account), "1000")
    chain.mine(3)
    made = Till(chain, usdt, f"sqlite:///{tmp_path / 'agentpay.db'}")
    yield made
    made.close()


def paid(till: Till) -> int:
    return till.usdt.balance(till.chain.account(5))


def test_a_deposit_is_mined_confirmed_and_paid(till: Till) -> None:
    made = till.deposit("10.00")
    till.pay(made, "10.00")
    assert isinstance(till.look(made), Pending)
    till.chain.mine()
    assert isinstance(till.look(made), Succeeded)


def test_a_deposit_expires_when_blocks_of_a_later_time_are_confirmed(till: Till) -> None:
    made = till.deposit("10.00")
    till.chain.later(timedelta(hours=2))
    till.chain.mine(2)
    ended = till.look(made)
    assert isinstance(ended, Declined) and ended.code == "expired"


def test_a_reorganisation_takes_a_paid_deposit_back_and_the_next_block_restores_it(
    till: Till, chain: AnvilChain
) -> None:
    made = till.deposit("10.00")
    till.pay(made, "10.00", mine=1)
    assert isinstance(till.look(made), Succeeded)
    chain.reorganise(2)
    chain.mine(2)
    till.look(made)
    kinds = [type(one) for one in till.news()]
    assert kinds == [AttemptNews, ReversalNews]
    till.pay(made, "10.00", mine=2)
    assert isinstance(till.look(made), Succeeded)
    restored = till.news()[-1]
    assert isinstance(restored, ReversalNews) and restored.status == "restored"


def test_a_send_waits_in_the_pool_until_it_is_mined_and_confirmed(till: Till, chain: AnvilChain) -> None:
    with chain.automine_off():
        sent = till.send("7.00")
        assert till.look(sent) == Pending(sent.hash)
        chain.mine()
        assert till.look(sent) == Pending(sent.hash)
        chain.mine()
        assert till.look(sent) == Succeeded(sent.hash)
    assert paid(till) == PAID


def test_a_dropped_transfer_is_unknown_and_only_the_same_bytes_bring_it_back(till: Till, chain: AnvilChain) -> None:
    with chain.automine_off():
        sent = till.send("7.00")
        chain.rpc("anvil_dropTransaction", sent.hash)
        lost = till.look(sent)
        assert isinstance(lost, Unknown) and "in no pool" in lost.evidence
        chain.mine(5)
        assert isinstance(till.look(sent), Unknown), "silence proves nothing"
        assert till.provider.resend(sent.reference) == Pending(sent.hash)
        chain.mine(2)
        assert till.look(sent) == Succeeded(sent.hash)
    assert paid(till) == PAID


def test_a_reorganisation_drops_a_send_that_was_not_confirmed_and_it_is_sent_again(
    till: Till, chain: AnvilChain
) -> None:
    with chain.automine_off():
        sent = till.send("7.00")
        chain.mine()
        assert till.look(sent) == Pending(sent.hash)
        chain.reorganise(1)
        assert isinstance(till.look(sent), Pending | Unknown)
        till.provider.resend(sent.reference)
        chain.mine(3)
        assert till.look(sent) == Succeeded(sent.hash)
    assert paid(till) == PAID


def test_a_transfer_that_another_transaction_replaced_is_proved_only_when_it_is_settled(
    till: Till, chain: AnvilChain
) -> None:
    with chain.automine_off():
        sent = till.send("7.00")
        replace(chain, till, sent)
        chain.mine()
        unsure = till.look(sent)
        assert isinstance(unsure, Unknown) and "not settled yet" in unsure.evidence
        chain.mine(65)  # two confirmations, and 64 blocks more
        became = till.look(sent)
        assert isinstance(became, Declined) and became.code == "replaced"
    assert paid(till) == 0


def replace(chain: AnvilChain, till: Till, sent: Any) -> None:
    """Another wallet's program with the same key uses the nonce."""
    known = chain.eth.get_transaction(sent.hash)
    fees = {"maxFeePerGas": known["maxFeePerGas"] * 3, "maxPriorityFeePerGas": known["maxPriorityFeePerGas"] * 3 + 1}
    own = chain.account(WALLET)
    chain.eth.send_transaction({"from": own, "to": own, "value": 0, "nonce": known["nonce"], **fees})


def test_a_stuck_transfer_is_sped_up_by_a_person_and_only_one_is_mined(till: Till, chain: AnvilChain) -> None:
    with chain.automine_off():
        sent = till.send("7.00")
        fee = chain.eth.get_transaction(sent.hash)["maxFeePerGas"]
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(fee + fee // 20))
        chain.mine()
        assert isinstance(till.look(sent), Pending | Unknown), "the price of gas went above what it offers"
        faster = till.provider.speed_up(sent.reference)
        assert isinstance(faster, Pending) and faster.reference != sent.hash
        chain.mine(3)
        assert till.look(sent) == Succeeded(faster.reference)
    assert paid(till) == PAID


def test_many_sends_in_one_pool_have_nonces_in_a_row_and_arrive_once(till: Till, chain: AnvilChain) -> None:
    with chain.automine_off():
        sent = [till.send("1.00") for _ in range(6)]
        assert {type(till.look(one)) for one in sent} == {Pending}
        chain.mine(2)
        assert [till.look(one) for one in sent] == [Succeeded(one.hash) for one in sent]
    assert paid(till) == 6_000_000


def test_a_transfer_that_the_token_refuses_in_its_block_is_declined(till: Till, chain: AnvilChain) -> None:
    with chain.automine_off():
        sent = till.send("7.00")
        blocked = till.usdt.contract.functions.setBlackListed(chain.account(WALLET), True)
        blocked.transact(
            {"from": chain.account(0), "gas": 100_000, "maxPriorityFeePerGas": 10**11, "maxFeePerGas": 10**12}
        )
        chain.mine(2)
        became = till.look(sent)
        assert isinstance(became, Declined) and became.code == "reverted"


def test_a_node_that_lost_blocks_is_behind_and_changes_nothing(till: Till, chain: AnvilChain) -> None:
    made = till.deposit("10.00")
    till.pay(made, "10.00")
    assert isinstance(till.look(made), Pending)
    chain.rpc("anvil_rollback", 1)
    assert isinstance(till.look(made), NoAnswer)
    chain.mine(1)
    assert isinstance(till.look(made), RequiresAction), "its block is no longer on the chain"
    assert till.news() == []
