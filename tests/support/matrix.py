"""The crash matrix: an operation dies at a place while its provider ends it somehow; then the program starts anew.

A cell is (operation, place, ending). `Lab.run` lets it die by an exception, or by SIGKILL in a process of its own. It
starts a new manager on the same database after the lease, reconciles, repeats with the same key, and says what is
wrong. The provider's books are the auditor: `Lab.audit` holds our payments and refunds against every movement in them.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.errors import AgentPayError, IdempotencyConflict
from agentpay.manager import AgentHandle, PaymentManager
from agentpay.manager.wiring import Engine
from agentpay.payments.queries import ATTEMPTS, PAYMENTS, REFUNDS
from agentpay.plans.models import PaymentPlan
from agentpay.principal import OPERATOR
from agentpay.storage import Store
from agentpay.storage.transaction import Tx
from support.bench import policy
from support.failing import PLACES, Died, Place, Places, closed, kill_myself, watched_engine
from support.fakes import ENDINGS, REACHED, Effect, Ending, Fake, MockFake
from support.invariants import check_invariants
from support.ledgers import check_counters

How = Literal["exception", "kill"]
_NUMBERS: Final = itertools.count(1)
_COMMITS: Final = frozenset(place for place in PLACES if place.endswith("commit"))


@dataclass(frozen=True)
class Cell:
    """One way for an operation to die."""

    operation: str
    place: Place
    ending: Ending

    def __str__(self) -> str:
        return f"{self.operation}-{self.place}-{self.ending}"

    @property
    def taken(self) -> bool:
        """Whether the provider took the request before the end."""
        late = PLACES.index(self.place) > PLACES.index("before_provider")
        return late and self.ending != "timeout_before"

    @property
    def expected(self) -> str:
        """How it stands after the repeat: the repeat's own request succeeds, where one is made."""
        return "declined" if self.taken and self.ending == "decline" else "succeeded"


@dataclass(frozen=True)
class Operation:
    """A verb of the engine, with its key: `prepare` what it needs, `run` it, or run it with `another` body."""

    prepare: Callable[[PaymentManager, str], object]
    run: Callable[[Engine, str], object]
    another: Callable[[Engine, str], object]


def _bot(engine: Engine) -> AgentHandle:
    return AgentHandle(engine, "bot")


def _charge(engine: Engine, customer: str, amount: str = "20.00") -> object:
    return _bot(engine).charge(customer, amount, "USD", description="x", idempotency_key=customer)


def _paid(manager: PaymentManager, customer: str) -> object:
    return manager.for_agent("bot").charge(
        customer, "50.00", "USD", description="x", idempotency_key=f"{customer}-paid"
    )


def _refund(engine: Engine, customer: str, amount: str = "20.00") -> object:
    (payment,) = engine.payments.list_payments(customer).items
    return _bot(engine).refund(payment.id, amount, reason="r", idempotency_key=customer)


def _subscribe(engine: Engine, customer: str, plan: str = "pro") -> object:
    return _bot(engine).subscribe(customer, plan, idempotency_key=customer)


def _subscribed(manager: PaymentManager, customer: str) -> object:
    return manager.for_agent("bot").subscribe(customer, "pro", idempotency_key=f"{customer}-first")


def _renew(engine: Engine, customer: str, plan: str | None = "pro") -> object:
    return engine.renewing.renew(customer, plan, key=customer, provider=None, principal=OPERATOR)


def _nothing(_manager: PaymentManager, _customer: str) -> None:
    """Nothing is needed."""


OPERATIONS: Final[Mapping[str, Operation]] = {
    "charge": Operation(_nothing, _charge, lambda engine, who: _charge(engine, who, "21.00")),
    "refund": Operation(_paid, _refund, lambda engine, who: _refund(engine, who, "19.00")),
    "subscribe": Operation(_nothing, _subscribe, lambda engine, who: _subscribe(engine, who, "max")),
    "renew": Operation(_subscribed, _renew, lambda engine, who: _renew(engine, who, None)),
}


