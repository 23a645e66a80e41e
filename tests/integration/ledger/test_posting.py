"""Posting: once, balanced, with running balances that are the sum of their entries, also under concurrency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import CreditsExhausted, StorageError
from agentpay.ids import RandomIds
from agentpay.ledger import queries
from agentpay.ledger.postings import Entry, charge_captured, credits_granted, credits_used
from agentpay.ledger.service import Balance, balance, balances, credit_available, credits_available, lock_credit, post
from agentpay.storage import Store, Tx
from conftest import START
from support.invariants import check_invariants
from support.parallel import Failure, run_threads, values


def posted(store: Store, event: str, object_id: str, entries: Sequence[Entry]) -> bool:
    ids = RandomIds()
    return store.write(lambda tx: post(tx, event=event, object_id=object_id, entries=entries, at=tx.now(), ids=ids))


def credits_of(store: Store, customer: str = "cus_1", currency: str = "USD") -> int:
    return store.read(lambda tx: credit_available(tx, customer, currency))


def charge(minor: int, payee: str = "self") -> tuple[Entry, ...]:
    return charge_captured(
        direction="send" if payee.startswith("eip155") else "collect",
        payee=payee,
        provider_account="mock",
        money_minor=minor,
        currency="USD",
    )


def test_an_event_is_posted_once(store: Store) -> None:
    assert posted(store, "charge_captured", "pay_1", charge(500)) is True
    assert posted(store, "charge_captured", "pay_1", charge(500)) is False
    assert posted(store, "charge_captured", "pay_1", charge(900)) is False
    assert posted(store, "refunded", "pay_1", charge(1)) is True
    assert store.read(balances) == [Balance("clearing:mock", "USD", 501), Balance("revenue", "USD", -501)]
    assert store.read(lambda tx: balance(tx, "clearing:mock", "USD")) == 501
    assert store.read(lambda tx: balance(tx, "clearing:mock", "EUR")) == 0


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (Entry("revenue", "USD", 1),),
        (Entry("revenue", "USD", 0), Entry("payouts", "USD", 0)),
        (Entry("revenue", "USD", 1), Entry("payouts", "EUR", -1)),
        (Entry("revenue", "USD", True), Entry("payouts", "USD", -1)),
        (Entry("revenue", "USD", 1.0), Entry("payouts", "USD", -1)),  # type: ignore[arg-type]
    ],
)
def test_entries_that_do_not_add_up_are_refused(store: Store, entries: tuple[Entry, ...]) -> None:
    with pytest.raises(ValueError, match=r"entry|entries"):
        posted(store, "e", "o", entries)
    assert store.read(balances) == []
    assert posted(store, "e", "o", charge(1)) is True


def test_two_currencies_may_stand_in_one_event(store: Store) -> None:
    entries = [Entry(*side) for side in (("a", "USD", 5), ("b", "USD", -5), ("a", "EUR", 7), ("b", "EUR", -7))]
    assert posted(store, "e", "o", entries)
    assert store.read(lambda tx: balance(tx, "a", "EUR")) == 7


def test_credits_are_used_up_to_the_last_and_no_further(store: Store) -> None:
    posted(store, "credits_granted", "g1", credits_granted("cus_1", 1000, "USD"))
    assert credits_of(store) == 1000
    assert posted(store, "credits_used", "u1", credits_used("cus_1", 999, "USD"))
    with pytest.raises(CreditsExhausted, match=r"0\.02 USD of credits are needed, and 0\.01 are left"):
        posted(store, "credits_used", "u2", credits_used("cus_1", 2, "USD"))
    assert posted(store, "credits_used", "u2", credits_used("cus_1", 1, "USD"))
    assert credits_of(store) == 0
    assert credits_of(store, "cus_2") == credits_of(store, currency="EUR") == 0
    posted(store, "credits_granted", "g2", credits_granted("cus_1", 7, "EUR"))
    assert store.read(lambda tx: credits_available(tx, "cus_1")) == {"EUR": 7, "USD": 0}
    with pytest.raises(CreditsExhausted):
        posted(store, "credits_used", "u3", credits_used("cus_2", 1, "USD"))


def test_an_overdrawn_credit_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(CreditsExhausted):
        posted(store, "credits_used", "u1", credits_used("cus_1", 1, "USD"))
    assert store.read(balances) == []
    posted(store, "credits_granted", "g1", credits_granted("cus_1", 1, "USD"))
    assert posted(store, "credits_used", "u1", credits_used("cus_1", 1, "USD"))


def test_the_database_itself_refuses_an_overdrawn_credit(store: Store) -> None:
    with pytest.raises(StorageError):
        store.write(_owe_a_cent)


def _owe_a_cent(tx: Tx) -> None:
    account = ("customer_credit:x", "USD")
    queries.lock_balance(tx, account)
    queries.set_balance(tx, account, 1)


def test_a_wallet_has_a_running_balance_without_a_bottom(store: Store) -> None:
    posted(store, "charge_captured", "pay_1", charge(500, "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7"))
    assert store.read(lambda tx: queries.running_balance(tx, ("wallet:eip155:1", "USD"))) == -500


def test_a_balance_that_does_not_fit_is_refused(store: Store) -> None:
    huge = (Entry("wallet:x", "USD", -(2**62)), Entry("payouts", "USD", 2**62))
    assert posted(store, "e", "1", huge)
    assert posted(store, "e", "2", (Entry("wallet:x", "USD", 2**62), Entry("payouts", "USD", -(2**62))))
    assert posted(store, "e", "3", huge)
    with pytest.raises(ValueError, match="fit"):
        posted(store, "e", "4", huge)


def test_the_same_event_at_once_is_posted_once(store: Store) -> None:
    results = values(run_threads(8, lambda _: posted(store, "charge_captured", "pay_1", charge(500))))
    assert sorted(results) == [False] * 7 + [True]


def test_events_over_the_same_accounts_at_once_do_not_block_each_other(store: Store) -> None:
    """Accounts are locked in sorted order, whatever the order of the entries: no deadlock, so no write is run twice."""
    names = ["customer_credit:a", "customer_credit:b", "customer_credit:c"]
    for name in names:
        posted(store, "credits_granted", name, credits_granted(name.partition(":")[2], 10_000, "USD"))

    runs, ids = [], RandomIds()

    def move(object_id: str, entries: Sequence[Entry]) -> None:
        def write(tx: Tx) -> bool:
            runs.append(object_id)
            return post(tx, event="moved", object_id=object_id, entries=entries, at=tx.now(), ids=ids)

        assert store.write(write)

    def run(index: int) -> None:
        for number in range(10):
            first, second = names[index % 3], names[(index + 1 + number % 2) % 3]
            entries = (Entry(first, "USD", 1), Entry(second, "USD", -1))
            move(f"{index}-{number}", entries if number % 2 else entries[::-1])

    values(run_threads(6, run))
    assert len(runs) == 60
    check_invariants(store)


def use_credits(index: int, url: str, times: int) -> int:
    """A job for worker processes: use a dollar at a time until none is left; how many it got."""
    from agentpay.clock import FixedClock

    store, got = Store(url, clock=FixedClock(START)), 0
    for number in range(times):
        try:
            got += posted(store, "credits_used", f"{index}-{number}", credits_used("cus_1", 100, "USD"))
        except CreditsExhausted:
            break
    store.close()
    return got


def test_processes_use_exactly_the_credits_there_are(
    store: Store, database: str, run_processes: Callable[..., list[Any]]
) -> None:
    posted(store, "credits_granted", "g1", credits_granted("cus_1", 2550, "USD"))
    got = values(run_processes(3, "integration.ledger.test_posting:use_credits", (database, 20)))
    assert sum(got) == 25
    assert credits_of(store) == 50


def test_what_is_decided_under_the_lock_stays_true(store: Store) -> None:
    posted(store, "credits_granted", "g1", credits_granted("cus_1", 250, "USD"))
    ids = RandomIds()

    def use(index: int) -> int:
        def write(tx: Tx) -> int:
            part = min(100, lock_credit(tx, "cus_1", "USD"))
            if part:
                entries = credits_used("cus_1", part, "USD")
                post(tx, event="credits_used", object_id=str(index), entries=entries, at=tx.now(), ids=ids)
            return part

        return store.write(write)

    assert sorted(values(run_threads(6, use))) == [0, 0, 0, 50, 100, 100]


@pytest.mark.parametrize("damage", ["entry", "balance", "no row"])
def test_the_doctors_queries_find_what_is_wrong(store: Store, damage: str) -> None:
    posted(store, "credits_granted", "g1", credits_granted("cus_1", 100, "USD"))
    statements = {
        "entry": "INSERT INTO ledger_entries (transaction_id, account, currency, amount_minor) "
        "SELECT id, 'revenue', 'USD', 7 FROM ledger_transactions",
        "balance": "UPDATE ledger_balances SET balance_minor = -99",
        "no row": "DELETE FROM ledger_balances",
    }

    def look(tx: Tx) -> tuple[int, int]:
        tx.execute(sa.text(statements[damage]))
        found = len(queries.unbalanced(tx)), len(queries.wrong_balances(tx))
        tx.conn.rollback()
        return found

    with store.engine.connect() as conn:
        tx = Tx(conn, dialect="sqlite" if store.dialect == "sqlite" else "postgresql", time=lambda: START)
        assert look(tx) == ((1, 0) if damage == "entry" else (0, 1))


def test_a_failure_shows_its_code() -> None:
    assert Failure("CreditsExhausted", "CREDITS_EXHAUSTED", "x").code == "CREDITS_EXHAUSTED"
