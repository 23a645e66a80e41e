"""Collecting on a chain: what customers do, and what becomes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import timedelta

import pytest

from agentpay.providers.base import NoAnswer, NotFound, Order, Reference
from agentpay.providers.crypto.deposits import derived_address
from agentpay.providers.events import AttemptNews, ReversalNews, StrayNews
from agentpay.providers.outcomes import Declined, NotSent, Pending, RequiresAction, Succeeded
from agentpay.testing.chain import CHAIN, XPUB, LocalChain, TestToken
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF
from integration.crypto.conftest import MakeTill
from support.rpc_server import served
from support.till import CUSTOMER, Till

HOUR = timedelta(hours=1)


def succeeded(outcome: object) -> bool:
    return isinstance(outcome, Succeeded)


# -- what the customer is told -------------------------------------------------------------------------


def test_the_instructions_name_chain_token_address_amount_and_deadline(till: Till) -> None:
    made = till.deposit("12.50")
    deadline = till.now() + HOUR
    for part in (
        "exactly 12.50 USDT",
        f"token {till.usdt.address} on eip155:{CHAIN}",
        derived_address(XPUB, 0),
        f"before {deadline:%Y-%m-%dT%H:%M}",
    ):
        assert part in made.words
    assert made.uri == (derived_address(XPUB, 0), 12_500_000)


def test_each_payment_has_an_address_of_its_own_and_no_private_key_is_needed(make_till: MakeTill) -> None:
    till = make_till(private_key=None)
    addresses = [till.deposit().uri[0] for _ in range(3)]
    assert addresses == [derived_address(XPUB, index) for index in range(3)]
    assert till.provider.capabilities().payees == {"self"}
    assert not till.provider.capabilities().refunds


def test_at_a_shared_address_the_added_fraction_is_shown_beforehand_and_never_reused_while_live(
    shared_till: Till,
) -> None:
    made = [shared_till.deposit("10.00") for _ in range(20)]
    units = [one.uri[1] for one in made]
    assert len(set(units)) == 20
    assert {one.uri[0] for one in made} == {shared_till.chain.account(9)}
    for one, number in zip(made, units, strict=True):
        assert 10_000_000 < number < 10_010_000
        fraction = (number - 10_000_000) / 1_000_000
        assert f"{fraction:.6f}".rstrip("0") in one.words
        assert "of it tells this payment from others" in one.words


def test_every_amount_in_use_is_said_and_nothing_handed_out(shared_till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentpay.providers.crypto.deposits.FRACTIONS", 2)
    made = [shared_till.deposit("10.00").outcome for _ in range(3)]
    assert [type(one) for one in made] == [RequiresAction, RequiresAction, NotSent]


# -- paying --------------------------------------------------------------------------------------------


def test_a_payment_succeeds_after_its_confirmations_and_not_before(make_till: MakeTill) -> None:
    till = make_till(confirmations=3)
    made = till.deposit()
    assert isinstance(till.look(made), RequiresAction)
    till.pay(made, "10.00")
    assert isinstance(till.look(made), Pending)
    till.chain.mine()
    assert isinstance(till.look(made), Pending)
    till.chain.mine()
    assert succeeded(till.look(made))
    assert till.strays() == []


def test_in_a_shared_address_the_exact_amount_pays_and_the_fraction_is_ours(shared_till: Till) -> None:
    made, other = shared_till.deposit("10.00"), shared_till.deposit("10.00")
    shared_till.pay(made, f"10.{made.uri[1] - 10_000_000:06d}", mine=1)
    assert succeeded(shared_till.look(made))
    assert isinstance(shared_till.look(other), RequiresAction), "one transfer never pays two orders"
    assert shared_till.strays() == []
    told = [one for one in shared_till.news() if isinstance(one, StrayNews)]
    assert [(one.money.minor, one.reason) for one in told] == [(made.uri[1] - 10_000_000, "fraction")]


def test_underpayment_asks_for_the_rest_and_several_transfers_pay_together(till: Till) -> None:
    made = till.deposit("10.00")
    till.pay(made, "4.00", mine=1)
    asked = till.look(made)
    assert isinstance(asked, RequiresAction) and asked.instructions
    assert "Send exactly 6.00 USDT" in asked.instructions
    assert "4.00 of 10.00 has arrived" in asked.instructions
    till.pay(made, "6.00", mine=1)
    assert succeeded(till.look(made))
    assert till.strays() == []


def test_underpayment_until_the_deadline_is_not_paid_and_the_part_is_listed(till: Till) -> None:
    made = till.deposit("10.00")
    till.pay(made, "4.00", mine=1)
    till.look(made)
    till.chain.later(2 * HOUR)
    till.chain.mine(2)
    ended = till.look(made)
    assert isinstance(ended, Declined) and ended.code == "underpaid"
    assert till.strays() == [("4.00", "underpaid")]


def test_underpayment_at_a_shared_address_matches_nothing(shared_till: Till) -> None:
    made = shared_till.deposit("10.00")
    shared_till.pay(made, "10.00", mine=1)
    assert isinstance(shared_till.look(made), RequiresAction)
    assert shared_till.strays() == [("10.00", "unmatched")]


def test_overpayment_pays_and_what_is_too_much_is_listed(till: Till) -> None:
    made = till.deposit("10.00")
    till.pay(made, "12.34", mine=1)
    assert succeeded(till.look(made))
    assert till.strays() == [("2.34", "overpaid")]
    told = [one for one in till.news() if isinstance(one, StrayNews)]
    assert [(one.money, one.status) for one in told] == [(Money("2.34", "USDT"), "received")]


def test_a_second_payment_is_a_duplicate(till: Till) -> None:
    made = till.deposit("10.00")
    till.pay(made, "10.00")
    till.pay(made, "10.00", mine=1)
    assert succeeded(till.look(made))
    assert till.strays() == [("10.00", "duplicate")]


def test_two_transfers_in_one_transaction_are_two(shared_till: Till) -> None:
    made = shared_till.deposit("10.00")
    call = shared_till.usdt.contract.functions.transferTwice(*made.uri)
    call.transact({"from": shared_till.chain.account(CUSTOMER), "gas": 300_000})
    shared_till.chain.mine()
    assert succeeded(shared_till.look(made))
    assert [reason for _, reason in shared_till.strays()] == ["duplicate"]


# -- time ----------------------------------------------------------------------------------------------


def test_paid_in_time_and_seen_late_is_paid(till: Till) -> None:
    """Nobody looked until long after the deadline; the time of the block counts."""
    made = till.deposit("10.00")
    till.pay(made, "10.00")
    till.chain.later(48 * HOUR)
    till.chain.mine(5)
    assert succeeded(till.look(made))


def test_a_deadline_has_passed_only_when_blocks_of_a_later_time_are_confirmed(make_till: MakeTill) -> None:
    till = make_till(confirmations=3)
    made = till.deposit("10.00")
    till.chain.later(2 * HOUR)
    assert isinstance(till.look(made), RequiresAction), "a block before it may still bring the payment"
    till.chain.mine(2)
    ended = till.look(made)
    assert isinstance(ended, Declined) and ended.code == "expired"


def test_after_the_deadline_it_is_not_paid_and_listed_with_its_payment(till: Till) -> None:
    made = till.deposit("10.00")
    till.chain.later(2 * HOUR)
    till.pay(made, "10.00", mine=3)
    ended = till.look(made)
    assert isinstance(ended, Declined) and ended.code == "expired"
    assert till.strays() == [("10.00", "late")]


def test_a_clock_that_is_behind_the_chain_hands_nothing_out_with_a_deadline_in_the_past(
    make_till: MakeTill, chain: LocalChain
) -> None:
    class Behind:
        def now(self):  # type: ignore[no-untyped-def]
            return chain.clock.now() - 3 * HOUR

    refused = make_till(clock=Behind()).deposit().outcome
    assert isinstance(refused, NotSent)
    assert "deadline would be in the past" in refused.evidence


# -- what matches nothing ------------------------------------------------------------------------------


def test_a_transfer_that_matches_nothing_is_listed(shared_till: Till) -> None:
    shared_till.deposit("10.00")
    shared_till.chain.pay(shared_till.usdt, shared_till.chain.account(9), "3.21", sender=CUSTOMER)
    shared_till.chain.mine()
    told = [one for one in shared_till.news() if isinstance(one, StrayNews)]
    assert [(one.money, one.reason, one.charge) for one in told] == [(Money("3.21", "USDT"), "unmatched", None)]
    assert shared_till.strays() == [("3.21", "unmatched")]


def test_the_right_amount_of_the_wrong_contract_credits_nothing(till: Till) -> None:
    made = till.deposit("10.00")
    false = till.chain.token("USDT")
    till.chain.pay(false, made.uri[0], "10.00")
    till.chain.mine(3)
    assert isinstance(till.look(made), RequiresAction)
    assert till.strays() == []


def test_another_configured_token_at_the_address_of_a_payment_is_listed_not_credited(
    make_till: MakeTill, chain: LocalChain, usdt: TestToken
) -> None:
    usdc = chain.token("USDC")
    till = make_till(tokens=[usdt, usdc])
    made = till.deposit("10.00")
    chain.pay(usdc, made.uri[0], "10.00")
    chain.mine(2)
    assert isinstance(till.look(made), RequiresAction)
    assert [reason for _, reason in till.strays()] == ["unmatched"]


def test_what_an_address_had_before_it_was_handed_out_pays_nothing(till: Till) -> None:
    """An extended key that was used before: an old transfer is no payment for what is asked now."""
    till.provider.poll(till.now())  # the books begin before it
    till.chain.pay(till.usdt, derived_address(XPUB, 0), "10.00", sender=CUSTOMER)
    made = till.deposit("10.00")
    assert made.uri[0] == derived_address(XPUB, 0)
    till.chain.mine(2)
    assert isinstance(till.look(made), RequiresAction)
    assert till.strays() == [("10.00", "unmatched")]
    till.pay(made, "10.00", mine=1)
    assert succeeded(till.look(made))


def test_what_a_shared_address_received_before_the_books_began_is_not_listed(shared_till: Till) -> None:
    shared_till.chain.pay(shared_till.usdt, shared_till.chain.account(9), "3.00", sender=CUSTOMER)
    shared_till.deposit("10.00")
    shared_till.chain.mine(3)
    assert shared_till.news() == []


def test_a_transfer_of_nothing_is_not_even_listed(till: Till) -> None:
    made = till.deposit("10.00")
    till.pay(made, "0.000000", mine=2)
    assert isinstance(till.look(made), RequiresAction)
    assert till.strays() == []


def test_a_token_that_takes_a_fee_pays_with_what_arrives(till: Till) -> None:
    till.usdt.contract.functions.setFee(100).transact({"from": till.chain.account(0)})
    made = till.deposit("10.00")
    till.pay(made, "10.00", mine=1)
    asked = till.look(made)
    assert isinstance(asked, RequiresAction) and asked.instructions
    assert "9.90 of 10.00 has arrived" in asked.instructions
    assert till.usdt.balance(made.uri[0]) == 9_900_000


def test_the_sender_is_never_believed_from_an_argument(till: Till) -> None:
    """There is no argument for it: what an order carries says nothing of who pays, and anybody's transfer counts."""
    made = till.deposit("10.00")
    assert set(made.steps.recorded[0].request) == {"op", "payment_id", "chain", "token", "currency", "units"}
    till.chain.pay(till.usdt, made.uri[0], "10.00", sender=0)
    till.chain.mine()
    assert succeeded(till.look(made))


