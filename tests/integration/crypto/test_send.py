"""Sending on a chain: one nonce a transfer, stored bytes, and only them again."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from agentpay.errors import ProviderError, ProviderUnsupported
from agentpay.providers.base import NotFound, Order, Reference, RefundOrder
from agentpay.providers.crypto import queries
from agentpay.providers.crypto.provider import CryptoProvider
from agentpay.providers.crypto.sending import LEASE
from agentpay.providers.crypto.tables import ChainRawRow, ChainSendRow
from agentpay.providers.events import AttemptNews
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Pending, Succeeded, Unknown
from agentpay.storage.types import table
from agentpay.testing import RecordingSteps
from agentpay.testing.chain import CHAIN, LocalChain, TestToken
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF, Payee
from integration.crypto.conftest import MakeTill
from support.rpc_server import RpcServer, served
from support.till import CUSTOMER, WALLET, Sent, Till

PAID = 7_000_000


def evidence(outcome: object) -> str:
    assert isinstance(outcome, NotSent | Unknown), outcome
    return outcome.evidence


def rows(till: Till, model: type = ChainSendRow) -> list[sa.Row]:  # type: ignore[type-arg]
    statement = sa.select(table(model)).order_by("created_at" if model is ChainSendRow else "signed_at")
    return list(till.provider._books.read(lambda tx: tx.all(statement)))


def paid(till: Till, account: int = 5) -> int:
    return till.usdt.balance(till.chain.account(account))


# -- the way of a transfer -----------------------------------------------------------------------------


def test_a_send_is_pending_until_its_confirmations_and_then_succeeds(till: Till) -> None:
    sent = till.send("7.00")
    assert sent.outcome == Pending(sent.hash)
    till.chain.mine()
    assert till.look(sent) == Succeeded(sent.hash)
    assert paid(till) == PAID
    assert [one for one in till.news() if isinstance(one, AttemptNews)] == [
        AttemptNews("charge", Succeeded(sent.hash), key=sent.reference.key)
    ]


def test_only_a_transfer_of_the_token_is_ever_signed(till: Till) -> None:
    sent = till.send("7.00")
    fields = TypedTransaction.from_bytes(HexBytes(sent.steps.recorded[-1].request["raw"])).as_dict()  # type: ignore[arg-type]
    assert HexBytes(fields["to"]) == HexBytes(till.usdt.address)
    assert fields["value"] == 0
    assert fields["chainId"] == CHAIN
    recipient = till.chain.account(5)[2:].lower()
    assert HexBytes(fields["data"]).hex() == "a9059cbb" + recipient.rjust(64, "0") + f"{PAID:064x}"


def test_the_signed_bytes_and_the_nonce_are_stored_before_they_are_broadcast(
    make_till: MakeTill, chain: LocalChain
) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        seen: list[tuple[int, str, str]] = []

        def look(method: str) -> None:
            if method == "eth_sendRawTransaction":
                (send,), (raw,) = rows(till), rows(till, ChainRawRow)
                seen.append((send.nonce, send.state, raw.raw))

        server.fault = look
        sent = till.send("7.00")
        assert seen == [(0 + chain_nonce(chain) - 1, "sent", sent.steps.recorded[-1].request["raw"])]
        given = [parameters[0] for method, parameters in server.asked if method == "eth_sendRawTransaction"]
        assert given == [seen[0][2]], "what is broadcast is what was recorded"


def chain_nonce(chain: LocalChain) -> int:
    return int(chain.eth.get_transaction_count(chain.account(WALLET)))


def test_a_nonce_is_one_transfers_by_the_database(till: Till) -> None:
    till.send("1.00")
    (row,) = rows(till)
    values = {**row._mapping, "id": "snd_other", "key": "other", "step_key": None}
    made = till.provider._books.write(lambda tx: queries.insert_send(tx, **values))
    assert made is False


def test_sends_at_once_have_a_nonce_each_and_all_arrive(make_till: MakeTill, chain: LocalChain, database: str) -> None:
    barrier, outcomes = threading.Barrier(5), list[Outcome]()
    with served(chain) as server:
        till = make_till(database, endpoints=[server.endpoint(timeout=20)])

        def send() -> None:
            provider = till.new(endpoints=[server.endpoint(timeout=20)])
            barrier.wait()
            outcomes.append(till.send("1.00", provider=provider).outcome)

        threads = [threading.Thread(target=send) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(outcomes) == 5
        nonces = [row.nonce for row in rows(till)]
        assert sorted(nonces) == list(range(min(nonces), min(nonces) + 5))
        for row, raw in zip(rows(till), rows(till, ChainRawRow), strict=True):
            assert row.sender == chain.account(WALLET) and raw.raw
        # What arrived before its predecessor was refused by the node, and is sent again as it is.
        for key in [row.step_key for row in sorted(rows(till), key=lambda row: row.nonce)]:
            till.provider.resend(Reference(key, "charge", "broadcast", {}))
        assert paid(till) == 5_000_000


def test_a_repeat_of_a_key_signs_nothing_new(till: Till) -> None:
    payee = Payee.parse(f"eip155:{CHAIN}:{till.chain.account(5)}")
    order = Order("pay_1", "ana", Money("7.00", "USDT"), payee)
    first = till.charge(order, key="k")
    again = till.charge(order, key="k")
    assert again.hash == first.hash
    assert len(rows(till)) == len(rows(till, ChainRawRow)) == 1
    assert paid(till) == PAID


# -- what cannot be sent, and costs nothing ------------------------------------------------------------


def test_a_wallet_without_balance_sends_nothing(till: Till) -> None:
    assert "has 1000.00 USDT" in evidence(till.send("1000.01").outcome)
    assert rows(till) == []


def test_a_wallet_without_gas_sends_nothing(make_till: MakeTill, chain: LocalChain) -> None:
    poor = "0x" + "42" * 32
    till = make_till(private_key=poor)
    address = till.provider._signer.address  # type: ignore[union-attr]
    chain.pay(till.usdt, address, "50")
    assert "for gas" in evidence(till.send("7.00").outcome)
    health = till.provider.health()
    assert not health.ok and "no gas" in health.detail
    assert rows(till) == []


def test_gas_has_a_cap_of_its_own(make_till: MakeTill) -> None:
    till = make_till(max_gas="0.0000001")
    assert "CRYPTO_MAX_GAS" in evidence(till.send("7.00").outcome)
    assert rows(till) == []
    sent = make_till(max_gas="0.001").send("7.00")
    fields = TypedTransaction.from_bytes(HexBytes(sent.steps.recorded[-1].request["raw"])).as_dict()  # type: ignore[arg-type]
    assert fields["gas"] * fields["maxFeePerGas"] <= 10**15


def test_a_token_that_refuses_is_asked_before_anything_is_signed(till: Till) -> None:
    blocked = till.usdt.contract.functions.setBlackListed(till.chain.account(WALLET), True)
    blocked.transact({"from": till.chain.account(0)})
    assert "refuses" in evidence(till.send("7.00").outcome)
    assert rows(till) == []


@pytest.mark.parametrize("chain_id", [1, 5, 11155111])
def test_an_address_on_another_chain_is_refused(till: Till, chain_id: int) -> None:
    payee = Payee.parse(f"eip155:{chain_id}:{till.chain.account(5)}")
    with pytest.raises(ProviderUnsupported, match="another chain"):
        till.provider.prepare(Order("pay_1", "ana", Money("1", "USDT"), payee))


def test_the_tokens_own_contract_and_the_wallet_itself_are_no_payees(till: Till) -> None:
    for address in (till.usdt.address, till.chain.account(WALLET)):
        payee = Payee.parse(f"eip155:{CHAIN}:{address}")
        with pytest.raises(ProviderUnsupported):
            till.provider.prepare(Order("pay_1", "ana", Money("1", "USDT"), payee))


def test_a_method_of_another_currency_is_refused(till: Till) -> None:
    order = Order("pay_1", "ana", Money("1", "USDT"), SELF, method="stablecoin:usdc")
    with pytest.raises(ProviderUnsupported, match="another currency"):
        till.provider.prepare(order)


def test_an_endpoint_that_is_down_means_not_sent(make_till: MakeTill, chain: LocalChain) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        server.fault = lambda _method: (503, b"")
        assert "503" in evidence(till.send("7.00").outcome)
        assert "503" in evidence(till.deposit("7.00").outcome)


# -- what becomes of it --------------------------------------------------------------------------------


def test_a_transfer_that_the_token_refused_in_a_block_is_declined(till: Till) -> None:
    with till.chain.automine_off():
        block = till.usdt.contract.functions.setBlackListed(till.chain.account(WALLET), True)
        block.transact({"from": till.chain.account(0), "gas": 100_000})
        sent = till.send("7.00")
    till.chain.mine(2)
    became = till.look(sent)
    assert isinstance(became, Declined) and became.code == "reverted"
    assert paid(till) == 0


def test_a_transfer_in_the_pool_is_pending_and_then_stuck_which_is_unknown(make_till: MakeTill) -> None:
    till = make_till(stuck_minutes=1)
    with till.chain.automine_off():
        sent = till.send("7.00")
        assert till.look(sent) == Pending(sent.hash)
    assert isinstance(till.look(sent), Pending)
    till.chain.mine(2)
    assert till.look(sent) == Succeeded(sent.hash)


SETTLED = 2 + 64
"""Confirmations, and as many blocks more as a reorganisation is looked for."""


def test_another_transaction_that_took_the_nonce_proves_it_only_when_it_is_settled(
    make_till: MakeTill, chain: LocalChain
) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        sent = swallowed(till, server)
        chain.pay(till.usdt, chain.account(8), "1.00", sender=WALLET)  # the same nonce, from elsewhere
        assert "not settled yet" in evidence(till.look(sent))
        chain.mine(SETTLED - 2)
        assert "not settled yet" in evidence(till.look(sent))
        chain.mine()
        became = till.look(sent)
        assert isinstance(became, Declined) and became.code == "replaced"


def test_one_endpoint_that_is_silent_keeps_a_lost_nonce_unproved(make_till: MakeTill, chain: LocalChain) -> None:
    with served(chain) as server, served(chain) as second:
        till = make_till(endpoints=[server.endpoint(), second.endpoint()])
        second.fault = swallow
        sent = swallowed(till, server)
        chain.pay(till.usdt, chain.account(8), "1.00", sender=WALLET)
        chain.mine(SETTLED)
        second.fault = lambda _method: (500, b"")
        assert "not every endpoint says so" in evidence(till.look(sent))
        later = till.send("2.00")
        chain.mine()
        told = [one.outcome for one in till.news() if isinstance(one, AttemptNews)]
        assert told == [Succeeded(later.hash)], "what is unproved keeps no other from being told"


NOTHING = b'{"jsonrpc": "2.0", "id": 0, "result": null}'


@pytest.mark.parametrize(
    ("forgotten", "depth"),
    [
        ({"eth_getTransactionReceipt"}, SETTLED),
        ({"eth_getTransactionReceipt", "eth_getTransactionByHash"}, SETTLED - 2),
    ],
    ids=["keeps no receipts", "lags behind"],
)
def test_a_receipt_that_is_missing_is_no_proof_that_another_took_the_nonce(
    make_till: MakeTill, chain: LocalChain, forgotten: set[str], depth: int
) -> None:
    """An endpoint without receipts, or with a machine among many that lags: the transfer was mined, and whoever takes
    it for declined pays twice."""
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        sent = till.send("7.00")
        chain.mine(depth)
        server.fault = lambda method: (200, NOTHING) if method in forgotten else None
        assert isinstance(till.look(sent), Unknown)
        server.fault = lambda _method: None
        assert till.look(sent) == Succeeded(sent.hash)


def swallow(method: str) -> tuple[int, bytes] | None:
    """A node that says that it took a transaction, and forgets it."""
    result = b'{"jsonrpc": "2.0", "id": 0, "result": "0x' + b"11" * 32 + b'"}'
    return (200, result) if method == "eth_sendRawTransaction" else None


def swallowed(till: Till, server: RpcServer) -> Sent:
    """A send whose bytes went nowhere."""
    server.fault = swallow
    sent = till.send("7.00")
    server.fault = lambda _method: None
    assert "in no block and in no pool" in evidence(sent.outcome)
    return sent


def test_a_dropped_transfer_stays_unknown_and_only_the_same_bytes_are_sent_again(
    make_till: MakeTill, chain: LocalChain
) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        sent = swallowed(till, server)
        assert "in no block" in evidence(till.look(sent))
        server.asked.clear()
        assert isinstance(till.provider.resend(sent.reference), Pending)
        given = [parameters[0] for method, parameters in server.asked if method == "eth_sendRawTransaction"]
        assert given == [sent.steps.recorded[-1].request["raw"]]
        chain.mine()
        assert isinstance(till.look(sent), Succeeded)
        assert paid(till) == PAID


def test_sending_again_what_is_mined_moves_nothing(till: Till) -> None:
    sent = till.send("7.00")
    till.chain.mine()
    for _ in range(3):
        assert till.provider.resend(sent.reference) == Succeeded(sent.hash)
    assert paid(till) == PAID


def test_a_fee_that_the_token_takes_from_a_send_is_for_a_person_to_see(till: Till) -> None:
    till.usdt.contract.functions.setFee(100).transact({"from": till.chain.account(0)})
    sent = till.send("7.00")
    till.chain.mine()
    assert "6930000 of 7000000 base units reached the payee" in evidence(till.look(sent))


# -- a person's decision -------------------------------------------------------------------------------


def test_speeding_up_replaces_the_same_transfer_with_higher_fees_and_the_same_nonce(
    make_till: MakeTill, chain: LocalChain
) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        sent = swallowed(till, server)
        faster = till.provider.speed_up(sent.reference)
        old, new = rows(till, ChainRawRow)
        fields = [TypedTransaction.from_bytes(HexBytes(one.raw)).as_dict() for one in (old, new)]
        for name in ("nonce", "to", "value", "data", "chainId", "gas"):
            assert fields[0][name] == fields[1][name]
        for name in ("maxFeePerGas", "maxPriorityFeePerGas"):
            assert fields[1][name] * 8 >= fields[0][name] * 9, "nodes want a tenth more at the least"
        assert faster == Pending(new.tx_hash)
        chain.mine()
        assert till.look(sent) == Succeeded(new.tx_hash)
        assert paid(till) == PAID


def test_the_gas_cap_holds_for_a_replacement_too(make_till: MakeTill, chain: LocalChain) -> None:
    with served(chain) as server:
        till = make_till(endpoints=[server.endpoint()])
        sent = swallowed(till, server)
        (raw,) = rows(till, ChainRawRow)
        cap = int(raw.gas) * int(raw.max_fee)
        poor = till.new(endpoints=[server.endpoint()], max_gas=f"{cap / 10**18:.18f}")
        with pytest.raises(ProviderError, match="CRYPTO_MAX_GAS"):
            poor.speed_up(sent.reference)
        assert len(rows(till, ChainRawRow)) == 1


def test_another_wallet_never_replaces_a_transfer(make_till: MakeTill, chain: LocalChain, usdt: TestToken) -> None:
    """After a change of keys the same nonce is another transaction's: both would be mined, and the payee paid twice."""
    till = make_till()
    chain.pay(usdt, chain.account(2), "100")
    while chain.eth.get_transaction_count(chain.account(2)) < chain_nonce(chain):
        chain.pay(usdt, chain.account(8), "0.01", sender=2)
    other = till.new(private_key=chain.key(2))
    with chain.automine_off():
        sent = till.send("7.00")
        with pytest.raises(ProviderUnsupported, match=chain.account(WALLET)):
            other.speed_up(sent.reference)
    chain.mine()
    assert len(rows(till, ChainRawRow)) == 1
    assert till.look(sent, provider=other) == Succeeded(sent.hash), "it is looked at all the same"
    assert paid(till) == PAID


