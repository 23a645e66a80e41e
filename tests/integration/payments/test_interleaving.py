"""Two things at the very same moment, made to meet by barriers; beside each, the naive way, seen to fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.ledger.tables import LedgerTransactionRow
from agentpay.manager import AgentHandle
from agentpay.payments import queries
from agentpay.payments.models import Payment
from agentpay.plans.models import PaymentPlan
from agentpay.providers.base import Finding, Found, NotFound, Reference, Steps
from agentpay.providers.outcomes import Outcome, Succeeded, Unknown
from agentpay.storage.types import table
from support.bench import PEOPLE, Bench, asking, code_of, policy, tally
from support.bench_fixtures import MakeBench
from support.failing import Places, closed, watched_engine
from support.parallel import run_threads, values
from support.scripted import ScriptedProvider

WAIT = 30.0


@dataclass
class Meeting(ScriptedProvider):
    """Its look-ups wait for each other before they answer."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))

    def lookup(self, reference: Reference) -> Finding:
        found = super().lookup(reference)
        self.barrier.wait(WAIT)
        return found


@pytest.fixture
def meeting() -> Meeting:
    return Meeting()


@pytest.fixture
def own(make_bench: MakeBench, meeting: Meeting) -> Bench:
    return make_bench(policy=policy({"bot": {"providers": {"allow": ["mock", "scripted"]}}}), providers=(meeting,))


def charged(bench: Bench) -> Payment:
    return bench.bot.charge("ana", "50.00", "USD", description="x", idempotency_key="k", provider="scripted")


def postings(bench: Bench, payment_id: str) -> int:
    posted = table(LedgerTransactionRow)
    return len(bench.rows(sa.select(posted).where(posted.c.object_id == payment_id)))


# -- settle, reconcile, repeat


def test_the_call_a_reconcile_and_a_repeat_settle_once(own: Bench, meeting: Meeting) -> None:
    """The provider has moved the money and is about to answer; a reconcile and a repeat find it out at that moment."""
    moved, go = threading.Event(), threading.Barrier(3)

    def answer(_steps: Steps) -> Outcome:
        moved.set()
        go.wait(WAIT)
        return Succeeded("ok")

    meeting.answers, meeting.findings = [answer], [Found(Succeeded("ok"))] * 9

    def run(index: int) -> object:
        if index == 0:
            return charged(own).status
        assert moved.wait(WAIT)
        if index == 1:
            own.later(seconds=30)
        go.wait(WAIT)
        return own.manager.reconcile() if index == 1 else charged(own).status

    ended = values(run_threads(3, run))
    assert ended[0] == "succeeded" and ended[2] in ("succeeded", "pending")
    (payment,) = own.manager.list_payments("ana")
    assert payment.status == "succeeded" and not payment.late
    assert own.actions(payment.id) == ["payment.opened", "payment.succeeded"]
    assert postings(own, payment.id) == 1 and len(meeting.sent) == 1


def test_settling_by_what_was_read_before_settles_twice(own: Bench) -> None:
    """The naive way: read whether it is open; then write."""
    own.bot.charge("ana", "13.10", "USD", description="x", idempotency_key="k")
    (payment,) = own.manager.list_payments("ana")
    barrier, written = threading.Barrier(2), []

    def settle(_: int) -> None:
        store = own.engine.store
        is_open = store.read(lambda tx: queries.payment(tx, payment.id).status) == "pending"
        barrier.wait(WAIT)
        if is_open:
            written.append(store.write(lambda tx: payment.id))

    values(run_threads(2, settle))
    assert len(written) == 2


# -- refund and refund