# -- reorganisations -----------------------------------------------------------------------------------


def test_a_reorganisation_before_the_confirmations_is_as_if_nothing_was_paid(till: Till) -> None:
    made = till.deposit("10.00")
    with till.chain.replaced_blocks():
        till.pay(made, "10.00")
        assert isinstance(till.look(made), Pending)
    assert isinstance(till.look(made), RequiresAction)
    assert till.news() == []


def test_a_reorganisation_after_success_takes_it_back_as_its_own_record_and_it_may_return(till: Till) -> None:
    made = till.deposit("10.00")
    with till.chain.replaced_blocks(longer=2):
        till.pay(made, "10.00", mine=2)
        assert succeeded(till.look(made))
    till.look(made)
    paid, reversed_ = till.news()
    assert isinstance(paid, AttemptNews) and isinstance(paid.outcome, Succeeded)
    assert isinstance(reversed_, ReversalNews)
    assert (reversed_.charge, reversed_.money, reversed_.status) == (
        paid.reference,
        Money("10.00", "USDT"),
        "reversed",
    )
    till.pay(made, "10.00", mine=2)
    assert succeeded(till.look(made))
    restored = till.news()[-1]
    assert isinstance(restored, ReversalNews)
    assert (restored.status, restored.reference) == ("restored", reversed_.reference)


