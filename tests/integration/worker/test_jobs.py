"""What the jobs do, on a whole engine."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from agentpay.manager import background
from agentpay.plans.models import BillingPeriod, PaymentPlan, PaymentType
from agentpay.providers.base import Steps
from agentpay.providers.outcomes import Succeeded
from agentpay.worker.jobs import JOBS, Turn
from conftest import START
from support.bench import PEOPLE, Bench, asking, policy
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider

PRO = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    billing_period=BillingPeriod.MONTHLY,
    features=["reports"],
)


def did(bench: Bench, name: str) -> dict[str, int]:
    """What one look of a worker at a job did."""
    (ran,) = bench.manager.worker([job for job in JOBS if job.name == name]).once()
    assert ran.ended == "done", ran
    return dict(ran.did)


def subscribed(bench: Bench, customers: int) -> None:
    bench.manager.create_plan(PRO)
    for number in range(customers):
        bench.manager.subscribe(f"c-{number}", "pro", idempotency_key=f"sub-{number}")


def test_each_job_has_a_name_and_an_interval_of_its_own_and_only_renewals_start_payments() -> None:
    assert len({job.name for job in JOBS}) == len(JOBS)
    assert all(job.every >= timedelta(seconds=1) for job in JOBS)
    assert [job.name for job in JOBS if job.starts_payments] == ["renewals"]


def test_every_job_runs_on_a_new_database(bench: Bench) -> None:
    ran = bench.manager.worker().once()
    assert {one.ended for one in ran} == {"done"}
    wanted = {job.name for job in JOBS if bench.engine.store.dialect in job.dialects}
    assert {one.job for one in ran} == wanted


def test_unknown_outcomes_are_looked_up(bench: Bench) -> None:
    paid = bench.manager.charge("ana", "13.22", "USD", idempotency_key="k")  # the money moves, the answer is lost
    assert paid.status == "unknown"
    bench.later(minutes=6)
    assert did(bench, "reconcile") == {"looked_up": 1, "settled": 1}
    assert bench.manager.get_payment(paid.id).status == "succeeded"


def test_what_is_due_is_renewed_once_and_what_is_over_ends(bench: Bench) -> None:
    subscribed(bench, 3)
    bench.manager.cancel_subscription("c-0", "pro")
    bench.later(days=31)
    counts = did(bench, "renewals")
    assert counts["renewed"] == 2
    assert bench.movements() == 5
    bench.later(minutes=2)
    assert did(bench, "renewals")["renewed"] == 0
    assert bench.movements() == 5
    assert bench.manager.get_subscription("c-0", "pro").status == "canceled"


def test_a_halt_stops_a_pass_of_renewals_between_two(make_bench: MakeBench) -> None:
    """A person who halts everybody does not wait for the end of the pass."""
    halting = ScriptedProvider()
    bench = make_bench(providers=(halting,))
    bench.manager.create_plan(PRO)
    for name in ("ana", "ben"):
        bench.manager.subscribe(name, "pro", idempotency_key=name, provider="scripted")
    bench.later(days=32)

    def halts(_steps: Steps) -> Succeeded:
        bench.manager.halt(reason="stop")
        return Succeeded("ok")

    halting.answers = [halts]
    did(bench, "renewals")
    assert len(halting.sent) == 3, "a renewal was started while everybody was halted"
    bench.manager.resume()
    bench.later(minutes=2)
    assert did(bench, "renewals")["renewed"] == 1


def test_a_pass_of_renewals_stops_between_two_and_the_rest_stays_due(bench: Bench) -> None:
    subscribed(bench, 3)
    bench.later(days=31)
    answers = iter([True, False, False, False])
    renewals = next(job for job in JOBS if job.name == "renewals")
    assert renewals.run(bench.engine, Turn(START, lambda: next(answers)))["renewed"] == 1
    assert bench.manager.renew_due().renewed == 2


def test_nothing_is_started_while_everybody_is_halted(bench: Bench) -> None:
    subscribed(bench, 1)
    bench.later(days=31)
    bench.manager.halt("other", reason="one agent alone")
    bench.manager.halt(reason="stop")
    assert did(bench, "renewals") == {"everybody_is_halted": 1}
    assert bench.movements() == 1
    bench.manager.resume()
    bench.later(minutes=2)
    assert did(bench, "renewals")["renewed"] == 1


def test_approvals_expire_and_free_what_they_held(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking()}, approvers=PEOPLE))
    parked = bench.bot.charge("ana", "30.00", "USD", description="big", idempotency_key="k")
    assert bench.holds(parked.id) == ["held"]
    bench.later(minutes=31)
    assert did(bench, "approvals") == {"expired": 1}
    assert bench.holds(parked.id) == ["void"]


def test_a_server_runs_the_jobs_that_start_nothing(bench: Bench) -> None:
    """In a thread beside it, under the same rules as a worker."""
    subscribed(bench, 1)
    paid = bench.manager.charge("ana", "13.22", "USD", idempotency_key="k")
    bench.later(days=31)
    with background.background(bench.engine, at_once=True):
        end = time.monotonic() + 20
        while bench.manager.get_payment(paid.id).status == "unknown":
            assert time.monotonic() < end
            time.sleep(0.05)
    assert bench.movements() == 2  # the renewal, which is due, was left to a worker


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_the_audit_is_sealed(bench: Bench) -> None:
    bench.manager.halt(reason="a row for the audit")
    assert bench.manager.verify_audit().unsealed > 0
    bench.manager.worker().once()
    assert bench.manager.verify_audit().unsealed == 0
