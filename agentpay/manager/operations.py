"""The verbs of people: approvers, approvals, the policy, halts, and looking after the installation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from agentpay.audit import log
from agentpay.audit.verify import Verification, verify
from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.errors import NotFound, ReconcileFirst
from agentpay.ledger import service as ledger
from agentpay.manager import epochs, erasing
from agentpay.manager.customer_verbs import CustomerVerbs
from agentpay.manager.erasing import Erasure
from agentpay.manager.opening import PolicySource, open_engine, read_policy
from agentpay.manager.simulating import Asked, Simulation, Wanted, simulate
from agentpay.manager.telling import read_card
from agentpay.manager.wiring import Engine
from agentpay.payments import queries as payment_queries
from agentpay.payments.models import Dispute, Payment, Refund
from agentpay.payments.resolving import Resolution, resolution
from agentpay.payments.views import dispute_view
from agentpay.principal import OPERATOR
from agentpay.providers.base import Capabilities, Health, PaymentProvider
from agentpay.providers.crypto.listing import UnallocatedTransfer, unallocated
from agentpay.spending import active, approvals, approvers, enrolments, halts, policies, replaying
from agentpay.spending.cards import Card
from agentpay.spending.models import ActivePolicy, Approval, ApprovalStatus, Approver
from agentpay.storage.choices import Storage
from agentpay.storage.transaction import Tx
from agentpay.webhooks.models import EventStatus, ReceivedEvent, RetryReport, WebhookReceipt
from agentpay.worker.jobs import JOBS, Job
from agentpay.worker.service import Ran, Worker
from agentpay_policies.decisions import Halt
from agentpay_policies.money import Money
from agentpay_policies.names import ALWAYS_ALLOWED, ToolName
from agentpay_policies.policy import Policy
from agentpay_policies.text import identifier

if TYPE_CHECKING:
    from agentpay.doctor.checks import Examination
    from agentpay_policies.backtest import Report
    from agentpay_policies.compare import Change

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SystemHealth:
    """Whether everything answers. `oldest_unknown` is since when the oldest unknown outcome has been so, and
    `oldest_unknown_age` how long that is; `halted_epoch` is the number of a new epoch that wants its reconcile, `late`
    how many payments moved money after their hold was let go, which the doctor names."""

    ok: bool
    database: str
    dialect: str
    policy: ActivePolicy | None
    providers: Mapping[str, Health]
    oldest_unknown: datetime | None
    oldest_unknown_age: timedelta | None = None
    halted_epoch: int | None = None
    late: int = 0


class Operations(CustomerVerbs):
    """What people do with an installation. No tool reaches any of it."""

    _engine: Engine

    def enrol_approver(
        self, name: str, secret: str, *, by: str | None = None, by_secret: str | None = None
    ) -> Approver:
        """Enrol a person who may approve: the first freely, a later one by an approver who is enrolled already.

        Raises:
            ValidationError, Conflict, ApproverRefused, ApproverLocked: nobody was enrolled.
        """
        return approvers.enrol(self._engine.store, self._engine.ids, name, secret, by=by, by_secret=by_secret)

    def rotate_approver(self, name: str, new_secret: str, *, by: str, by_secret: str) -> None:
        """Give an approver a new secret; `by` may be the approver or another one."""
        approvers.rotate(self._engine.store, self._engine.ids, name, new_secret, by=by, by_secret=by_secret)

    def approvers(self) -> tuple[Approver, ...]:
        """Everybody who may approve."""
        return self._engine.store.read(approvers.listed)

    def approve(self, approval_id: str, *, approver: str, secret: str) -> Approval:
        """Approve one payment or refund. It runs when the agent repeats its call, or by `continue_payment`: once.

        Raises:
            ApproverRefused, ApproverLocked: not an approver whom it asks.
            NotFound, Conflict: there is no such approval, or it was decided already.
        """
        approvers.verify(self._engine.store, approver, secret)
        return self._engine.payments.answer(approval_id, approver, "approved")

    def deny(self, approval_id: str, *, approver: str, secret: str) -> Approval:
        """Refuse one payment or refund, for good. Raises as `approve`."""
        approvers.verify(self._engine.store, approver, secret)
        return self._engine.payments.answer(approval_id, approver, "denied")

    def resolve_payment(
        self,
        payment_id: str,
        *,
        outcome: Resolution,
        evidence: str,
        approver: str,
        secret: str,
        second: str | None = None,
        second_secret: str | None = None,
        reference: str | None = None,
    ) -> Payment | Refund:
        """Settle a payment or refund whose outcome stays unknown by what people found out: `succeeded` or `not_sent`.

        Two approvers say so; where one alone is enrolled, that one, and the doctor tells. `evidence` is how they know:
        it is kept apart, with its hash in the audit. `reference` is the provider's own id of the movement, where they
        have it. The provider is asked once more first.

        Raises:
            NotFound, Conflict: there is no such payment, or its outcome is not unknown.
            ApproverRefused, ApproverLocked: not an approver, the same one twice, or one where there must be two.
            ValidationError: an argument is none.
        """
        word = resolution(outcome, evidence, reference, (approver, second) if second is not None else (approver,))
        approvers.verify(self._engine.store, approver, secret)
        if second is not None:
            approvers.verify(self._engine.store, second, second_secret or "")
        approvers.need_two(self._engine.store, word.people)
        return self._engine.payments.resolve(identifier(payment_id, "payment_id"), word)

    def get_approval(self, approval_id: str) -> Approval:
        """An approval as it stands."""
        return self._engine.store.read(lambda tx: approvals.get(tx, approval_id, agent_id=None))

    def approval_card(self, approval_id: str) -> Card:
        """Everything to decide an approval by: what, for whom, why it is asked, and what the agent spent and has left.

        Raises:
            NotFound: there is no such approval.
        """
        return read_card(self._engine.store, approval_id)

    def on_approval(self, callback: Callable[[Card], None]) -> None:
        """Tell `callback` of every approval that an agent asks for through this manager from now on.

        It is called once for each, after the commit and before the agent is answered, in the agent's thread: keep it
        short. Where it fails, that is logged, and the payment waits all the same. AGENTPAY_APPROVAL_HOOK names a
        command that is told in the same way, in every process.
        """
        self._engine.telling.on_approval(callback)

    def list_approvals(self, status: ApprovalStatus | None = "pending", *, limit: int = 100) -> tuple[Approval, ...]:
        """Approvals in one state, or all; the newest first."""
        return self._engine.store.read(lambda tx: approvals.listed(tx, status, limit))

    def active_policy(self) -> ActivePolicy | None:
        """The policy by which this database decides."""
        return self._engine.store.read(policies.active_row)

    def policy_document(self) -> Policy | None:
        """What the active policy says."""
        return self._engine.store.read(active.policy)

    def agents(self) -> tuple[str, ...]:
        """The agents that the active policy names."""
        policy = self._engine.store.read(active.policy)
        return () if policy is None else tuple(sorted(entry.id for entry in policy.agents))

    def apply_policy(self, source: str | Path | Mapping[str, object] | Policy) -> ActivePolicy:
        """Make a policy the active one. `loosened` of the answer says aloud what it allows more than the one before.

        Raises:
            PolicyError: the source is no policy; what was active stays so.
        """
        policy = read_policy(source)
        return self._engine.store.write(lambda tx: policies.apply(tx, policy, OPERATOR))

    def enrol_agent(self, agent: str) -> bool:
        """Let an agent be one of the policy's patterns with `each: true`, with limits of its own. False: it is already.

        What it spent stays counted where its enrolment is taken back.
        """
        who = identifier(agent, "agent")
        return self._engine.store.write(lambda tx: enrolments.enrol(tx, who, OPERATOR, tx.now()))

    def withdraw_agent(self, agent: str) -> bool:
        """Take an agent's enrolment back. False where it had none."""
        return self._engine.store.write(lambda tx: enrolments.withdraw(tx, agent, OPERATOR, tx.now()))

    def enrolled_agents(self) -> tuple[str, ...]:
        """Every enrolled agent."""
        return self._engine.store.read(enrolments.listed)

    def explain(self, agent: str, source: PolicySource | None = None) -> tuple[str, ...]:
        """The rules for an agent in plain sentences, by the active policy or by another one.

        Raises:
            NotFound: no policy is active, and none is given.
            PolicyError, ConfigurationError: the source is no policy.
        """
        from agentpay_policies.explain import explain

        return explain(self._policy(source), identifier(agent, "agent"))

    def simulate(self, agent: str, operation: str, **request: Unpack[Asked]) -> Simulation:
        """What would be decided now about a request of an agent's: no hold is taken, and nothing is written.

        `operation` is a tool's name. The request is in the words of the tools: customer, amount, currency, payee,
        provider, method, distinct_from, plan, quantity, cost, and of a refund payment_id.

        Raises:
            ValidationError, NotFound, ProviderUnknown, ProviderUnsupported: as the verb itself would refuse it.
        """
        return simulate(self._engine, Wanted(agent, operation, **request))

    def backtest(self, source: PolicySource, since: datetime | timedelta | None = None) -> Report:
        """What another policy would have said to the requests of the past: what it would newly deny, park or allow.

        `since` is a moment, or how long ago. What was spent before it is not counted.

        Raises:
            PolicyError, ConfigurationError: the source is no policy.
            ValidationError: there are too many requests: begin later.
        """
        from agentpay_policies.backtest import compare_decisions

        policy = self._policy(source)
        past = self._engine.store.read(
            lambda tx: replaying.recorded(tx, tx.now() - since if isinstance(since, timedelta) else since)
        )
        return compare_decisions(past, policy)

    def policy_differences(self, old: PolicySource | None, new: PolicySource | None) -> tuple[Change, ...]:
        """Everything that `new` allows more than `old`, then everything that it allows less. None is the active one."""
        from agentpay_policies.compare import differences

        return differences(self._policy(old), self._policy(new))

    def halt(self, agent: str | None = None, *, reason: str) -> None:
        """Stop an agent, or all of them: every decision from now on is a denial. What is under way goes on."""
        identifier(reason, "reason", longest=500)
        self._engine.store.write(lambda tx: halts.halt(tx, agent, reason, OPERATOR, tx.now()))

    def resume(self, agent: str | None = None) -> bool:
        """Let an agent, or all of them, go on. False where there was no such halt.

        Raises:
            ReconcileFirst: all of them, and the database is a restored or imported copy that was not reconciled yet.
        """

        def write(tx: Tx) -> bool | ReconcileFirst:
            refused = epochs.check_reconciled(tx) if agent is None else None
            return refused or halts.resume(tx, agent, OPERATOR, tx.now())

        done = self._engine.store.write(write)
        if isinstance(done, ReconcileFirst):
            raise done
        return done

    def declare_restored(self) -> int:
        """Say that the database is a restored copy where it cannot know, such as after `pg_restore` or a plain copy of
        the file: it is halted, in a new epoch, whose number is returned. See `agentpay.manager.epochs`."""
        return self._engine.store.write(epochs.declare_restored)

    def halts(self) -> tuple[Halt, ...]:
        """Who is halted, and why."""
        return self._engine.store.read(halts.halts)

    def list_customers(self, *, limit: int = 100, after: str | None = None) -> tuple[Customer, ...]:
        """Customers by their ids, from behind the one called `after`."""
        return tuple(self._engine.store.read(lambda tx: customers.listed(tx, limit, after)))

    def erase_customer(self, customer: str) -> Erasure:
        """Erase who a customer is; what was paid stays, and books and audit stay valid. See `agentpay.manager.erasing`.

        Raises:
            NotFound: there is no such customer.
            Conflict: a subscription is alive, or a payment or refund open; nothing was erased.
        """
        return erasing.erase(self._engine, customer)

    def credits_of(self, customer: str) -> tuple[Money, ...]:
        """The credits that a customer has left, by currency."""

        def read(tx: Tx) -> tuple[Money, ...]:
            found = customers.known(tx, customer)
            left = {} if found is None else ledger.credits_available(tx, found.id)
            return tuple(Money.from_minor(minor, currency) for currency, minor in left.items())

        return self._engine.store.read(read)

    def speed_up(self, payment_id: str) -> Payment | Refund:
        """Have the provider replace what waits of a payment or refund by the same with a better chance: on a chain, the
        same transfer with higher fees and the same number, so that only one of them is ever mined. Audited.

        Raises:
            NotFound: there is no such payment or refund.
            Conflict: nothing of it waits.
            ProviderUnsupported, ProviderError: the provider cannot, or would not; nothing was replaced.
        """
        return self._engine.payments.speed_up(payment_id, OPERATOR)

    def poll(self) -> int:
        """Ask the providers that send no webhooks what happened lately, and apply it; returns how much of it was new. A
        worker does it every few seconds."""
        return self._engine.webhooks.poll()

    def unallocated_transfers(self, *, limit: int = 100, fractions: bool = False) -> tuple[UnallocatedTransfer, ...]:
        """What came over a chain and belongs to no payment, the newest first: a person decides what becomes of it.
        `fractions`: with the parts of amounts that only told payments apart."""
        return self._engine.store.read(lambda tx: unallocated(tx, limit, fractions=fractions))

    def recent_payments(self, *, limit: int = 50, status: str | None = None) -> tuple[Payment, ...]:
        """The newest payments of all customers."""
        return self._engine.payments.newest(limit, status)

    def refunds_of(self, payment_id: str) -> tuple[Refund, ...]:
        """The refunds of a payment, the first first."""
        return self._engine.payments.refunds_of(payment_id)

    def disputes(
        self, payment_id: str | None = None, *, status: str | None = None, limit: int = 100
    ) -> tuple[Dispute, ...]:
        """Disputes and reversals, of one payment or in one state where named, the newest first."""

        def read(tx: Tx) -> tuple[Dispute, ...]:
            rows = payment_queries.disputes(tx, payment_id=payment_id, status=status, limit=limit)
            return tuple(dispute_view(row) for row in rows)

        return self._engine.store.read(read)

    def webhook_events(self, status: EventStatus | None = None, *, limit: int = 50) -> tuple[ReceivedEvent, ...]:
        """The webhooks that were received, the newest first; with `status`, those that wait, for example."""
        return self._engine.webhooks.listed(status, limit)

    def retry_webhooks(self, *, limit: int = 1000) -> RetryReport:
        """Try the waiting webhooks again whose time has come."""
        return self._engine.webhooks.retry_waiting(limit)

    def retry_webhook(self, event_id: str) -> WebhookReceipt:
        """Try one webhook again, by our id of it, also where it was given up. Nothing is applied twice.

        Raises:
            NotFound: there is no such event.
        """
        return self._engine.webhooks.retry(event_id)

    def capabilities(self) -> Mapping[str, Capabilities]:
        """What each provider can do."""
        return self._engine.providers.capabilities()

    def health(self) -> SystemHealth:
        """Whether the database, the policy and the providers answer. Asking never moves money."""
        engine = self._engine

        def read(tx: Tx) -> tuple[ActivePolicy | None, datetime | None, datetime, int | None, int]:
            oldest, late = payment_queries.oldest_unknown(tx), payment_queries.late(tx)
            return policies.active_row(tx), oldest, tx.now(), epochs.unsettled(tx), late

        policy, oldest, now, epoch, late = engine.store.read(read)
        answers = {provider.name: _asked(provider) for provider in engine.providers}
        return SystemHealth(
            ok=all(answer.ok for answer in answers.values()),
            database=engine.store.shown_url,
            dialect=engine.store.dialect,
            policy=policy,
            providers=answers,
            oldest_unknown=oldest,
            oldest_unknown_age=None if oldest is None else max(now - oldest, timedelta()),
            halted_epoch=epoch,
            late=late,
        )

    def verify_audit(self, expected_head: str | None = None) -> Verification:
        """Check the audit: every row's bytes, every object's history, and the chain over all.

        Raises:
            ValidationError: the expected head is none.
        """
        return verify(self._engine.store, expected_head)

    def doctor(self) -> Examination:
        """Check every invariant; the answer names the rows that break one, and what weakens the promise."""
        from agentpay.doctor.checks import examine

        return examine(self._engine.store)

    def worker(self, jobs: Sequence[Job] = JOBS, *, tell: Callable[[Ran], None] = lambda _: None) -> Worker:
        """A worker for the background jobs of this database; `tell` hears of each look at one."""
        return Worker(self._engine, jobs, tell=tell)

    def accept_clock(self) -> None:
        """Accept that the clock is behind what the database has seen: the past was the mistake. Audited."""

        def write(tx: Tx) -> None:
            log.record(tx, principal=OPERATOR, action="clock.accepted", object_id="clock", data={}, at=tx.now())

        self._engine.store.write(write, accept_clock=True)

    def close(self) -> None:
        """Let go of providers and of the database."""
        self._engine.providers.close()
        self._engine.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _policy(self, source: PolicySource | None) -> Policy:
        if source is not None:
            return read_policy(source)
        policy = self._engine.store.read(active.policy)
        if policy is None:
            raise NotFound("No policy is active.", next_step="Apply one: agentpay policy apply FILE")
        return policy

    def _tools_for(self, agent: str) -> frozenset[ToolName]:
        policy = self._engine.store.read(active.policy)
        return ALWAYS_ALLOWED if policy is None else policy.tools_of(agent)


class Desk(Operations):
    """The verbs of people alone, to look into an installation: opened without a policy, and without the pass that every
    start of a manager makes, so that what is found is what was there."""

    def __init__(self, storage: str | Storage | None = None) -> None:
        self._engine = open_engine(
            storage, provider=None, policy=False, default_plan=None, throttle=None, clock=None, ids=None
        )


def _asked(provider: PaymentProvider) -> Health:
    try:
        return provider.health()
    except Exception as exc:  # noqa: BLE001 - the named seam: a provider that raises does not answer
        logger.warning("health of %s raised %s", provider.name, type(exc).__name__)
        return Health(ok=False, detail=f"{type(exc).__name__} from {provider.name}")