@pytest.mark.parametrize(("amount", "again"), [("5.00", True), ("10.00", False)], ids=["in another block", "nowhere"])
def test_what_another_process_saw_meanwhile_on_blocks_that_are_gone_does_not_count(
    make_till: MakeTill, chain: LocalChain, database: str, amount: str, *, again: bool
) -> None:
    """A slow look knows the books as they were before it, and the chain as it is after: a transfer that was entered in
    between, in a block that was taken back, must not count beside itself in its new block, nor alone."""
    with served(chain) as server:
        till = make_till(database)
        made = till.deposit("10.00")
        slow = till.new(endpoints=[server.endpoint(timeout=10)])
        done = list[bool]()

        def meanwhile(method: str, _parameters: object) -> None:
            if method != "eth_getBlockByNumber" or done:
                return
            done.append(True)
            with chain.replaced_blocks(longer=1):
                till.pay(made, amount)
                till.look(made)
            if again:
                till.pay(made, amount)
            chain.mine(3)

        server.refuse = meanwhile
        till.look(made, provider=slow)
        assert done, "the other process came in between"
        assert isinstance(till.look(made, provider=slow), RequiresAction)
        assert till.strays() == []
        assert till.news() == []


def test_the_news_are_told_again_until_a_day_has_passed_with_the_same_ids(till: Till) -> None:
    made = till.deposit("10.00")
    till.pay(made, "10.00", mine=2)
    first = [event.id for event in till.provider.poll(till.now())]
    assert len(first) == 1
    assert [event.id for event in till.provider.poll(till.now() + 23 * HOUR)] == first
    assert till.provider.poll(till.now() + 25 * HOUR) == ()