def cells(operation: str, place: Place) -> list[Cell]:
    """The cells of an operation that can die at a place: for every ending that gets there."""
    endings = (ending for ending in ENDINGS if place in _COMMITS or place in REACHED[ending])
    return [Cell(operation, place, ending) for ending in endings]


def every_cell() -> list[Cell]:
    """The whole matrix."""
    return [cell for operation in OPERATIONS for place in PLACES for cell in cells(operation, place)]


def sample() -> list[Cell]:
    """A fixed sample: each operation at each place once, and every ending several times."""
    found = [cells(operation, place) for operation in OPERATIONS for place in PLACES]
    return [some[(n + n // len(PLACES)) % len(some)] for n, some in enumerate(found)]


PLANS: Final = tuple(
    PaymentPlan(id=name, name=name, payment_type="subscription", price=price, billing_period="daily", features=["api"])
    for name, price in (("pro", "10.00"), ("max", "30.00"))
)


Moved = tuple[str, int, str]
"""Money that moved: (payment or refund, minor units, currency)."""


@dataclass(frozen=True)
class Findings:
    """What an audit found: money that moved more than once, that only one side knows of, and broken invariants."""

    doubles: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def faults(self) -> str:
        """All of it, as text."""
        return "\n".join((*self.doubles, *self.losses, *self.broken))


@dataclass
class Lab:
    """A database, a provider's fake beside it, and a clock that the tests move. `resolved` counts the attempts that
    were left without an outcome by a death, and had one after the next start."""

    url: str
    clock: FixedClock
    fake: Fake = field(default_factory=MockFake)

    def __post_init__(self) -> None:
        allowed = {"providers": {"allow": [self.fake.name]}}
        self.resolved = 0
        self.sound = self.started(policy({"bot": allowed}))
        for plan in PLANS:
            self.sound.create_plan(plan)

    def started(self, active: dict[str, Any] | Literal[False] = False) -> PaymentManager:
        """A program that starts: a new manager on a new client of the provider. It makes its bounded pass."""
        provider = self.fake.provider(self.url, self.clock, Places())
        return PaymentManager(self.url, provider=provider, policy=active, throttle="off", clock=self.clock)

    def close(self) -> None:
        """Close what is open for as long as the lab is."""
        self.sound.close()

    def run(self, cell: Cell, how: How = "exception", operation: Operation | None = None) -> None:
        """Let the operation of a cell die, start anew, and see to it that it happened once.

        Raises:
            AssertionError: the place was not reached, money moved twice or was lost, or it ends otherwise.
        """
        operation, customer = operation or OPERATIONS[cell.operation], f"{cell}-{how}-{next(_NUMBERS)}"
        self.fake.meet(self.sound, self.url, customer)
        operation.prepare(self.sound, customer)
        if cell.operation == "renew":
            self.clock.advance(timedelta(days=1, seconds=1))
        before = self.effects()
        self._dies(operation, customer, cell, how)
        left = self.sound._engine.store.read(unanswered)
        self.clock.advance(self.fake.lease)
        with self.started() as manager:
            manager.reconcile()
            if self.fake.goes_on:
                _goes_on(manager, customer)
            ended = _ended(lambda: operation.run(manager._engine, customer))
            assert ended == cell.expected, f"{cell}: it ended {ended}, not {cell.expected}"
            assert _ended(lambda: operation.run(manager._engine, customer)) == ended
            changed = _code(lambda: operation.another(manager._engine, customer))
            assert changed == IdempotencyConflict.code, f"{cell}: another body under its key: {changed}"
        self.resolved += len(left - self.sound._engine.store.read(unanswered))
        moved = len(self.effects()) - len(before)
        assert moved == (ended == "succeeded"), f"{cell}: money moved {moved} times"

    def _dies(self, operation: Operation, customer: str, cell: Cell, how: How) -> None:
        if how == "kill":
            self._is_killed(operation, customer, cell)
            return
        places = Places(cell.place)
        try:
            self._run_on(places, operation, customer, cell)
        except Died:
            return
        raise AssertionError(f"{cell}: the place was not reached, but {places.reached}")

    def _is_killed(self, operation: Operation, customer: str, cell: Cell) -> None:
        child = os.fork()
        if child == 0:
            try:
                self._run_on(Places(cell.place, kill_myself), operation, customer, cell)
            except BaseException as exc:
                os.write(2, f"the child did not die: {type(exc).__name__}: {exc}\n".encode())
            finally:
                os._exit(3)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"{cell}: the child was to be killed"

    def _run_on(self, places: Places, operation: Operation, customer: str, cell: Cell) -> None:
        provider = self.fake.provider(self.url, self.clock, places)
        engine = watched_engine(self.url, self.clock, provider, places)
        self.fake.arrange(provider, cell.ending)
        try:
            operation.run(engine, customer)
        finally:
            closed(engine)

    def effects(self) -> Counter[Effect]:
        """What moved, by the provider's own books."""
        return Counter(self.fake.effects(self.url))

    def audit(self) -> None:
        """Let the last leases end, and hold every invariant, the counters, and the provider's effects against ours.

        Raises:
            AssertionError: something is broken; it says what.
        """
        found = self.findings()
        assert not found.faults, found.faults

    def findings(self) -> Findings:
        """What `audit` finds, counted."""
        self.clock.advance(self.fake.lease)
        with self.started() as manager:
            manager.reconcile()
            store = manager._engine.store
            broken = [str(fault) for check in (check_invariants, _check_counters) for fault in _faults(check, store)]
            ours, known = store.read(lambda tx: (our_effects(tx), _subjects(tx)))
        theirs = self.effects()
        seen = Counter[Moved]()
        for effect, times in theirs.items():
            seen[known.get(effect.key, "nobody's"), effect.minor, effect.currency] += times
        doubles = [f"moved {times} times: {moved}" for moved, times in seen.items() if times > 1]
        lost = [f"moved and not recorded: {moved}" for moved in seen.keys() - ours.keys()]
        lost += [f"recorded and not moved: {moved}" for moved in ours.keys() - seen.keys()]
        return Findings(tuple(doubles), tuple(lost), tuple(broken))


def _goes_on(manager: PaymentManager, customer: str) -> None:
    """What the operator does with a charge that was begun at the provider and not paid."""
    for payment in manager.list_payments(customer):
        if payment.status == "requires_action":
            manager.continue_payment(payment.id)


def _check_counters(store: Store) -> None:
    store.read(check_counters)


def _faults(check: Callable[[Store], None], store: Store) -> list[AssertionError]:
    try:
        check(store)
    except AssertionError as fault:
        return [fault]
    return []


def our_effects(tx: Tx) -> Counter[Moved]:
    """What moved, by our own rows, once for each payment or refund that succeeded."""
    both = [
        sa.select(found.c.id, found.c.amount_minor, found.c.currency).where(found.c.status == "succeeded")
        for found in (PAYMENTS, REFUNDS)
    ]
    rows = [row for one in both for row in tx.all(one)]
    return Counter((row.id, row.amount_minor, row.currency) for row in rows)


def unanswered(tx: Tx, since: datetime | None = None) -> set[str]:
    """The attempts whose outcome nobody knows; only those sent since a moment, where one is named."""
    query = sa.select(ATTEMPTS.c.id).where(ATTEMPTS.c.outcome.in_(("sent", "unknown")))
    if since is not None:
        query = query.where(ATTEMPTS.c.sent_at >= since)
    return {row.id for row in tx.all(query)}


def _subjects(tx: Tx) -> dict[str, str]:
    return {row.provider_key: row.subject_id for row in tx.all(sa.select(ATTEMPTS))}


def _ended(call: Callable[[], Any]) -> str:
    """How an operation ended: the payment's status, or the end of its code."""
    try:
        result = call()
    except AgentPayError as error:
        return {"PAYMENT_DECLINED": "declined"}.get(error.code, error.code)
    if getattr(result, "plan", None) is None:
        return str(result.status)
    return "succeeded" if result.status == "active" else str(result.status)


def _code(call: Callable[[], object]) -> str:
    try:
        call()
    except AgentPayError as error:
        return error.code
    return "fine"
