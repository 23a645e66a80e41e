"""The limits are exact whoever comes at once, on SQLite and PostgreSQL; and each test finds the fault in a naive way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from agentpay.plans.models import Feature, PaymentPlan
from support.bench import PEOPLE, Bench, asking, capped, policy
from support.databases import Databases, Dialect
from support.parallel import Failure, values

Run = Callable[..., list[Any]]
JOBS = "acceptance.concurrency.jobs"

CAP = policy({"bot": capped("150.00 USD")})


def flat(results: list[Any]) -> Counter[str]:
    """How the calls of all processes ended."""
    failures = [one for one in results if isinstance(one, Failure)]
    assert not failures, failures[0].trace or failures[0].text
    return Counter(ended for result in results for ended in result)


def spent(databases: Databases, dialect: Dialect, run_processes: Run, *, naive: bool) -> tuple[int, Counter[str]]:
    """What ten processes capture that charge $50 three times each, on a fresh database."""
    url = databases.create(dialect)
    bench = Bench(url, policy=CAP)
    assert bench.moved() == 0  # the books exist
    ended = flat(run_processes(10, f"{JOBS}:spend_fifties", (url, 1 if naive else 3, naive)))
    captured = bench.moved()
    if not naive:
        bench.check()
    bench.close()
    databases.drop(url)
    return captured, ended


@pytest.mark.slow
def test_ten_processes_under_a_cap_of_150_capture_exactly_150_twenty_times(
    databases: Databases, dialect: Dialect, run_processes: Run
) -> None:
    rounds = 0
    for _ in range(30):
        captured, ended = spent(databases, dialect, run_processes, naive=False)
        lost = ended["unknown"]  # where this machine stood still for longer than the mock's lease of a second
        assert ended == Counter(succeeded=3 - lost, unknown=lost, LIMIT_EXCEEDED=27)
        assert captured == 150_00 - lost * 50_00
        rounds += not lost
        if rounds == 20:
            return
    raise AssertionError(f"only {rounds} rounds captured everything")


def test_a_gate_that_checks_before_it_writes_spends_more(
    databases: Databases, dialect: Dialect, run_processes: Run
) -> None:
    assert any(spent(databases, dialect, run_processes, naive=True)[0] > 150_00 for _ in range(10))


@pytest.fixture
def quota(make_bench: Callable[..., Bench]) -> Bench:
    bench = make_bench(clock=None)
    plan = PaymentPlan(id="free", name="Free", payment_type="freemium", features=[Feature("calls", limit=100)])
    bench.manager.create_plan(plan)
    return bench


def test_eight_threads_in_four_processes_get_exactly_the_quota_of_100(quota: Bench, run_processes: Run) -> None:
    accepted = values(run_processes(4, f"{JOBS}:use_quota", (quota.url, 8, 5, False)))
    assert sum(accepted) == 100
    usage = quota.manager.get_usage("ana", "calls").feature("calls")
    assert usage is not None and (usage.used, usage.remaining, usage.recorded) == (100, 0, 100)


def test_a_quota_that_is_read_before_it_is_used_is_exceeded(quota: Bench, run_processes: Run) -> None:
    assert sum(values(run_processes(4, f"{JOBS}:use_quota", (quota.url, 8, 5, True)))) > 100


@pytest.mark.parametrize(("workers", "threads"), [(1, 20), (4, 5)])
def test_one_key_twenty_times_charges_once(
    make_bench: Callable[..., Bench], run_processes: Run, workers: int, threads: int
) -> None:
    bench = make_bench(clock=None)
    ended = flat(run_processes(workers, f"{JOBS}:charge_at_once", (bench.url, threads, "one-key", "5.00", False)))
    assert bench.movements() == 1
    assert set(ended) <= {"succeeded", "pending"} and sum(ended.values()) == 20
    (payment,) = bench.manager.list_payments("ana")
    assert payment.status == "succeeded" and len(bench.attempts(payment.id)) == 1


def test_a_key_that_is_looked_up_before_it_is_used_charges_twice(
    make_bench: Callable[..., Bench], run_processes: Run
) -> None:
    bench = make_bench(clock=None)
    flat(run_processes(4, f"{JOBS}:charge_at_once", (bench.url, 5, "one-key", "5.00", True)))
    assert bench.movements() > 1


@pytest.mark.parametrize(("workers", "threads"), [(1, 20), (4, 5)])
def test_parallel_refunds_never_exceed_the_charge(
    make_bench: Callable[..., Bench], run_processes: Run, workers: int, threads: int
) -> None:
    bench = make_bench(clock=None)
    paid = bench.manager.charge("ana", "20.00", "USD", idempotency_key="paid")
    ended = flat(run_processes(workers, f"{JOBS}:refund_in_parts", (bench.url, threads, paid.id, False)))
    assert ended == {"succeeded": 6, "REFUND_REFUSED": 14}
    assert bench.moved("refund") == 18_00
    assert str(bench.manager.get_payment(paid.id).refunded) == "18.00"


def test_refunds_that_are_checked_before_they_are_made_exceed(
    make_bench: Callable[..., Bench], run_processes: Run
) -> None:
    bench = make_bench(clock=None)
    ended = flat(run_processes(4, f"{JOBS}:refund_in_parts", (bench.url, 5, "pay_none", True)))
    assert ended["succeeded"] > 6


@pytest.fixture
def approved(make_bench: Callable[..., Bench]) -> tuple[Bench, str]:
    """An engine with one charge of $50 that was parked and approved."""
    bench = make_bench(clock=None, policy=policy({"bot": asking()}, approvers=PEOPLE))
    bench.enrol("alice")
    parked = bench.bot.charge("ana", "50.00", "USD", description="the same", idempotency_key="parked")
    assert parked.status == "approval_required" and parked.approval_id
    bench.approve(parked.approval_id)
    return bench, parked.approval_id


@pytest.mark.parametrize(("workers", "threads"), [(1, 20), (4, 5)])
def test_an_approval_used_twenty_times_runs_once(
    approved: tuple[Bench, str], run_processes: Run, workers: int, threads: int
) -> None:
    bench, approval_id = approved
    ended = flat(run_processes(workers, f"{JOBS}:run_approved", (bench.url, threads, approval_id, False)))
    assert set(ended) <= {"succeeded", "pending"} and sum(ended.values()) == 20
    assert bench.movements() == 1
    assert bench.manager.get_approval(approval_id).status == "consumed"


def test_an_approval_that_is_read_before_it_is_used_runs_twice(approved: tuple[Bench, str], run_processes: Run) -> None:
    bench, approval_id = approved
    flat(run_processes(4, f"{JOBS}:run_approved", (bench.url, 5, approval_id, True)))
    assert bench.movements() > 1
