"""Any sequence of what agents and people do, against a small model that knows the policy and nothing of the engine.

The model predicts every answer, and after every step the limits stand as it says and invariant 2 holds: captured, held
and unknown money within every cap stored with a decision. One variant runs such sequences in ten processes at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run

from agentpay.clock import FixedClock
from agentpay.doctor.checks import CHECKS
from agentpay.errors import AgentPayError, PaymentDeclined, PolicyDenied
from agentpay.payments.models import Payment
from agentpay.storage.transaction import Dialect
from conftest import START
from support.bench import PEOPLE, Bench, asking, policy
from support.bench_fixtures import MakeBench
from support.databases import Databases
from support.parallel import values

DAY_CAP, EVER_CAP, MOST, ASKED, BURST, WAITING = 10_000, 25_000, 6_000, 3_000, 8, 5
"""The policy's figures, in cents, and its counts."""

AGENTS: Final = ("bot", "other")
RULES: Final = policy(
    {
        agent: {
            "budget": "team",
            "charge": {
                "directions": ["collect"],
                "per_transaction": {"max": "60.00 USD"},
                "limits": [
                    {"id": "day", "amount": "100.00 USD", "window": {"rolling": "24h"}},
                    {"id": "burst", "count": BURST, "window": {"rolling": "1h"}},
                ],
            },
            "refund": {"allow": "own_charges", "restores_budget": True},
            **asking("30.00 USD"),
        }
        for agent in AGENTS
    },
    budgets={"team": {"limits": [{"id": "ever", "amount": "250.00 USD", "window": "lifetime"}]}},
    approvers=PEOPLE,
)

State = Literal["held", "captured", "released", "void"]
Fault = Literal["", "decline", "timeout-after", "pending"]


@dataclass(eq=False)
class Spent:
    """One payment as the model sees it: when it was held, and how it stands."""

    agent: str
    key: str
    cents: int
    at: datetime
    state: State
    payment_id: str = ""
    approval_id: str = ""
    restored: int = 0
    approved: bool = False
    ends: datetime | None = None

    @property
    def counts(self) -> int:
        return self.cents - self.restored if self.state in ("held", "captured") else 0


@dataclass
class Model:
    """The policy's rules over a list of payments, in the plainest words."""

    spent: list[Spent] = field(default_factory=list)

    def within(self, agent: str, now: datetime, hours: int) -> list[Spent]:
        start = (now - timedelta(hours=hours)).replace(second=0, microsecond=0)
        return [one for one in self.spent if one.agent == agent and one.at.replace(second=0, microsecond=0) >= start]

    def denials(self, agent: str, cents: int, now: datetime) -> set[str]:
        codes = set()
        if cents > MOST:
            codes.add("ABOVE_MAXIMUM")
        if sum(one.counts for one in self.within(agent, now, 24)) + cents > DAY_CAP:
            codes.add("LIMIT_EXCEEDED")
        if sum(one.state != "void" for one in self.within(agent, now, 1)) + 1 > BURST:
            codes.add("COUNT_EXCEEDED")
        if sum(one.counts for one in self.spent) + cents > EVER_CAP:
            codes.add("BUDGET_EXHAUSTED")
        return codes

    def waiting(self, agent: str) -> int:
        return sum(one.agent == agent and one.state == "held" and bool(one.approval_id) and not one.approved
                   for one in self.spent)  # fmt: skip

    def expire(self, now: datetime) -> None:
        for one in self.spent:
            if one.ends is not None and one.ends <= now and one.state == "held":
                one.state, one.ends = "void", None


def dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def answer(call: Any) -> tuple[str, Payment | None]:
    """How a call ended, in a word or the codes of a denial."""
    try:
        paid: Payment = call()
    except PolicyDenied as error:
        return "+".join(sorted({one.code for one in error.violations})), None
    except PaymentDeclined:
        return "declined", None
    return paid.status, paid


