"""The engine on a chain: charges, access, refunds, sends under policy, deaths in between, people's decisions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import Conflict, NotSent, PaymentDeclined, ProviderUnsupported, ValidationError
from agentpay.manager import AgentHandle, PaymentManager
from agentpay.payments.models import Payment, Refund
from agentpay.payments.strays import Strays
from agentpay.plans.models import BillingPeriod, PaymentPlan, PaymentType
from agentpay.providers.base import Order
from agentpay.providers.crypto.rpc import endpoint
from agentpay.providers.crypto.sending import LEASE
from agentpay.providers.events import StrayNews
from agentpay.testing import RecordingSteps
from agentpay.testing.chain import CHAIN, LocalChain, TestToken
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee
from integration.crypto.conftest import MakeTill
from support.databases import Databases
from support.invariants import check_invariants
from support.rpc_server import RpcServer, served
from support.till import Till, parsed_uri

PRO = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    currency="USDT",
    billing_period=BillingPeriod.MONTHLY,
    features=["premium_api"],
)
SECRET = "a secret of twelve or more"


def policy(vendor: str) -> dict[str, Any]:
    return {
        "version": 1,
        "id": "chain",
        "defaults": {"duplicate_window": "0s"},
        "agents": {
            "bot": {
                "tools": ["charge", "refund", "get_payment", "get_approval"],
                "providers": {"allow": ["crypto"]},
                "currencies": {"allow": ["USDT"]},
                "customers": {"allow": ["*"]},
                "payees": {"allow": ["self", vendor]},
                "charge": {
                    "directions": ["collect", "send"],
                    "per_transaction": {"max": "100 USDT"},
                    "limits": [{"id": "day", "amount": "200 USDT", "window": {"rolling": "24h"}}],
                },
                "refund": {"allow": "own_charges"},
                "approvals": [
                    {
                        "id": "big",
                        "when": {"amount_over": "20 USDT"},
                        "approvers": "people",
                        "quorum": 1,
                        "expires": "30m",
                    }
                ],
            }
        },
        "approvers": {"people": {"members": ["alice"]}},
    }


@dataclass
class Shop:
    """A manager with the provider, and the till behind it."""

    till: Till
    manager: PaymentManager

    @property
    def vendor(self) -> str:
        return f"eip155:{CHAIN}:{self.till.chain.account(5)}"

    @property
    def bot(self) -> AgentHandle:
        return self.manager.for_agent("bot")

    def pays(self, payment: Payment, amount: str) -> None:
        """The customer pays what they were told."""
        address, _ = parsed_uri(payment.next_step.removesuffix(" Do not pay again."))
        self.till.chain.pay(self.till.usdt, address, amount, sender=4)
        self.till.chain.mine()

    def charged(self, amount: str = "10.00", key: str = "c") -> Payment:
        """A charge that was paid."""
        made = self.manager.charge("ana", amount, "USDT", idempotency_key=key)
        self.pays(made, amount)
        return self.manager.continue_payment(made.id)

    def rows(self, text: str) -> list[Any]:
        return list(self.manager._engine.store.read(lambda tx: tx.all(sa.text(text))))


MakeShop = Callable[..., Shop]


@pytest.fixture
def make_shop(make_till: MakeTill, databases: Databases) -> Iterator[MakeShop]:
    """Makes shops, on SQLite where no database is named."""
    made: list[Shop] = []

    def make(url: str | None = None, **options: Any) -> Shop:
        url = url or databases.create("sqlite")
        till = make_till(url, **options)
        vendor = f"eip155:{CHAIN}:{till.chain.account(5)}"
        manager = PaymentManager(url, provider=till.provider, policy=policy(vendor), throttle="off", clock=till.clock)
        made.append(Shop(till, manager))
        return made[-1]

    yield make
    for shop in made:
        check_invariants(shop.manager._engine.store)
        shop.manager.close()


@pytest.fixture
def shop(database: str, make_shop: MakeShop) -> Shop:
    """A shop on each kind of database."""
    return make_shop(database)


# -- the whole way -------------------------------------------------------------------------------------


def test_a_subscription_is_paid_on_the_chain_and_gives_access(shop: Shop) -> None:
    shop.manager.create_plan(PRO)
    begun = shop.manager.subscribe("ana", "pro", idempotency_key="s")
    assert begun.status == "incomplete"
    assert not shop.manager.check_access("ana", "premium_api")
    payment = shop.manager.get_payment(str(begun.payment_id))
    assert payment.status == "requires_action"
    shop.pays(payment, "10.00")
    assert shop.manager.continue_payment(payment.id).status == "succeeded"
    assert shop.manager.check_access("ana", "premium_api")


def test_a_reconcile_finds_what_was_paid(shop: Shop) -> None:
    made = shop.manager.charge("ana", "10.00", "USDT", idempotency_key="c")
    shop.pays(made, "10.00")
    assert shop.manager.reconcile().settled == 1
    assert shop.manager.get_payment(made.id).status == "succeeded"


def test_what_was_not_paid_in_time_is_declined(shop: Shop) -> None:
    made = shop.manager.charge("ana", "10.00", "USDT", idempotency_key="c")
    shop.till.chain.later(timedelta(hours=2))
    shop.till.chain.mine(2)
    with pytest.raises(PaymentDeclined) as caught:
        shop.manager.continue_payment(made.id)
    assert caught.value.decline_code == "expired"


def test_a_refund_needs_an_address_that_the_customer_confirmed(shop: Shop) -> None:
    paid = shop.charged()
    with pytest.raises(ProviderUnsupported, match="confirmed no address"):
        shop.manager.refund(paid.id, "4.00", idempotency_key="r")
    assert shop.manager.get_payment(paid.id).refunded == 0
    shop.manager.link_customer("ana", "crypto", f"eip155:{CHAIN}:{shop.till.chain.account(6)}")
    begun = shop.manager.refund(paid.id, "4.00", idempotency_key="r")
    assert begun.status == "pending"
    shop.till.chain.mine()
    shop.manager.reconcile()
    assert shop.manager.refunds_of(paid.id)[0].status == "succeeded"
    assert shop.till.usdt.balance(shop.till.chain.account(6)) == 4_000_000


def test_what_a_reorganisation_took_back_is_not_refunded_even_before_the_engine_has_heard_of_it(shop: Shop) -> None:
    shop.manager.link_customer("ana", "crypto", f"eip155:{CHAIN}:{shop.till.chain.account(6)}")
    made = shop.manager.charge("ana", "10.00", "USDT", idempotency_key="c")
    with shop.till.chain.replaced_blocks(longer=2):
        shop.pays(made, "10.00")
        assert shop.manager.continue_payment(made.id).status == "succeeded"
    with pytest.raises(NotSent):
        shop.manager.refund(made.id, "4.00", idempotency_key="r")
    assert shop.till.usdt.balance(shop.till.chain.account(6)) == 0
    shop.pays(made, "10.00")
    shop.till.chain.mine()
    assert shop.manager.refund(made.id, "4.00", idempotency_key="r").status == "pending"
    assert shop.till.usdt.balance(shop.till.chain.account(6)) == 4_000_000


@pytest.mark.parametrize(
    "reference", ["0x" + "11" * 20, "eip155:1:0x" + "11" * 20, "ana@example.com", f"eip155:{CHAIN}:0x" + "0" * 40]
)
def test_what_is_no_address_on_this_chain_is_not_linked(shop: Shop, reference: str) -> None:
    with pytest.raises(ValidationError):
        shop.manager.link_customer("ana", "crypto", reference)


def test_a_send_of_an_agent_is_parked_approved_and_paid_once(shop: Shop) -> None:
    shop.manager.enrol_approver("alice", SECRET)
    order: dict[str, Any] = {"payee": shop.vendor, "description": "Hosting", "idempotency_key": "s"}
    parked = shop.bot.charge("ana", "30.00", "USDT", **order)
    assert parked.status == "approval_required"
    assert shop.till.usdt.balance(shop.till.chain.account(5)) == 0
    shop.manager.approve(str(parked.approval_id), approver="alice", secret=SECRET)
    sent = shop.bot.charge("ana", "30.00", "USDT", **order)
    assert sent.status == "pending"
    shop.till.chain.mine()
    assert shop.manager.verify_payment(sent.id).status == "succeeded"
    assert shop.bot.charge("ana", "30.00", "USDT", **order).replayed
    assert shop.till.usdt.balance(shop.till.chain.account(5)) == 30_000_000
    (wallet,) = shop.rows(f"SELECT amount_minor FROM ledger_entries WHERE account = 'wallet:eip155:{CHAIN}'")
    assert wallet.amount_minor == -30_000_000


def test_an_address_on_another_chain_is_refused_before_anybody_is_asked(shop: Shop) -> None:
    other = "eip155:1:" + shop.till.chain.account(5)
    with pytest.raises(ProviderUnsupported, match="on chain"):
        shop.manager.charge("ana", "30.00", "USDT", payee=other, idempotency_key="s")
    assert shop.rows("SELECT id FROM payments") == []


def test_a_wallet_without_balance_is_not_sent_and_can_be_repeated(shop: Shop) -> None:
    with pytest.raises(NotSent):
        shop.manager.charge("ana", "5000.00", "USDT", payee=shop.vendor, idempotency_key="s")
    shop.till.chain.pay(shop.till.usdt, shop.till.chain.account(1), "5000")
    sent = shop.manager.charge("ana", "5000.00", "USDT", payee=shop.vendor, idempotency_key="s")
    assert sent.status == "pending"


# -- deaths --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["recorded", "before", "after"])
@pytest.mark.parametrize("way", ["send", "refund"])
def test_a_kill_around_the_broadcast_never_sends_twice(
    make_shop: MakeShop, chain: LocalChain, usdt: TestToken, when: str, way: str
) -> None:
    """A process dies as soon as the bytes are stored, when it is about to broadcast them, or when it just has; the next
    start looks at the chain, and sends the same bytes where they are not there."""
    with served(chain) as server:
        shop = make_shop(endpoints=[server.endpoint(timeout=10)])
        payee = chain.account(5 if way == "send" else 6)
        paid = shop.charged() if way == "refund" else None
        shop.manager.link_customer("ana", "crypto", f"eip155:{CHAIN}:{chain.account(6)}")

        def go(manager: PaymentManager) -> Payment | Refund:
            if paid is not None:
                return manager.refund(paid.id, "7.00", idempotency_key="s")
            return manager.charge("ana", "7.00", "USDT", payee=shop.vendor, idempotency_key="s")

        dies(shop, server, when, go)
        server.asked.clear()
        assert usdt.balance(payee) == (7_000_000 if when == "after" else 0)
        assert go(shop.manager).status == "pending", "a repeat looks, and pays nothing again"
        chain.later(2 * LEASE)
        shop.manager.reconcile()
        chain.mine(2)
        shop.manager.reconcile()
        assert go(shop.manager).status == "succeeded"
        assert usdt.balance(payee) == 7_000_000
        raws = shop.rows("SELECT raw FROM chain_raws")
        assert len(raws) == 1
        given = [parameters[0] for method, parameters in server.asked if method == "eth_sendRawTransaction"]
        assert set(given) <= {raws[0].raw}


def dies(shop: Shop, server: RpcServer, when: str, call: Callable[[PaymentManager], object]) -> None:
    """Run a call in a process of its own that ends itself at a point of the broadcast."""
    child = os.fork()
    if child == 0:
        try:
            provider = shop.till.new(endpoints=[_deadly(server.url, when)], clock=_Still(shop))
            if when == "recorded":
                provider._sender._mark = lambda *_: os._exit(42)  # type: ignore[union-attr,method-assign]
            url = shop.till.url
            call(PaymentManager(url, provider=provider, policy=False, throttle="off", clock=_Still(shop)))
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 42, "the child was to die at the broadcast"


class _Still:
    """The time of the chain as it was at the fork: the child has no chain of its own."""

    def __init__(self, shop: Shop) -> None:
        self._now = shop.till.clock.now()

    def now(self):  # type: ignore[no-untyped-def]
        return self._now


def _deadly(url: str, when: str) -> Any:
    made = endpoint(url, 10.0)
    usual = made.provider.make_request

    def request(method: Any, parameters: Any) -> Any:
        if method == "eth_sendRawTransaction":
            if when == "after":
                usual(method, parameters)
            os._exit(42)
        return usual(method, parameters)

    made.provider.make_request = request  # type: ignore[method-assign,assignment]
    return made


def test_signing_anew_after_a_death_would_pay_twice(make_till: MakeTill, chain: LocalChain, usdt: TestToken) -> None:
    """The naive counterpart, which keeps nothing before it broadcasts: it pays twice, and this is why we do."""
    till = make_till()

    def naive() -> None:
        steps = RecordingSteps(
            till.provider.prepare(
                Order("pay_1", "ana", Money("7.00", "USDT"), Payee.parse(f"eip155:{CHAIN}:{chain.account(5)}"))
            ),
            key=f"key-{usdt.balance(chain.account(5))}",
        )
        till.provider.charge(
            Order("pay_1", "ana", Money("7.00", "USDT"), Payee.parse(f"eip155:{CHAIN}:{chain.account(5)}")), steps
        )

    naive()  # it died here, and remembers no key
    naive()
    assert usdt.balance(chain.account(5)) == 14_000_000


def test_the_bytes_of_a_halted_agent_are_not_sent_again(make_shop: MakeShop, chain: LocalChain) -> None:
    with served(chain) as server:
        shop = make_shop(endpoints=[server.endpoint(timeout=10)])
        server.fault = _swallow
        sent = shop.bot.charge("ana", "7.00", "USDT", payee=shop.vendor, description="Hosting", idempotency_key="s")
        assert sent.status == "unknown"
        server.fault = lambda _method: None
        shop.manager.halt("bot", reason="strange")
        shop.manager.reconcile()
        assert shop.manager.get_payment(sent.id).status == "unknown"
        assert shop.till.usdt.balance(chain.account(5)) == 0
        shop.manager.resume("bot")
        shop.manager.reconcile()
        assert shop.manager.get_payment(sent.id).status == "pending"
        assert shop.till.usdt.balance(chain.account(5)) == 7_000_000


def _swallow(method: str) -> tuple[int, bytes] | None:
    result = json.dumps({"jsonrpc": "2.0", "id": 0, "result": "0x" + "11" * 32}).encode()
    return (200, result) if method == "eth_sendRawTransaction" else None


# -- people --------------------------------------------------------------------------------------------


def test_a_person_speeds_up_what_is_stuck_and_it_is_audited(make_shop: MakeShop, chain: LocalChain) -> None:
    with served(chain) as server:
        shop = make_shop(endpoints=[server.endpoint(timeout=10)])
        server.fault = _swallow
        sent = shop.manager.charge("ana", "7.00", "USDT", payee=shop.vendor, idempotency_key="s")
        server.fault = lambda _method: None
        assert shop.manager.speed_up(sent.id).status == "pending"
        chain.mine()
        assert shop.manager.verify_payment(sent.id).status == "succeeded"
        assert shop.till.usdt.balance(chain.account(5)) == 7_000_000
        assert len(shop.rows("SELECT seq FROM audit_log WHERE action = 'payment.speed_up'")) == 1
        with pytest.raises(Conflict):
            shop.manager.speed_up(sent.id)


def test_a_reorganisation_is_a_record_of_its_own_and_so_is_the_return(shop: Shop) -> None:
    made = shop.manager.charge("ana", "10.00", "USDT", idempotency_key="c")
    with shop.till.chain.replaced_blocks(longer=2):
        shop.pays(made, "10.00")
        assert shop.manager.continue_payment(made.id).status == "succeeded"
    shop.manager.poll()
    assert shop.manager.get_payment(made.id).status == "succeeded"
    assert [(one.kind, one.status) for one in shop.manager.disputes(made.id)] == [("reversal", "reversed")]
    shop.pays(made, "10.00")
    shop.till.chain.mine()
    shop.manager.poll()
    assert [(one.kind, one.status) for one in shop.manager.disputes(made.id)] == [("reversal", "restored")]
    sums = "SELECT account, sum(amount_minor) AS minor FROM ledger_entries GROUP BY account"
    assert {row.account: row.minor for row in shop.rows(sums)}["revenue"] == -10_000_000


def test_a_poll_alone_settles_what_was_paid_and_sent(shop: Shop) -> None:
    made = shop.manager.charge("ana", "10.00", "USDT", idempotency_key="c")
    sent = shop.manager.charge("ana", "7.00", "USDT", payee=shop.vendor, idempotency_key="s")
    shop.pays(made, "10.00")
    shop.till.chain.mine()
    shop.manager.poll()
    assert [shop.manager.get_payment(one.id).status for one in (made, sent)] == ["succeeded", "succeeded"]


def test_agents_cannot_speed_up(shop: Shop) -> None:
    assert not hasattr(shop.bot, "speed_up")


def test_what_is_no_payments_is_listed_for_a_person(shop: Shop) -> None:
    paid = shop.charged()
    address = shop.rows("SELECT address FROM chain_deposits")[0].address
    shop.till.chain.pay(shop.till.usdt, address, "3.00", sender=4)
    shop.till.chain.mine(2)
    assert shop.manager.poll() == 2  # that it was paid, and the stray
    assert shop.manager.poll() == 0
    sums = "SELECT account, sum(amount_minor) AS minor FROM ledger_entries GROUP BY account"
    assert {row.account: row.minor for row in shop.rows(sums)}["unallocated"] == -3_000_000
    (listed,) = shop.manager.unallocated_transfers()
    assert (listed.amount, listed.currency, listed.reason, listed.payment_id) == ("3.00", "USDT", "duplicate", paid.id)
    assert listed.sender == shop.till.chain.account(4)


def test_money_that_is_no_payments_is_posted_once_and_taken_back_once(shop: Shop) -> None:
    store = shop.manager._engine.store
    strays, account = Strays(shop.manager._engine.ids), f"crypto:eip155:{CHAIN}"
    came = StrayNews("t:1", Money("3.00", "USDT"), "received", "late")
    gone = StrayNews("t:1", Money("3.00", "USDT"), "taken_back", "late")
    kept = StrayNews("t:2", Money("0.001234", "USDT"), "received", "fraction")
    said = [store.write(lambda tx, one=one: strays.apply(tx, account, one)) for one in (gone, came, came, kept)]  # type: ignore[misc]
    assert said == ["waits", "posted", "known", "posted"]
    sums = "SELECT account, sum(amount_minor) AS minor FROM ledger_entries GROUP BY account ORDER BY account"
    assert [(row.account, row.minor) for row in shop.rows(sums)] == [
        (f"clearing:{account}", 3_001_234),
        ("revenue", -1234),
        ("unallocated", -3_000_000),
    ]
    assert [store.write(lambda tx: strays.apply(tx, account, gone)) for _ in range(2)] == ["posted", "known"]
    assert [row.minor for row in shop.rows(sums) if row.account == "unallocated"] == [0]


# -- secrets -------------------------------------------------------------------------------------------


def test_keys_and_endpoints_are_in_no_row_repr_or_log(
    make_shop: MakeShop, chain: LocalChain, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    with served(chain) as server:
        shop = make_shop(endpoints=[server.endpoint(timeout=10)])
        sent = shop.manager.charge("ana", "7.00", "USDT", payee=shop.vendor, idempotency_key="s")
        server.fault = lambda _method: (500, b"key-of-the-endpoint")
        shop.manager.reconcile()
        with pytest.raises(NotSent) as caught:
            shop.manager.charge("ana", "8.00", "USDT", payee=shop.vendor, idempotency_key="t")
        health = shop.manager.health()
    tables = [row.name for row in shop.rows(_TABLES[shop.manager._engine.store.dialect])]
    kept = " ".join(str(tuple(row)) for name in tables for row in shop.rows(f'SELECT * FROM "{name}"'))
    shown = " ".join(map(repr, (shop.till.provider, shop.till.provider._signer, health, sent, caught.value)))
    key = chain.key(1).removeprefix("0x")
    for text in (kept, shown, caplog.text, str(caught.value)):
        for secret in (key, "key-of-the-endpoint"):
            assert secret not in text
    assert "7000000" in kept, "the rows were read"


_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'",
}