def test_what_was_never_signed_is_not_replaced(till: Till) -> None:
    (row,) = reserved(till)
    with pytest.raises(ProviderUnsupported, match="never signed"):
        till.provider.speed_up(Reference(row.key, "charge", "charge", {}))
    assert rows(till, ChainRawRow) == []


def reserved(till: Till) -> list[sa.Row]:  # type: ignore[type-arg]
    """A transfer whose process died between its nonce and its signature."""
    values = {"id": "snd_1", "key": "k", "request_hash": "h", "kind": "charge", "subject_id": "pay_1", "chain": CHAIN}
    values |= {"sender": till.chain.account(WALLET), "nonce": 99, "token": till.usdt.address, "units": str(PAID)}
    values |= {"recipient": till.chain.account(5), "state": "signed", "created_at": till.now()}
    till.provider._books.write(lambda tx: queries.insert_send(tx, **values))
    return rows(till)


def test_what_is_final_is_not_replaced(till: Till) -> None:
    sent = till.send("7.00")
    till.chain.mine()
    assert till.look(sent) == Succeeded(sent.hash)
    with pytest.raises(ProviderUnsupported):
        till.provider.speed_up(sent.reference)


# -- deaths in between ---------------------------------------------------------------------------------


class Died(Exception):
    """What a death is to the call that it ends."""