class Machine(RuleBasedStateMachine):
    """What two agents, one approver and time do to one installation."""

    databases: ClassVar[Databases]
    dialect: ClassVar[Dialect]

    payments = Bundle("payments")
    parked = Bundle("parked")
    open = Bundle("open")

    @initialize()
    def begin(self) -> None:
        self.clock = FixedClock(START)
        self.url = self.databases.create(self.dialect)
        self.bench = Bench(self.url, clock=self.clock, policy=RULES)
        self.bench.enrol("alice")
        self.model, self.keys = Model(), 0

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            try:
                self.bench.check()
            finally:
                self.bench.close()
                self.databases.drop(self.url)

    def charged(self, agent: str, cents: int, key: str) -> tuple[str, Payment | None]:
        handle = self.bench.manager.for_agent(agent)
        return answer(lambda: handle.charge("ana", dollars(cents), "USD", description="x", idempotency_key=key))

    @rule(
        target=payments,
        agent=st.sampled_from(AGENTS),
        cents=st.sampled_from([500, 2_500, 3_000, 3_001, 6_000, 6_001]),
        fault=st.sampled_from(["", "", "decline", "timeout-after", "pending"]),
    )
    def charge(self, agent: str, cents: int, fault: Fault) -> Any:
        now, self.keys = self.clock.now(), self.keys + 1
        made = Spent(agent, f"k{self.keys}", cents, now, "held")
        expected = self.model.denials(agent, cents, now)
        asks = cents > ASKED
        if asks and not expected and self.model.waiting(agent) >= WAITING:
            expected = {"APPROVALS_PENDING"}
        if fault and not asks and not expected:
            self.bench.mock.force(fault)
        word, paid = self.charged(agent, cents, made.key)
        if expected:
            assert word == "+".join(sorted(expected))
            return multiple()
        self.model.spent.append(made)
        if asks:
            assert word == "approval_required" and paid is not None
            made.payment_id, made.approval_id = paid.id, str(paid.approval_id)
            made.ends = now + timedelta(minutes=30)
            return made
        words = {"": "succeeded", "decline": "declined", "timeout-after": "unknown", "pending": "pending"}
        assert word == words[fault]
        made.state = "captured" if fault == "" else "released" if fault == "decline" else "held"
        made.payment_id = "" if paid is None else paid.id
        return made

    @rule(target=parked, one=payments, yes=st.booleans())
    def decide(self, one: Spent, yes: bool) -> Any:
        if not (one.approval_id and one.state == "held" and one.ends and not one.approved):
            return multiple()
        verb = self.bench.manager.approve if yes else self.bench.manager.deny
        verb(one.approval_id, approver="alice", secret="a secret of twelve or more")
        if not yes:
            one.state, one.ends = "void", None
            return multiple()
        one.approved = True
        return one

    @rule(one=consumes(parked))
    def run_approved(self, one: Spent) -> None:
        now = self.clock.now()
        if one.state != "held" or one.ends is None:
            assert self.charged(one.agent, one.cents, one.key)[0] not in ("succeeded", "pending")
            return
        one.state = "void"  # its own hold counts in nothing that it is decided by
        expected = self.model.denials(one.agent, one.cents, now)
        word, _ = self.charged(one.agent, one.cents, one.key)
        if expected:
            one.state = "held"
            assert word == "+".join(sorted(expected))
            return
        assert word == "succeeded"
        one.state, one.at, one.ends = "captured", now, None

    @rule(one=payments, part=st.sampled_from([100, 2_500]))
    def refund(self, one: Spent, part: int) -> None:
        if one.state != "captured" or one.restored + part > one.cents:
            return
        self.keys += 1
        handle = self.bench.manager.for_agent(one.agent)
        handle.refund(one.payment_id, dollars(part), reason="r", idempotency_key=f"r{self.keys}")
        one.restored += part

    @rule()
    def reconcile(self) -> None:
        self.bench.later(seconds=2)
        self.reconciled()

    def reconciled(self) -> None:
        """What is unknown was paid, by the fault that was forced; what is pending stays so."""
        self.bench.manager.reconcile()
        for one in self.model.spent:
            if one.state == "held" and one.payment_id and not one.approval_id:
                status = self.bench.manager.get_payment(one.payment_id).status
                assert status in ("succeeded", "pending", "unknown")
                one.state = "captured" if status == "succeeded" else "held"

    @rule(one=payments, how=st.sampled_from(["succeeded", "declined"]))
    def complete(self, one: Spent, how: Literal["succeeded", "declined"]) -> None:
        if one.state != "held" or one.approval_id or not one.payment_id:
            return
        last = self.bench.attempts(one.payment_id)[-1]
        if last.outcome != "pending":
            return
        self.bench.mock.complete(last.reference, how)
        self.bench.manager.verify_payment(one.payment_id)
        one.state = "captured" if how == "succeeded" else "released"

    @rule(minutes=st.sampled_from([1, 29, 31, 61, 24 * 60 + 1]))
    def wait(self, minutes: int) -> None:
        self.bench.later(minutes=minutes)
        self.model.expire(self.clock.now())
        self.reconciled()

    @invariant()
    def the_limits_stand_as_the_model_says(self) -> None:
        if not hasattr(self, "bench"):
            return
        now = self.clock.now()
        for agent in AGENTS:
            views = {one.id: one for one in self.bench.manager.for_agent(agent).get_budget().limits}
            day = self.model.within(agent, now, 24)
            held = sum(one.counts for one in day if one.state == "held")
            used = sum(one.counts for one in day) - held
            assert (views["day"].used, views["day"].held) == (f"{dollars(used)} USD", f"{dollars(held)} USD")
            attempts = [one for one in self.model.within(agent, now, 1) if one.state != "void"]
            assert int(views["burst"].used or 0) + int(views["burst"].held or 0) == len(attempts)

    @invariant()
    def every_decision_kept_its_caps(self) -> None:
        if hasattr(self, "bench"):
            kept = [check for check in CHECKS if check.invariant == 2]
            broken = self.bench.engine.store.read(lambda tx: {one.title: one.run(tx) for one in kept})
            assert not {title: rows for title, rows in broken.items() if rows}


