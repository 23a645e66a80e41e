"""The bad input of the issue, at the manager and at the handle: a typed error, and nothing is lost or half-written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.errors import ProviderUnknown, StorageBusy, StorageError, StorageFull, StorageReadOnly
from agentpay.manager import PaymentManager
from agentpay.payments.models import Payment
from agentpay.plans.models import PaymentPlan
from support.bench import Bench, code_of
from support.bench_fixtures import MakeBench

HUGE = "x" * 10_240
AMOUNTS: list[Any] = [
    "-1.00", "0", "0.00", "NaN", "Infinity", "-Infinity", "1e400", "1,000", "", " ", "five", "0x10", "١", True, False,
    None, float("nan"), float("inf"), 0.1 + 0.2, "19.999", Decimal("19.999"), Decimal("NaN"), "99999999999999999999",
    [], {"amount": 1},
]  # fmt: skip


def rows(bench: Bench) -> dict[str, int]:
    """How many rows there are of what a charge writes."""
    names = ("payments", "attempts", "holds", "ledger_entries", "operation_keys", "customers", "decisions")
    read = bench.engine.store.read
    return {name: int(read(lambda tx, name=name: tx.scalar(sa.text(f"SELECT count(*) FROM {name}")))) for name in names}  # type: ignore[misc]


def both(bench: Bench, customer: Any, amount: Any, currency: Any) -> set[str]:
    """The codes with which the manager and the handle refuse a charge."""
    return {
        code_of(lambda: bench.manager.charge(customer, amount, currency, idempotency_key="bad")),
        code_of(lambda: bench.bot.charge(customer, amount, currency, description="x", idempotency_key="bad")),
    }


@pytest.mark.parametrize("amount", AMOUNTS, ids=repr)
def test_no_amount_is_refused_and_nothing_is_written(shared: Bench, ana: str, amount: Any) -> None:
    before = rows(shared)
    assert both(shared, ana, amount, "USD") == {"AMOUNT_INVALID"}
    assert rows(shared) == before


@pytest.mark.parametrize(("amount", "currency", "code"), [
    ("0.5", "JPY", "AMOUNT_INVALID"),
    ("1.0001", "KWD", "AMOUNT_INVALID"),
    ("1.00", "XYZ", "CURRENCY_UNKNOWN"),
    ("1.00", "usd", "CURRENCY_UNKNOWN"),
    ("1.00", "", "CURRENCY_UNKNOWN"),
    ("1.00", None, "CURRENCY_UNKNOWN"),
    ("1.00", HUGE, "CURRENCY_UNKNOWN"),
])  # fmt: skip
def test_no_currency_is_refused(shared: Bench, ana: str, amount: str, currency: Any, code: str) -> None:
    before = rows(shared)
    assert both(shared, ana, amount, currency) == {code}
    assert rows(shared) == before


@pytest.mark.parametrize("customer", ["", " ", HUGE, "a\x00b", "a\u202eb", "a\nb", 5, None, True, "\ud800"], ids=repr)
def test_no_customer_is_refused(shared: Bench, customer: Any) -> None:
    before = rows(shared)
    assert both(shared, customer, "1.00", "USD") == {"INVALID_ARGUMENT"}
    for call in (
        lambda: shared.bot.check_access(customer, "f"),
        lambda: shared.bot.record_usage(customer, "f", idempotency_key="bad"),
        lambda: shared.bot.list_payments(customer),
        lambda: shared.bot.get_subscription(customer),
        lambda: shared.bot.cancel_subscription(customer),
        lambda: shared.manager.record_usage(customer, "f", idempotency_key="bad"),
        lambda: shared.manager.get_usage(customer),
        lambda: shared.manager.grant_credits(customer, "1.00", idempotency_key="bad"),
        lambda: shared.manager.link_customer(customer, "mock", "ref"),
    ):
        assert code_of(call) in ("INVALID_ARGUMENT", "POLICY_DENIED"), customer
    assert rows(shared) == before


@pytest.mark.parametrize("customer", ["o'hara", "a&b", "ünï-🦊", "'; DROP TABLE payments; --", "%", "_", "a" * 200])
def test_a_customers_id_is_opaque(shared: Bench, customer: str) -> None:
    payment = shared.bot.charge(customer, "1.00", "USD", description=customer, idempotency_key=customer)
    assert payment.status == "succeeded" and payment.customer == customer and payment.description == customer
    assert [one.id for one in shared.manager.list_payments(customer)] == [payment.id]
    assert shared.bot.list_payments(customer).items[0].customer == customer


def test_unknown_things_are_named(shared: Bench, ana: str) -> None:
    shared.manager.create_plan(PaymentPlan(id="p", name="P", payment_type="subscription", price="1.00",
                                           billing_period="monthly"))  # fmt: skip
    found = {
        "plan": code_of(lambda: shared.manager.subscribe(ana, "nope", idempotency_key=ana)),
        "agent's plan": code_of(lambda: shared.bot.subscribe(ana, "nope", idempotency_key=ana)),
        "provider": code_of(lambda: shared.manager.charge(ana, "1", "USD", provider="no", idempotency_key=ana)),
        "plan's provider": code_of(lambda: shared.manager.subscribe(ana, "p", provider="no", idempotency_key=ana)),
        "method": code_of(lambda: shared.manager.charge(ana, "1", "USD", method="gold", idempotency_key=ana)),
        "payee": code_of(lambda: shared.manager.charge(ana, "1", "USD", payee="eve", idempotency_key=ana)),
        "payment": code_of(lambda: shared.manager.get_payment("pay_x")),
        "continued": code_of(lambda: shared.manager.continue_payment("pay_x")),
        "verified": code_of(lambda: shared.manager.verify_payment("pay_x")),
        "approval": code_of(lambda: shared.manager.get_approval("apr_x")),
        "customer": code_of(lambda: shared.manager.get_subscription("nobody")),
        "limit": code_of(lambda: shared.bot.list_payments(ana, limit=0)),
    }
    assert found == {
        "plan": "PLAN_UNKNOWN", "agent's plan": "PLAN_UNKNOWN", "provider": "PROVIDER_UNKNOWN",
        "plan's provider": "PROVIDER_UNKNOWN", "method": "PROVIDER_UNSUPPORTED", "payee": "PAYEE_INVALID",
        "payment": "NOT_FOUND", "continued": "NOT_FOUND", "verified": "NOT_FOUND", "approval": "NOT_FOUND",
        "customer": "NOT_FOUND", "limit": "INVALID_ARGUMENT",
    }  # fmt: skip
    assert shared.manager.list_payments(ana) == ()


@pytest.mark.parametrize("named", ["\ud800", "a\x00b", ""], ids=repr)
def test_an_id_that_no_database_takes_is_refused(shared: Bench, ana: str, named: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "payment": lambda: shared.bot.get_payment(named),
        "key": lambda: shared.bot.get_payment(idempotency_key=named),
        "approval": lambda: shared.bot.get_approval(named),
        "cursor": lambda: shared.bot.list_payments(ana, cursor=named),
        "refund": lambda: shared.bot.refund(named, reason="x", idempotency_key=ana),
        "read": lambda: shared.manager.get_payment(named),
        "continued": lambda: shared.manager.continue_payment(named),
        "verified": lambda: shared.manager.verify_payment(named),
        "asked": lambda: shared.manager.get_approval(named),
        "card": lambda: shared.manager.approval_card(named),
    }
    assert {name: code_of(call) for name, call in calls.items()} == dict.fromkeys(calls, "INVALID_ARGUMENT")


def test_a_page_follows_the_one_before(shared: Bench, ana: str) -> None:
    made: list[Payment] = []
    for n in range(5):
        shared.later(seconds=1)
        made.append(shared.bot.charge(ana, f"{n + 1}.00", "USD", description="x", idempotency_key=f"{ana}-{n}"))
    seen: list[str] = []
    cursor = None
    for _ in range(5):
        page = shared.bot.list_payments(ana, limit=2, cursor=cursor)
        seen += [one.id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [one.id for one in reversed(made)]
    assert code_of(lambda: shared.bot.list_payments(ana, cursor="pay_x")) == "NOT_FOUND"


def test_a_long_text_is_refused_and_a_strange_one_kept(shared: Bench, ana: str) -> None:
    strange = "pay\u202e me \x1b[31m now"
    payment = shared.bot.charge(ana, "1.00", "USD", description=strange, idempotency_key=ana)
    assert payment.description == strange
    assert code_of(
        lambda: shared.bot.charge(ana, "1.00", "USD", description=HUGE, idempotency_key=f"{ana}-2")
    ) == "INVALID_ARGUMENT"  # fmt: skip


# -- the database, on SQLite


def path_of(bench: Bench) -> Path:
    return Path(bench.url.removeprefix("sqlite:///"))


SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@SQLITE
def test_a_database_that_is_locked_refuses_and_loses_nothing(bench: Bench) -> None:
    before = rows(bench)
    bench.engine.store.backend._timeout = 0.2  # type: ignore[attr-defined]
    sa.event.listen(
        bench.engine.store.engine, "checkout", lambda connection, *_: connection.execute("PRAGMA busy_timeout=100")
    )
    other = sqlite3.connect(path_of(bench), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusy) as caught:
        bench.manager.charge("ana", "5.00", "USD", idempotency_key="k")
    assert caught.value.retryable and caught.value.next_step
    other.execute("ROLLBACK")
    other.close()
    assert rows(bench) == before and bench.movements() == 0
    assert bench.manager.charge("ana", "5.00", "USD", idempotency_key="k").status == "succeeded"


def faulty(bench: Bench, clock: FixedClock, **faults: Any) -> PaymentManager:
    """A manager on a connection whose settings make it fail."""
    manager = bench.new_manager(policy=False)
    for pragma in faults["pragmas"]:
        sa.event.listen(manager._engine.store.engine, "checkout", lambda c, *_, pragma=pragma: c.execute(pragma))
    return manager


@SQLITE
def test_a_database_that_may_not_be_written_refuses_and_calls_no_provider(bench: Bench, clock: FixedClock) -> None:
    before = rows(bench)
    manager = faulty(bench, clock, pragmas=["PRAGMA query_only=ON"])
    with pytest.raises(StorageReadOnly) as caught:
        manager.charge("ana", "5.00", "USD", idempotency_key="k")
    assert caught.value.next_step
    manager.close()
    assert rows(bench) == before and bench.mock.requests() == []


@SQLITE
def test_a_disk_that_is_full_undoes_the_whole_opening(bench: Bench, clock: FixedClock) -> None:
    before = rows(bench)
    pages = sqlite3.connect(path_of(bench)).execute("PRAGMA page_count").fetchone()[0]
    manager = faulty(bench, clock, pragmas=[f"PRAGMA max_page_count={pages + 1}"])
    with pytest.raises(StorageFull):
        for n in range(100):
            manager.charge("ana", "5.00", "USD", description="y" * 450, idempotency_key=f"k{n}")
    manager.close()
    assert rows(bench) != before
    bench.later(seconds=2)
    bench.manager.reconcile()  # one that could not be settled is found


@SQLITE
def test_a_disk_that_is_full_when_the_answer_comes_loses_no_money(bench: Bench, clock: FixedClock) -> None:
    """The provider has moved the money, and the answer cannot be written down: the next look finds it."""
    full = {"now": False}

    def script(point: str, *_: object) -> None:
        full["now"] = full["now"] or point == "after_move"

    mock = type(bench.mock)(f"{bench.url}.mock.db", clock=clock, script=script)
    manager = bench.new_manager(policy=False, provider=mock)

    def limit(connection: Any, *_: object) -> None:
        connection.execute("PRAGMA query_only=" + ("ON" if full["now"] else "OFF"))

    sa.event.listen(manager._engine.store.engine, "checkout", limit)
    with pytest.raises(StorageError):
        manager.charge("ana", "5.00", "USD", idempotency_key="k")
    assert bench.movements() == 1
    full["now"] = False
    bench.later(seconds=2)
    assert bench.manager.charge("ana", "5.00", "USD", idempotency_key="k").status == "succeeded"
    assert bench.movements() == 1
    manager.close()


@SQLITE
def test_a_damaged_database_is_named(make_bench: MakeBench, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    manager = PaymentManager(f"sqlite:///{damaged}", provider="mock", policy=False)
    manager.charge("ana", "5.00", "USD", idempotency_key="k")
    manager.close()
    data = damaged.read_bytes()
    damaged.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    assert code_of(lambda: PaymentManager(f"sqlite:///{damaged}", provider="mock", policy=False)) == "STORAGE_CORRUPT"
    (tmp_path / "diary.db").write_text("Dear diary, " * 1000)
    diary = f"sqlite:///{tmp_path / 'diary.db'}"
    assert code_of(lambda: PaymentManager(diary, provider="mock", policy=False)) == "STORAGE_CORRUPT"


def test_two_programs_on_one_database_see_one_truth(bench: Bench) -> None:
    second = bench.new_manager()
    first = bench.manager.charge("ana", "5.00", "USD", idempotency_key="k")
    assert second.charge("ana", "5.00", "USD", idempotency_key="k").id == first.id
    second.halt("bot", reason="stop")
    assert code_of(lambda: bench.bot.charge("ana", "1", "USD", description="x", idempotency_key="b")) == "POLICY_DENIED"
    second.close()


def test_a_manager_without_its_provider_says_so(bench: Bench) -> None:
    with pytest.raises(ProviderUnknown):
        PaymentManager(bench.url, provider="nobody", policy=False)