def test_a_death_before_the_broadcast_is_recorded_frees_the_nonce_after_the_lease(
    till: Till, chain: LocalChain
) -> None:
    def die(_step: object) -> None:
        raise Died

    payee = Payee.parse(f"eip155:{CHAIN}:{chain.account(5)}")
    order = Order("pay_1", "ana", Money("7.00", "USDT"), payee)
    steps = RecordingSteps(till.provider.prepare(order), key="k", on_record=die)
    with pytest.raises(Died):
        till.provider.charge(order, steps)
    (row,) = rows(till)
    reference = Reference("k-1", "charge", "charge", steps.recorded[0].request)
    assert "about to be broadcast" in evidence(till.look_at(reference))
    chain.later(2 * LEASE)
    assert "nonce is free" in evidence(till.look_at(reference))
    sent = till.send("7.00")
    assert rows(till)[-1].nonce == row.nonce
    chain.mine()
    assert till.look(sent) == Succeeded(sent.hash)
    assert paid(till) == PAID


def test_what_was_given_up_is_never_broadcast_by_whoever_signed_it(till: Till, chain: LocalChain) -> None:
    """A process that was stopped between signing and broadcasting, and wakes up after its transfer was given up."""

    def sleep(_step: object) -> None:
        chain.later(2 * LEASE)
        found = till.look_at(Reference("k-1", "charge", "charge", {}))
        assert isinstance(found, NotSent)

    payee = Payee.parse(f"eip155:{CHAIN}:{chain.account(5)}")
    order = Order("pay_1", "ana", Money("7.00", "USDT"), payee)
    steps = RecordingSteps(till.provider.prepare(order), key="k", on_record=sleep)
    assert "never broadcast" in evidence(till.provider.charge(order, steps))
    assert paid(till) == 0


