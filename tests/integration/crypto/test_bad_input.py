"""What cannot be believed: no token, another chain, endpoints that answer anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agentpay.errors import ConfigurationError, PayeeInvalid, ProviderUnsupported
from agentpay.providers.base import NoAnswer, Order
from agentpay.providers.crypto.provider import from_settings
from agentpay.providers.outcomes import NotSent, Outcome, Pending, RequiresAction, Succeeded
from agentpay.testing import RecordingSteps
from agentpay.testing.chain import XPUB, LocalChain, TestToken
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF, Payee
from integration.crypto.conftest import MakeTill
from support.databases import Databases
from support.rpc_server import served
from support.till import Till

WRONG: dict[str, Callable[[LocalChain, TestToken], TestToken]] = {
    "no contract at": lambda chain, usdt: replace(usdt, address="0x" + "77" * 20),
    "is no token": lambda chain, usdt: replace(usdt, address=str(chain.deploy("NoToken").address)),
    "18 decimals, not 6": lambda chain, usdt: replace(chain.token("USDT", 18), decimals=6),
}


@pytest.mark.parametrize("says", WRONG)
def test_a_token_is_held_against_the_chain_before_anything_is_handed_out(
    make_till: MakeTill, chain: LocalChain, usdt: TestToken, says: str
) -> None:
    till = make_till(tokens=[WRONG[says](chain, usdt)])
    for outcome in (till.deposit().outcome, till.send().outcome):
        assert isinstance(outcome, NotSent) and says in outcome.evidence
    health = till.provider.health()
    assert not health.ok and says in health.detail
    assert till.provider._books.read(lambda tx: tx.conn.exec_driver_sql("SELECT id FROM chain_deposits").all()) == []


def test_another_chain_id_is_refused(chain: LocalChain, usdt: TestToken, databases: Databases) -> None:
    provider = from_settings(
        database_url=databases.create("sqlite"),
        endpoints=[chain.endpoint()],
        chain_id=31337,
        tokens=usdt.setting,
        xpub=XPUB,
        clock=chain.clock,
    )
    order = Order("pay_1", "ana", Money("1", "USDT"), SELF)
    outcome = provider.charge(order, RecordingSteps(provider.prepare(order), key="k"))
    assert isinstance(outcome, NotSent) and "not 31337" in outcome.evidence
    assert not provider.health().ok
    provider.close()


@pytest.mark.parametrize("address", ["0x52908400098527886e0F7030069857D2E4169EE7", "0x12", "vitalik.eth", ""])
def test_a_bad_checksum_or_no_address_is_no_payee(till: Till, address: str) -> None:
    with pytest.raises(PayeeInvalid):
        Payee.parse(f"eip155:{till.chain.chain_id}:{address}")


def test_a_currency_without_a_token_is_refused(till: Till) -> None:
    with pytest.raises(ProviderUnsupported):
        till.provider.prepare(Order("pay_1", "ana", Money("1", "USDC"), SELF))


Lie = Callable[[str, Any], Any]
"""What an endpoint makes of an answer: (method, the chain's result)."""

ANSWERS: dict[str, tuple[int, bytes]] = {
    "HTML": (200, b"<!doctype html><title>Just a moment...</title>"),
    "nothing": (200, b""),
    "a null": (200, b'{"jsonrpc": "2.0", "id": 1, "result": null}'),
    "a JSON as deep as a stack": (200, b'{"jsonrpc": "2.0", "id": 1, "result": ' + b"[" * 100_000),
    "an error": (502, b"<html>Bad gateway</html>"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_endpoint_that_answers_anything_credits_nothing_and_loses_nothing(
    make_till: MakeTill, chain: LocalChain, name: str
) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        made = till.deposit("10.00")
        sent = till.send("7.00")
        till.pay(made, "10.00", mine=2)
        server.fault = lambda _method: ANSWERS[name]
        for one in (made, sent):
            assert isinstance(till.look(one), NoAnswer)
        for outcome in (till.deposit().outcome, till.send().outcome):
            assert isinstance(outcome, NotSent)
        assert till.news() == []
        server.fault = lambda _method: None
        assert isinstance(till.look(made), Succeeded)
        assert isinstance(till.look(sent), Succeeded)


def in_a_block(name: str, value: str) -> Lie:
    return lambda method, result: {**result, name: value} if method == "eth_getBlockByNumber" else result


def as_answer(asked: str, value: str) -> Lie:
    return lambda method, result: value if method == asked else result


ABSURD: dict[str, Lie] = {
    "a time after all times": in_a_block("timestamp", "0x" + "f" * 20),
    "a block before the first": in_a_block("number", "-0x1"),
    "a block after all blocks": in_a_block("number", "0x" + "f" * 20),
    "a base fee below nothing": in_a_block("baseFeePerGas", "-0x5"),
    "gas of nothing": as_answer("eth_estimateGas", "0x0"),
    "gas without end": as_answer("eth_estimateGas", "0x" + "f" * 40),
    "a tip below nothing": as_answer("eth_maxPriorityFeePerGas", "-0x5"),
    "more transactions than can be": as_answer("eth_getTransactionCount", "0x" + "f" * 20),
    "fewer transactions than none": as_answer("eth_getTransactionCount", "-0x2"),
}


@pytest.mark.parametrize("lie", ABSURD.values(), ids=ABSURD)
def test_absurd_numbers_are_an_answer_that_makes_no_sense(make_till: MakeTill, chain: LocalChain, lie: Lie) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        made = till.deposit("10.00")
        till.pay(made, "10.00", mine=1)
        server.answer = lambda method, _parameters, result: lie(method, result)
        till.provider.health()
        till.news()
        till.look(made)
        assert isinstance(till.send("7.00").outcome, NotSent)
        server.answer = lambda _method, _parameters, result: result
        assert isinstance(till.look(made), Succeeded)
        assert isinstance(till.send("7.00").outcome, Pending)


def test_yesterdays_block_credits_nothing(make_till: MakeTill, chain: LocalChain) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        made = till.deposit("10.00")
        till.pay(made, "10.00", mine=2)

        def yesterday(method: str, parameters: list[Any], result: Any) -> Any:
            if method == "eth_getBlockByNumber" and parameters[0] == "latest":
                return {**result, "timestamp": hex(int(result["timestamp"], 16) - 86_400)}
            return result

        server.answer = yesterday
        found = till.look(made)
        assert isinstance(found, NoAnswer) and "s old" in found.detail
        server.answer = lambda _method, _parameters, result: result
        assert isinstance(till.look(made), Succeeded)


def test_a_broadcast_that_is_not_answered_is_unknown_and_found_later(make_till: MakeTill, chain: LocalChain) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        out = [False]

        def lost(method: str, _parameters: list[Any], result: Any) -> Any:
            out[0] = out[0] or method == "eth_sendRawTransaction"
            return result

        server.answer = lost  # the node takes it, and from then on nothing comes back
        server.fault = lambda _method: (500, b"") if out[0] else None
        sent = till.send("7.00")
        assert not isinstance(sent.outcome, NotSent | Succeeded | Pending)
        server.fault, server.answer = lambda _method: None, lambda _method, _parameters, result: result
        chain.mine()
        assert isinstance(till.look(sent), Succeeded)
        assert till.usdt.balance(chain.account(5)) == 7_000_000


def test_a_payment_goes_on_with_the_second_endpoint(make_till: MakeTill, chain: LocalChain) -> None:
    with served(chain) as first, served(chain) as second:
        till = make_till(endpoints=[first.endpoint(), second.endpoint()])
        first.fault = lambda _method: ANSWERS["HTML"]
        made = till.deposit("10.00")
        assert isinstance(made.outcome, RequiresAction)
        till.pay(made, "10.00", mine=1)
        found: object = till.look(made)
        assert isinstance(found, Succeeded)
        outcome: Outcome = till.send("7.00").outcome
        assert isinstance(outcome, Pending)


def test_two_tokens_of_one_currency_are_a_fault_of_the_configuration(
    chain: LocalChain, usdt: TestToken, databases: Databases
) -> None:
    other = chain.token("USDT")
    with pytest.raises(ConfigurationError):
        chain.provider(databases.create("sqlite"), tokens=[usdt, other], xpub=XPUB)
