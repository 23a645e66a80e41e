"""A look-up proves that nothing was sent only where it was begun after the lease, and the lease still stands so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from agentpay.clock import FixedClock
from agentpay.errors import NotSent as NotSentError
from agentpay.manager.agent import charge_ask
from agentpay.payments.asks import Started
from agentpay.principal import OPERATOR
from agentpay.providers.base import Finding, Found, Order, Reference, Steps
from agentpay.providers.outcomes import NotSent, Outcome, Pending, RequiresAction, Succeeded, Unknown
from support.bench import Bench
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider


@dataclass
class Slow(ScriptedProvider):
    """A provider in the middle of whose look-ups and charges a test does something else."""

    within_lookup: Callable[[], None] | None = None
    within_charge: Callable[[], None] | None = None
    arrived: list[str] = field(default_factory=list)

    def lookup(self, reference: Reference) -> Finding:
        found = super().lookup(reference)
        act, self.within_lookup = self.within_lookup, None
        if act is not None:
            act()
        return found

    def charge(self, order: Order, steps: Steps) -> Outcome:
        act, self.within_charge = self.within_charge, None
        if act is not None:
            act()
        self.arrived.append(steps.key)
        return super().charge(order, steps)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def own(make_bench: MakeBench, slow: Slow) -> Bench:
    return make_bench(providers=(slow,))


def opened(bench: Bench, key: str = "k") -> Started:
    """A charge that is committed and not sent yet, as another process has it."""
    ask = charge_ask(
        OPERATOR, "ana", "5.00", "USD", description=None, key=key, payee="self", provider="scripted", method=None,
        distinct_from=None,
    )  # fmt: skip
    started = bench.engine.store.write(lambda tx: bench.engine.payments.opening.charge(tx, ask))
    assert isinstance(started, Started)
    return started


def again(bench: Bench, key: str = "k") -> str:
    """The caller's repeat of the same charge."""
    try:
        return bench.manager.charge("ana", "5.00", "USD", idempotency_key=key, provider="scripted").status
    except NotSentError:
        return "not_sent"


def settle(bench: Bench, attempt_id: str, outcome: Outcome) -> None:
    bench.engine.store.write(lambda tx: bench.engine.payments.settling.settle(tx, attempt_id, outcome))


def test_a_look_up_begun_within_the_lease_proves_nothing_however_late_its_answer_comes(own: Bench, slow: Slow) -> None:
    started = opened(own)  # its process is about to send it: it has ten seconds and a second more
    own.later(seconds=6)

    def answer_takes_long() -> None:
        """The provider looked and found nothing; before its answer is here, the charge arrives in time."""
        slow.arrived.append(started.attempt.key)
        slow.findings = [Found(Succeeded("ok"))]
        own.later(seconds=8)

    slow.within_lookup = answer_takes_long
    own.manager.reconcile()
    status = own.manager.get_payment(started.subject_id).status
    again(own)
    settle(own, started.attempt.id, Succeeded("ok"))
    assert len(slow.arrived) == 1, "the customer was charged twice for one key"
    assert status == "pending", "a stale look-up was taken as a proof"


def test_a_sender_that_took_its_lease_anew_is_not_declared_unsent(own: Bench, slow: Slow) -> None:
    opened_once = opened(own)
    stalled = replace(opened_once, attempt=replace(opened_once.attempt, made_at=opened_once.attempt.made_at - 60))
    own.later(seconds=60)  # the sender's process was stopped for a minute
    sending, go_on = threading.Event(), threading.Event()

    def hold_the_request() -> None:
        sending.set()
        assert go_on.wait(30)

    sender = threading.Thread(target=own.engine.payments.sending.send, args=(stalled,), daemon=True)

    def the_sender_wakes() -> None:
        """Its lease is over: it takes it anew, and is told that it may send."""
        slow.within_charge = hold_the_request
        sender.start()
        assert sending.wait(30)

    slow.within_lookup = the_sender_wakes
    own.manager.reconcile()
    status = own.manager.get_payment(opened_once.subject_id).status
    again(own)
    go_on.set()
    sender.join(30)
    assert len(slow.arrived) == 1, "the customer was charged twice for one key"
    assert status == "pending"
    assert own.manager.get_payment(opened_once.subject_id).status == "succeeded"


def captured(bench: Bench, slow: Slow, second: Outcome) -> tuple[str, list[str]]:
    """A charge whose customer acted, and whose capture ended so: its id, and its attempts'."""
    slow.answers = [RequiresAction("order", url="https://x.example/1"), second]
    payment = bench.manager.charge("ana", "5.00", "USD", idempotency_key="k", provider="scripted")
    bench.manager.continue_payment(payment.id)
    return payment.id, [row.id for row in bench.attempts(payment.id)]


@pytest.mark.parametrize("stale", [RequiresAction("order", url="https://x.example/1"), Pending("order"), NotSent("no")])
def test_what_is_told_late_of_a_replaced_step_says_nothing_of_the_payment(
    own: Bench, slow: Slow, stale: Outcome
) -> None:
    payment_id, (first, _) = captured(own, slow, Unknown("timed out"))
    assert own.manager.get_payment(payment_id).status == "unknown"
    settle(own, first, stale)  # a reconcile that had read this attempt before the next step replaced it
    assert own.manager.get_payment(payment_id).status == "unknown"
    assert own.attempts(payment_id)[0].next_check_at is None, "a replaced step is looked up again"


def test_a_second_success_of_one_payment_is_flagged(database: str, clock: FixedClock, slow: Slow) -> None:
    own = Bench(database, clock=clock, providers=(slow,))
    slow.answers = [NotSent("refused")]
    assert again(own) == "not_sent"
    assert again(own) == "succeeded"
    payment = own.manager.list_payments("ana")[0]
    first, _ = (row.id for row in own.attempts(payment.id))
    settle(own, first, Succeeded("it was sent after all"))
    late = own.manager.get_payment(payment.id).late
    own.close()
    assert late, "money moved twice, and nothing says so"


def test_a_second_url_replaces_the_first(own: Bench, slow: Slow) -> None:
    payment_id, _ = captured(own, slow, RequiresAction("order", url="https://x.example/2"))
    assert own.manager.get_payment(payment_id).url == "https://x.example/2"