def test_a_call_that_takes_longer_than_its_lease_broadcasts_nothing(make_till: MakeTill) -> None:
    time = [0.0]
    till = make_till(monotonic=lambda: time[0])
    payee = Payee.parse(f"eip155:{CHAIN}:{till.chain.account(5)}")
    request = till.provider.prepare(Order("pay_1", "ana", Money("7.00", "USDT"), payee))
    steps = RecordingSteps(request, key="k", on_record=lambda _step: time.__setitem__(0, LEASE.total_seconds() + 1))
    assert "too long" in evidence(till.provider.charge(Order("pay_1", "ana", Money("7.00", "USDT"), payee), steps))
    assert paid(till) == 0


# -- refunds -------------------------------------------------------------------------------------------


def deposited(till: Till, amount: str = "10.00") -> Sent:
    made = till.deposit(amount)
    till.pay(made, amount, mine=1)
    assert isinstance(till.look(made), Succeeded)
    return made


def test_a_refund_goes_to_the_address_that_the_customer_confirmed_not_to_the_sender(till: Till) -> None:
    made = deposited(till)
    before = till.usdt.balance(till.chain.account(CUSTOMER))
    sent = till.refund(made, "4.00")
    till.chain.mine()
    assert till.look(sent) == Succeeded(sent.hash)
    assert paid(till, 6) == 4_000_000
    assert till.usdt.balance(till.chain.account(CUSTOMER)) == before