def test_a_refund_that_is_under_way_leaves_nothing_for_another(own: Bench, meeting: Meeting) -> None:
    payment = charged(own)
    sent, go = threading.Event(), threading.Event()

    def answer(_steps: Steps) -> Outcome:
        sent.set()
        assert go.wait(WAIT)
        return Succeeded("back")

    meeting.answers = [answer]
    naive: list[str] = []

    def run(index: int) -> str:
        if index == 0:
            return own.bot.refund(payment.id, reason="r", idempotency_key="r0").status
        assert sent.wait(WAIT)
        naive.append(str(own.manager.get_payment(payment.id).refunded))
        code = code_of(lambda: own.bot.refund(payment.id, reason="r", idempotency_key="r1"))
        go.set()
        return code

    assert values(run_threads(2, run)) == ["succeeded", "REFUND_REFUSED"]
    assert naive == ["0.00"]  # by what is refunded so far, the naive sum, all of it was still to be had
    assert str(own.manager.get_payment(payment.id).refunded) == "50.00"


# -- two reconciles


def test_two_reconciles_that_find_the_same_settle_once(own: Bench, meeting: Meeting) -> None:
    meeting.answers = [Unknown("lost")]
    payment = charged(own)
    own.later(minutes=6)
    meeting.findings, meeting.barrier = [Found(Succeeded("ok"))] * 2, threading.Barrier(2)
    values(run_threads(2, lambda _: own.manager.reconcile()))
    assert own.actions(payment.id) == ["payment.opened", "payment.unknown", "payment.succeeded"]
    assert postings(own, payment.id) == 1 and len(meeting.asked) == 2


def test_two_reconciles_that_find_opposites_never_lose_the_money(own: Bench, meeting: Meeting) -> None:
    """One look-up was answered before the provider's books showed the money, the other after; whoever writes last."""
    meeting.answers = [Unknown("lost")]
    payment = charged(own)
    own.later(minutes=6)
    meeting.findings, meeting.barrier = [NotFound(), Found(Succeeded("ok"))], threading.Barrier(2)
    values(run_threads(2, lambda _: own.manager.reconcile()))
    found = own.manager.get_payment(payment.id)
    assert found.status == "succeeded" and own.holds(payment.id) == ["captured"]
    assert found.late == ("payment.not_sent" in own.actions(payment.id))


# -- an approval is used while it expires


@pytest.fixture
def parked(make_bench: MakeBench) -> Iterator[tuple[Bench, Callable[[Places], AgentHandle]]]:
    """An engine with an approved charge of $50, and handles on engines that call places."""
    bench = make_bench(policy=policy({"bot": asking()}, approvers=PEOPLE))
    bench.enrol("alice")
    bench.approve(pay_fifty(bench.bot).approval_id)
    opened: list[Any] = []

    def handle(places: Places) -> AgentHandle:
        opened.append(watched_engine(bench.url, bench.clock, bench.new_mock(), places))
        return AgentHandle(opened[-1], "bot")

    yield bench, handle
    for engine in opened:
        closed(engine)


def pay_fifty(handle: AgentHandle) -> Payment:
    return handle.charge("ana", "50.00", "USD", description="x", idempotency_key="k")


def test_an_approval_that_is_being_used_does_not_expire_under_it(
    parked: tuple[Bench, Callable[[Places], AgentHandle]],
) -> None:
    """Its use is decided and not committed; its time runs out; a reconcile comes to end it."""
    bench, handle = parked
    naive: list[list[str]] = []
    ending: list[threading.Thread] = []

    def meanwhile() -> None:
        bench.clock.advance(timedelta(hours=1))  # type: ignore[union-attr]
        naive.append(bench.approvals())
        ending.append(threading.Thread(target=bench.manager.reconcile))
        ending[0].start()
        ending[0].join(0.3)

    assert pay_fifty(handle(Places("before_first_commit", meanwhile))).status == "succeeded"
    ending[0].join(WAIT)
    assert naive == [["approved"]]  # who ends it by what can be read takes it from under the payment
    assert bench.approvals() == ["consumed"] and bench.movements() == 1
    (payment,) = bench.manager.list_payments("ana")
    assert payment.status == "succeeded" and not payment.late