@pytest.mark.parametrize(("dialect", "examples"), [("sqlite", 8), ("postgresql", 3)])
def test_the_policy_holds_whatever_happens(databases: Databases, dialect: Dialect, examples: int) -> None:
    Machine.databases, Machine.dialect = databases, dialect
    bounded = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],  # shrinking a long run of these takes minutes
        suppress_health_check=list(HealthCheck),
    )
    run(Machine, settings=bounded)


# ---- in ten processes


def spend(index: int, url: str, steps: list[tuple[str, int]]) -> tuple[int, Counter[str]]:
    """Charge, refund and ask in a process of one's own: what was paid in cents, and how many charges each agent got."""
    from agentpay import PaymentManager

    manager = PaymentManager(url, provider="mock", throttle="off")
    moved, taken = 0, Counter[str]()
    for number, (what, cents) in enumerate(steps[index::10]):
        agent = AGENTS[(index + number) % 2]
        handle = manager.for_agent(agent)
        try:
            paid = handle.charge("ana", dollars(cents), "USD", description=what, idempotency_key=f"{index}-{number}")
            taken[agent] += 1
            moved += cents if paid.status == "succeeded" else 0
            if what == "refund" and paid.status == "succeeded":
                handle.refund(paid.id, "1.00", reason="r", idempotency_key=f"{index}-{number}-r")
                moved -= 100
        except AgentPayError as error:
            assert error.code in ("POLICY_DENIED", "DUPLICATE_SUSPECTED"), error.code
    manager.close()
    return moved, taken


def test_ten_processes_together_never_pass_a_cap(
    make_bench: MakeBench, database: str, run_processes: Callable[..., list[Any]]
) -> None:
    bench = make_bench(policy=RULES, clock=None)
    steps = [(("charge", "refund", "charge")[n % 3], (500, 2_500, 1_300, 3_100)[n % 4]) for n in range(120)]
    ended = values(run_processes(10, "integration.spending.test_machine:spend", (database, steps), timeout=120))
    moved, taken = sum(paid for paid, _ in ended), sum((got for _, got in ended), Counter[str]())
    assert 0 < moved == bench.moved() - bench.moved("refund") <= EVER_CAP
    for agent in AGENTS:
        assert 0 < taken[agent] <= BURST, "each asked for sixty within the hour"
        day = next(one for one in bench.manager.for_agent(agent).get_budget().limits if one.id == "day")
        assert float((day.used or "").split()[0]) <= DAY_CAP / 100