@pytest.mark.parametrize("reference", [None, "cus_1", "0x" + "11" * 20, "self", "ana@example.com"])
def test_without_a_confirmed_address_there_is_no_refund(till: Till, reference: str | None) -> None:
    order = RefundOrder("ref_1", "pay_1", "dep_1", Money("1", "USDT"), SELF, customer=reference)
    with pytest.raises(ProviderUnsupported, match="confirmed no address") as caught:
        till.provider.prepare_refund(order)
    assert "customers link" in caught.value.next_step


def test_refunds_together_never_exceed_their_deposit(till: Till) -> None:
    made = deposited(till)
    assert isinstance(till.refund(made, "6.00").outcome, Pending)
    refused = till.refund(made, "4.01").outcome
    assert isinstance(refused, Declined) and refused.code == "refund_exceeds_charge"
    assert isinstance(till.refund(made, "4.00").outcome, Pending)


def test_a_look_up_of_what_was_never_signed_finds_nothing(till: Till) -> None:
    request = {"op": "send"}
    assert till.provider.lookup(Reference("none", "charge", "charge", request)) == NotFound()


def test_health_says_what_there_is_and_moves_nothing(till: Till) -> None:
    before = chain_nonce(till.chain)
    health = till.provider.health()
    assert health.ok
    for part in (f"chain {CHAIN}", "s old", till.usdt.address, "the wallet has 1000.00 USDT", "for gas", "base fee"):
        assert part in health.detail
    assert chain_nonce(till.chain) == before


def test_a_provider_without_a_wallet_says_so(make_till: MakeTill) -> None:
    till = make_till(private_key=None)
    assert isinstance(till.provider, CryptoProvider)
    assert "eip155" not in till.provider.capabilities().payees
    with pytest.raises(ProviderUnsupported):
        till.provider.speed_up(Reference("k", "charge", "charge", {}))


def test_stuck_means_unknown_after_a_while(make_till: MakeTill) -> None:
    till = make_till(stuck_minutes=5)
    with till.chain.automine_off():
        sent = till.send("7.00")
        (row,) = rows(till)
        old = row.sent_at - timedelta(minutes=6)
        till.provider._books.write(lambda tx: queries.update_send(tx, row.id, sent_at=old))
        assert "stuck in the pool" in evidence(till.look(sent))