def test_an_approval_whose_time_has_run_out_is_used_by_nobody(
    parked: tuple[Bench, Callable[[Places], AgentHandle]],
) -> None:
    bench, _ = parked
    bench.later(minutes=30)
    ended = run_threads(6, lambda n: bench.manager.reconcile() if n % 2 else pay_fifty(bench.bot))
    assert tally([one for one in ended if getattr(one, "code", None)]) == {"POLICY_DENIED": 3}
    assert bench.approvals() == ["expired"] and bench.movements() == 0


# -- a renewal by two


@pytest.fixture
def due(make_bench: MakeBench) -> Bench:
    bench = make_bench()
    bench.manager.create_plan(
        PaymentPlan(id="pro", name="Pro", payment_type="subscription", price="10.00", billing_period="monthly")
    )
    bench.manager.subscribe("ana", "pro", idempotency_key="s")
    bench.later(days=29)
    return bench


def test_a_period_that_two_renew_at_once_is_paid_once(due: Bench) -> None:
    def renew(index: int) -> object:
        if index % 2:
            return due.manager.renew_due()
        return due.manager.renew_subscription("ana", idempotency_key=f"r{index}")

    run_threads(4, renew)
    paid = [one for one in due.manager.list_payments("ana") if one.status == "succeeded"]
    subscription = due.manager.get_subscription("ana")
    assert len(paid) in (2, 3)  # the first; this period; and the next where somebody asked once more after that
    assert due.movements() == len(paid) and subscription.status == "active"


def test_renewing_by_what_was_read_before_pays_twice(due: Bench) -> None:
    barrier, before = threading.Barrier(2), due.movements()

    def renew(index: int) -> None:
        period_end = due.manager.get_subscription("ana").period_end
        is_due = period_end is not None and period_end <= due.clock.now()  # type: ignore[union-attr]
        barrier.wait(WAIT)
        if is_due:
            due.manager.charge("ana", "10.00", "USD", idempotency_key=f"naive-{index}")

    values(run_threads(2, renew))
    assert due.movements() - before == 2


# -- slow providers


def test_forty_slow_calls_at_once_keep_nobody_waiting(own: Bench, meeting: Meeting) -> None:
    """No transaction, and no connection, is open while a provider is called."""
    go, called = threading.Event(), threading.Semaphore(0)

    def answer(_steps: Steps) -> Outcome:
        called.release()
        assert go.wait(WAIT)
        return Succeeded("ok")

    meeting.answers = [answer] * 40

    def slow(index: int) -> str:
        return own.manager.charge("ana", "1.00", "USD", idempotency_key=f"slow-{index}", provider="scripted").status

    def others() -> list[str]:
        for _ in range(40):
            assert called.acquire(timeout=WAIT)
        quick: list[str] = [own.manager.charge("ben", "2.00", "USD", idempotency_key=f"q{n}").status for n in range(3)]
        own.manager.check_access("ben", "api")
        assert len(own.manager.list_payments("ana")) == 40
        assert not go.is_set()
        go.set()
        return quick

    ended = values(run_threads(41, lambda index: [slow(index)] if index < 40 else others()))
    assert tally([status for one in ended for status in one]) == {"succeeded": 43}


def test_a_call_inside_a_transaction_keeps_everybody_waiting(own: Bench) -> None:
    """The naive way: the provider is called where the rows are locked."""
    inside, go, done = threading.Event(), threading.Event(), threading.Event()
    own.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="k")
    (payment,) = own.manager.list_payments("ana")

    def call_inside() -> None:
        def write(tx: Any) -> None:
            queries.payment(tx, payment.id, lock=True)
            inside.set()
            go.wait(WAIT)

        own.engine.store.write(write)

    def other() -> None:
        own.engine.store.write(lambda tx: queries.payment(tx, payment.id, lock=True) and None)
        done.set()

    threads = [threading.Thread(target=call_inside), threading.Thread(target=other)]
    threads[0].start()
    assert inside.wait(WAIT)
    threads[1].start()
    waited = not done.wait(0.3)
    go.set()
    for thread in threads:
        thread.join(WAIT)
    assert waited and done.is_set()
