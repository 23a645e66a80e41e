"""A restored or imported database: halted, in a new epoch, until it was reconciled and a person resumed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.errors import ReconcileFirst, RefundRefused
from agentpay.ledger import service as ledger
from agentpay.ledger.postings import REFUNDS
from agentpay.manager import PaymentManager
from agentpay.manager.operations import Desk
from agentpay.payments.tables import AttemptRow
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_store import books_beside
from agentpay.storage import Store
from agentpay.storage.exporting import export_to
from agentpay.storage.importing import import_from
from agentpay.storage.types import table
from support.bench import Bench, violations_of
from support.bench_fixtures import MakeBench
from support.databases import Databases
from support.parallel import run_threads, values

Copied = Callable[..., PaymentManager]


@pytest.fixture
def copied(databases: Databases, dialect: Any, tmp_path: Path, clock: FixedClock) -> Iterator[Copied]:
    """Opens a copy of a bench's database, made by export and import, at the same provider's books."""
    opened: list[tuple[PaymentManager, str]] = []

    def copy(bench: Bench, *, own_books: bool = False) -> PaymentManager:
        sink = io.BytesIO()
        export_to(bench.engine.store, sink)
        (tmp_path / "e.jsonl").write_bytes(sink.getvalue())
        url = databases.create(dialect, empty=True)
        target = Store(url, clock=clock)
        import_from(target, tmp_path / "e.jsonl")
        target.close()
        mock = MockProvider(books_beside(url if own_books else bench.url), clock=clock, sleep=lambda _: None)
        opened.append((PaymentManager(url, provider=mock, policy=False, throttle="off", clock=clock), url))
        return opened[-1][0]

    yield copy
    for manager, url in opened:
        assert manager.doctor().breaches == ()
        manager.close()
        databases.drop(url)


def epoch_of(manager: PaymentManager) -> int | None:
    return manager.health().halted_epoch


def test_a_copy_is_opened_halted_and_wants_a_reconcile_before_resume(bench: Bench, copied: Copied) -> None:
    bench.bot.charge("ana", "5.00", "USD", description="before", idempotency_key="one")
    copy = copied(bench, own_books=True)
    bot = copy.for_agent("bot")
    assert epoch_of(copy) == 2
    assert violations_of(lambda: bot.charge("ana", "6.00", "USD", description="after", idempotency_key="two")) == [
        "HALTED"
    ]
    with pytest.raises(ReconcileFirst, match="epoch 2"):
        copy.resume()
    assert [one.scope for one in copy.halts()] == ["all"]
    copy.reconcile()
    assert epoch_of(copy) is None
    assert copy.resume()
    assert bot.charge("ana", "6.00", "USD", description="after", idempotency_key="two").status == "succeeded"
    assert epoch_of(bench.manager) is None  # the source goes on as before


def test_what_was_open_is_looked_up_first(bench: Bench, copied: Copied) -> None:
    """Of attempts that were looked up a moment before the copy was taken too: each is due again."""
    lost = [bench.manager.charge("ana", "13.22", "USD", idempotency_key=f"k{n}").id for n in range(2)]
    bench.later(minutes=6)
    copy = copied(bench)  # its start looked both up already, which does not count
    assert [copy.get_payment(one).status for one in lost] == ["succeeded"] * 2
    with pytest.raises(ReconcileFirst):
        copy.resume()
    copy.reconcile()
    assert copy.resume()
    bench.manager.reconcile()


def test_an_attempt_that_cannot_be_looked_up_keeps_it_halted(bench: Bench, copied: Copied) -> None:
    paid = bench.manager.charge("ana", "13.22", "USD", idempotency_key="k")
    copy = copied(bench)
    store = copy._engine.store
    attempts = table(AttemptRow)
    epoch_at = store.read(lambda tx: tx.scalar(sa.text("SELECT epoch_at FROM installation")))
    of_nobody = sa.update(attempts).where(attempts.c.subject_id == paid.id)
    before = store.read(lambda tx: tx.first(sa.select(attempts).where(attempts.c.subject_id == paid.id)))
    values_of = {"provider": "gone", "outcome": "unknown", "next_check_at": sa.literal(epoch_at)}
    store.write(lambda tx: tx.execute(of_nobody.values(**values_of)))
    copy.reconcile()
    with pytest.raises(ReconcileFirst, match="not looked up yet: 1"):
        copy.resume()
    assert before is not None
    restored = {"provider": "mock", "outcome": before.outcome, "next_check_at": before.next_check_at}
    store.write(lambda tx: tx.execute(of_nobody.values(**restored)))
    copy.reconcile()
    assert copy.resume()
    bench.manager.reconcile()


def test_a_restored_database_sends_the_same_keys(bench: Bench, copied: Copied) -> None:
    """A payment that was made after the copy was taken is asked again under its key: the provider moves nothing more,
    and a look-up by the key finds what it did."""
    copy = copied(bench)
    made = bench.manager.charge("ana", "5.00", "USD", idempotency_key="after the copy")
    copy.reconcile()
    copy.resume()
    again = copy.charge("ana", "5.00", "USD", idempotency_key="after the copy")
    assert again.id != made.id
    assert bench.movements() == 1
    copy.reconcile()
    assert copy.get_payment(again.id).status == made.status == "succeeded"


def test_many_who_open_a_copy_at_once_begin_one_epoch(bench: Bench, copied: Copied) -> None:
    copy = copied(bench)
    copy._engine.store.write(lambda tx: tx.execute(sa.text("UPDATE installation SET is_copy = true")))
    url = copy._engine.store.database_url

    def start(_: int) -> int | None:
        with Desk(url) as people:
            return people.health().halted_epoch

    assert values(run_threads(4, start)) == [3] * 4


def test_a_copy_that_nothing_marks_is_declared_by_a_person(make_bench: MakeBench) -> None:
    bench = make_bench()
    assert bench.manager.declare_restored() == 2
    assert violations_of(lambda: bench.bot.charge("ana", "6.00", "USD", description="x", idempotency_key="k")) == [
        "HALTED"
    ]
    assert [line for line in bench.manager.doctor().warnings if "in its epoch 2" in line]
    with pytest.raises(ReconcileFirst):
        bench.manager.resume()
    assert all(ran.ended == "done" for ran in bench.manager.worker().once())  # whose reconcile counts too
    assert bench.manager.resume()


def test_resuming_one_agent_is_no_way_around_it(bench: Bench) -> None:
    bench.manager.declare_restored()
    bench.manager.halt("bot", reason="this one too")
    assert bench.manager.resume("bot")
    assert violations_of(lambda: bench.bot.charge("ana", "6.00", "USD", description="x", idempotency_key="k")) == [
        "HALTED"
    ]
    bench.manager.reconcile()
    bench.manager.resume()


def test_a_first_epoch_wants_nothing(bench: Bench) -> None:
    bench.manager.halt(reason="stop")
    assert bench.manager.resume()
    assert not bench.manager.resume()


@pytest.mark.parametrize("pending", [True, False])
def test_a_refund_that_is_told_and_asked_for_again_after_a_restore_counts_once(
    bench: Bench, copied: Copied, pending: bool
) -> None:
    """The copy has no row of the refund: first its event comes, as one that was made at the provider, then the
    application asks for it again by its key, which the provider recognises."""
    payment = bench.manager.charge("ana", "40.00", "USD", idempotency_key="c")
    copy = copied(bench)
    bench.manager.refund(payment.id, "14.10" if pending else "5.00", idempotency_key="r")
    (refund,) = bench.mock.refunds()
    event = bench.mock.webhook(refund.id)
    copy.receive_webhook("mock", event.body, event.headers)
    copy.reconcile()
    copy.resume()
    if pending:
        bench.mock.elsewhere.end_refund(refund.id, "succeeded")
    copy.refund(payment.id, "14.10" if pending else "5.00", idempotency_key="r")
    bench.later(minutes=6)
    copy.reconcile()
    again = copy.refund(payment.id, "14.10" if pending else "5.00", idempotency_key="r")
    assert again.status == "succeeded" and bench.movements("refund") == 1
    found = copy.get_payment(payment.id)
    assert str(found.refunded) == ("14.10" if pending else "5.00")
    minor = 1410 if pending else 500
    assert copy._engine.store.read(lambda tx: ledger.balance(tx, REFUNDS, "USD")) == minor
    late = bench.mock.webhook(refund.id)
    copy.receive_webhook("mock", late.body, late.headers)
    assert copy._engine.store.read(lambda tx: ledger.balance(tx, REFUNDS, "USD")) == minor
    with pytest.raises(RefundRefused, match=str(found.amount - found.refunded)):
        copy.refund(payment.id, "39.99", idempotency_key="more")