def test_news_of_a_time_without_a_worker_are_not_lost(till: Till) -> None:
    made = till.deposit("10.00")
    till.pay(made, "10.00", mine=2)
    till.look(made)
    assert len(till.provider.poll(till.now() + timedelta(days=40))) == 1


# -- keys, processes, look-ups ---------------------------------------------------------------------------------------


def test_the_same_key_has_one_deposit(till: Till) -> None:
    order = Order("pay_1", "ana", Money("10.00", "USDT"), SELF)
    first, again = till.charge(order, key="k"), till.charge(order, key="k")
    assert first.outcome == again.outcome


def test_deposits_at_once_have_addresses_of_their_own(make_till: MakeTill, chain: LocalChain, database: str) -> None:
    barrier, made = threading.Barrier(6), list[str]()
    with served(chain) as server:
        till = make_till(database, endpoints=[server.endpoint()])

        def ask(number: int) -> None:
            provider = till.new(endpoints=[server.endpoint()])
            order = Order("pay_1", "ana", Money("10.00", "USDT"), SELF)
            barrier.wait()
            made.append(till.charge(order, provider=provider, key=f"k{number}").uri[0])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made) == len(set(made)) == 6


def test_a_look_up_of_what_was_never_handed_out_finds_nothing(till: Till) -> None:
    order = Order("pay_1", "ana", Money("10.00", "USDT"), SELF)
    assert till.provider.lookup(Reference("none", "charge", "charge", till.provider.prepare(order))) == NotFound()


def test_base_units_of_18_decimals_survive_storage(make_till: MakeTill, chain: LocalChain) -> None:
    fine = chain.token("USDT", 18)
    chain.pay(fine, chain.account(CUSTOMER), "1000000000")
    till = make_till(tokens=[fine])
    till.usdt = fine
    made = till.deposit("123456789.123456")
    assert made.uri[1] == 123456789_123456 * 10**12
    till.pay(made, "123456789.123456000000000001", mine=1)
    assert succeeded(till.look(made))
    assert till.strays() == [("0.000000000000000001", "overpaid")]
    assert [one for one in till.news() if isinstance(one, StrayNews)] == [], "less than our money can say"


