"""What worker processes do at once, rightly and naively. The naive ones check first and act later: they must fail."""

from __future__ import annotations

from dataclasses import replace

from agentpay.errors import AgentPayError, PolicyDenied, UsageLimitExceeded
from agentpay.manager import AgentHandle, PaymentManager
from agentpay.payments.models import Payment
from agentpay.spending.gate import Gate
from agentpay.storage.transaction import Tx
from agentpay_policies.decisions import Decision, Request
from agentpay_policies.evaluate import evaluate
from agentpay_policies.money import Money
from agentpay_policies.policy import Policy
from support.parallel import run_threads, values

FIFTY = "50.00"


def opened(url: str) -> PaymentManager:
    """The manager of one process, as any program opens it."""
    manager = PaymentManager(url, provider="mock", throttle="off")
    manager.health()  # every connection is made
    return manager


class BlindGate(Gate):
    """A gate that takes every hold and allows everything: what a check outside of the transaction leaves to rely on."""

    def _decide(
        self, tx: Tx, policy: Policy | None, request: Request, now: object, rules: object, look_alike: object
    ) -> Decision:
        decision = evaluate(request, policy, self._state(tx, policy, request, tx.now(), frozenset()), tx.now())
        return replace(decision, outcome="allow", violations=(), needs=())


def naive_handle(manager: PaymentManager, agent: str) -> AgentHandle:
    """An agent's handle whose gate is blind."""
    engine = manager._engine
    blind = BlindGate(engine.ids)
    opening = replace(engine.payments.opening, gate=blind)
    return AgentHandle(replace(engine, gate=blind, payments=replace(engine.payments, opening=opening)), agent)


def may_charge(manager: PaymentManager, agent: str, amount: str) -> bool:
    """The real decision about a charge, made outside of the transaction that will spend."""
    request = Request(
        tool="charge",
        agent=agent,
        operation="charge",
        customer="ana",
        provider="mock",
        money=Money(amount, "USD"),
        customer_ref="cus_any",
    )
    engine = manager._engine
    return engine.store.read(lambda tx: engine.gate.permit(tx, request)) is None


# -- a rolling cap


def spend_fifties(index: int, url: str, times: int, naive: bool) -> list[str]:
    """Charge $50 so many times, each under a key of its own; how each ended."""
    manager = opened(url)
    handle = naive_handle(manager, "bot") if naive else manager.for_agent("bot")
    ended = []
    for n in range(times):
        if naive and not may_charge(manager, "bot", FIFTY):
            ended.append("POLICY_DENIED")
            continue
        ended.append(_ended(lambda key: _fifty(handle, key), f"{index}-{n}"))
    manager.close()
    return ended


def _fifty(handle: AgentHandle, key: str) -> Payment:
    return handle.charge("ana", FIFTY, "USD", description="fifty", idempotency_key=key)


# -- a quota


def use_quota(index: int, url: str, threads: int, times: int, naive: bool) -> int:
    """Record usage from several threads at once; how many units were accepted."""
    manager = opened(url)

    def run(thread: int) -> int:
        return sum(_use(manager, f"{index}-{thread}-{n}", naive) for n in range(times))

    accepted = sum(values(run_threads(threads, run)))
    manager.close()
    return accepted


def _use(manager: PaymentManager, key: str, naive: bool) -> bool:
    """One unit; the naive way counts what was recorded, and then records a unit that nothing limits."""
    if naive:
        found = manager.get_usage("ana", "unlimited").feature("unlimited")
        if found is not None and found.recorded >= 100:
            return False
        manager.record_usage("ana", "unlimited", idempotency_key=key)
        return True
    try:
        manager.record_usage("ana", "calls", idempotency_key=key)
    except UsageLimitExceeded:
        return False
    return True


# -- one key, one approval


def charge_at_once(index: int, url: str, threads: int, key: str, amount: str, naive: bool) -> list[str]:
    """The same charge under the same key from several threads; the naive way looks the key up, and then charges."""
    manager = opened(url)
    handle = manager.for_agent("bot")

    def run(thread: int) -> str:
        if not naive:
            return _ended(lambda one: _charge(handle, amount, one), key)
        known = _ended(lambda one: handle.get_payment(idempotency_key=one), f"{key}-{index}-{thread}")
        seen = handle.list_payments("ana", limit=1).items
        if known != "NOT_FOUND" or seen:
            return "seen"
        return _ended(lambda one: _charge(handle, amount, one), f"{key}-{index}-{thread}")

    ended = values(run_threads(threads, run))
    manager.close()
    return ended


def run_approved(index: int, url: str, threads: int, approval_id: str, naive: bool) -> list[str]:
    """Repeat the approved charge; the naive way reads the approval, and then runs what it stands for."""
    manager = opened(url)
    handle = manager.for_agent("bot")
    blind = naive_handle(manager, "bot")

    def run(thread: int) -> str:
        if not naive:
            return _ended(lambda key: _charge(handle, FIFTY, key), "parked")
        if handle.get_approval(approval_id).status != "approved" or handle.list_payments("ana", limit=5).items[1:]:
            return "used"
        return _ended(lambda key: _charge(blind, FIFTY, key), f"parked-{index}-{thread}")

    ended = values(run_threads(threads, run))
    manager.close()
    return ended


def _charge(handle: AgentHandle, amount: str, key: str) -> Payment:
    return handle.charge("ana", amount, "USD", description="the same", idempotency_key=key)


# -- refunds


def refund_in_parts(index: int, url: str, threads: int, payment_id: str, naive: bool) -> list[str]:
    """Refund $3.00 from several threads. The naive way reads what is left, and then takes it from a purse of its own:
    a charge of the operator's stands for what it gives back."""
    manager = opened(url)

    def run(thread: int) -> str:
        key = f"refund-{index}-{thread}"
        if not naive:
            return _ended(lambda one: manager.refund(payment_id, "3.00", idempotency_key=one), key)
        if 3 * (len(manager.list_payments("given back")) + 1) > 20:
            return "REFUND_REFUSED"
        return _ended(lambda one: manager.charge("given back", "3.00", "USD", idempotency_key=one), key)

    ended = values(run_threads(threads, run))
    manager.close()
    return ended


def _ended(call: object, key: str) -> str:
    """How a call ended: the status, or the code of its error."""
    assert callable(call)
    try:
        return str(call(key).status)
    except PolicyDenied as error:
        return ",".join(violation.code for violation in error.violations)
    except AgentPayError as error:
        return error.code