def test_a_token_that_is_configured_no_more_is_still_watched_where_somebody_was_asked_to_pay_in_it(
    make_till: MakeTill, chain: LocalChain, usdt: TestToken
) -> None:
    """And the transfer that came in it before is not missed, which would make every answer one not to be believed."""
    usdc = chain.token("USDC")
    till = make_till(tokens=[usdt, usdc])
    made = till.deposit("10.00", "USDC")
    chain.pay(usdc, made.uri[0], "4.00")
    assert isinstance(till.look(made), RequiresAction)
    fewer = till.new(tokens=[usdt])
    assert isinstance(till.deposit("1.00", provider=fewer).outcome, RequiresAction)
    chain.pay(usdc, made.uri[0], "6.00")
    chain.mine()
    assert succeeded(till.look(made, provider=fewer))


def test_a_token_that_nobody_was_asked_to_pay_in_can_be_taken_out(
    make_till: MakeTill, chain: LocalChain, usdt: TestToken
) -> None:
    usdc = chain.token("USDC")
    till = make_till(tokens=[usdt, usdc])
    made = till.deposit("10.00")
    chain.pay(usdc, made.uri[0], "4.00")
    till.look(made)
    fewer = till.new(tokens=[usdt])
    till.pay(made, "10.00", mine=1)
    assert succeeded(till.look(made, provider=fewer))


def test_a_restart_goes_on_where_the_books_are(till: Till) -> None:
    made = till.deposit("10.00")
    till.pay(made, "10.00", mine=2)
    assert succeeded(till.look(made, provider=till.new()))


# -- an endpoint that cannot be believed ---------------------------------------------------------------


def test_an_endpoint_that_fell_behind_changes_nothing(till: Till, chain: LocalChain) -> None:
    """The block number only goes forward: what was seen is not unseen, across restarts too."""
    made = till.deposit("10.00")
    before = chain.tester.take_snapshot()
    till.pay(made, "10.00", mine=2)
    assert succeeded(till.look(made))
    chain.tester.revert_to_snapshot(before)
    other = till.deposit("5.00").outcome
    assert isinstance(other, NotSent) and "was seen before" in other.evidence
    late = till.new()
    assert not late.health().ok
    assert till.news() != []


def test_logs_that_an_endpoint_leaves_out_are_found_later_and_its_silence_takes_nothing_back(
    make_till: MakeTill, chain: LocalChain
) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        made = till.deposit("10.00")
        till.pay(made, "10.00", mine=2)
        server.answer = lambda method, _parameters, result: [] if method == "eth_getLogs" else result
        assert isinstance(till.look(made), RequiresAction)
        server.answer = lambda _method, _parameters, result: result
        assert succeeded(till.look(made))
        server.answer = lambda method, _parameters, result: [] if method == "eth_getLogs" else result
        asked = till.deposit("1.00").outcome
        assert isinstance(asked, NotSent) and "missing from the same block" in asked.evidence
        assert [type(one) for one in till.news()] == [AttemptNews]


def error(code: int, message: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 0, "error": {"code": code, "message": message}}).encode()


@pytest.mark.parametrize(
    "refusal",
    [
        (200, error(-32602, "eth_getLogs is limited to a 10 range")),
        (200, error(-32005, "query returned more than 10000 results")),
        (400, b"{}"),
        (413, b""),
    ],
    ids=str,
)
def test_an_endpoint_that_wants_small_ranges_is_read_to_the_end_after_a_long_absence(
    make_till: MakeTill, chain: LocalChain, refusal: tuple[int, bytes]
) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint(timeout=5)], confirmations=1)
        made = till.deposit("10.00")
        chain.mine(330)  # nobody looked meanwhile
        till.pay(made, "10.00")
        server.refuse = lambda method, asked: refusal if method == "eth_getLogs" and blocks(asked[0]) > 10 else None
        for _ in range(4):
            assert not isinstance(till.look(made), NoAnswer)
        assert succeeded(till.look(made))
        asked = [parameters[0] for method, parameters in server.asked if method == "eth_getLogs"]
        assert len(asked) < 150, "what is too much is learned once a look"


def blocks(asked: Mapping[str, str]) -> int:
    return int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) + 1


def test_a_log_of_a_block_that_is_not_on_the_chain_credits_nothing(make_till: MakeTill, chain: LocalChain) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        made = till.deposit("10.00")
        till.pay(made, "10.00", mine=2)

        def forged(method: str, _parameters: object, result: object) -> object:
            if method == "eth_getLogs":
                return [{**log, "blockHash": "0x" + "ab" * 32} for log in result]  # type: ignore[attr-defined]
            return result

        server.answer = forged
        assert isinstance(till.look(made), NoAnswer)
