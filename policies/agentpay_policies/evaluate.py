"""The decision: may this agent do this now? Pure and total: what cannot be decided is denied.

The order is halt, policy, agent, tool, shape of the request, what is denied and what is allowed at all, the time, per
transaction, every limit up the tree, approval. Within a step every violation is collected. Denial goes over approval,
approval over allowance; an approval answers the approval step only and lifts no cap. What is only tried out
(`shadow: true`) is evaluated beside and never decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from agentpay_policies.allowing import ACTS, denied, payee_is_new, tried_findings
from agentpay_policies.asking import asking, asks, need_of, unapproved_key, unapproved_readings
from agentpay_policies.codes import finding
from agentpay_policies.decisions import (
    COUNT,
    NANO,
    CounterKey,
    Decision,
    Finding,
    LimitCheck,
    Notice,
    Reading,
    Request,
    Shadowed,
    State,
)
from agentpay_policies.limits import AppliedLimit, applied, check, left_behind, weight
from agentpay_policies.names import ALWAYS_ALLOWED, OPERATIONS, TOOL_NAMES
from agentpay_policies.policy import AgentEntry, Policy

MOST_PENDING: Final = 5
"""How many requests of one agent may wait for approval at once."""


def readings(policy: Policy | None, request: Request, now: datetime) -> tuple[Reading, ...]:
    """What `evaluate` will need from the counters for this request at this moment, each once."""
    entry = policy.agent(request.agent) if policy else None
    if policy is None or entry is None:
        return ()
    limits = (*applied(policy, entry, request, now), *applied(policy, entry, request, now, shadow=True))
    wanted = [limit.reading for limit in limits if limit.subject is not None]
    return tuple(dict.fromkeys([*wanted, *unapproved_readings(entry, request, now)]))


def counted(
    policy: Policy | None, request: Request, path: tuple[str, ...] = (), *, approved: bool = False
) -> tuple[CounterKey, ...]:
    """Every counter that the policy reads and that a hold for this request counts in; sorted, each once.

    `path` is that of a hold that was taken earlier: it counts in the budgets on it too, wherever its agent is now.
    `approved` says whether people approved it: then it does not count as unapproved.
    """
    if policy is None:
        return ()
    limits: list[AppliedLimit] = []
    keys: set[CounterKey] = set()
    if (entry := policy.agent(request.agent)) is not None:
        limits += [
            limit for tried in (False, True) for limit in applied(policy, entry, request, _ANY_TIME, shadow=tried)
        ]
        if not approved and (key := unapproved_key(entry, request)) is not None:
            keys.add(key)
    if path:
        limits += left_behind(policy, request, path, path[0], _ANY_TIME)
    return tuple(sorted(keys | {limit.counted for limit in limits if limit.subject is not None}))


def amounts_counted(
    policy: Policy | None, request: Request, path: tuple[str, ...] = (), *, approved: bool = False
) -> dict[CounterKey, int]:
    """How much a hold for this request counts in each of its counters: what a subscription commits to, or the cost."""
    entry = policy.agent(request.agent) if policy else None

    def amount(unit: str) -> int:
        if unit == COUNT:
            return 1
        if unit.startswith(NANO):
            return request.cost.nanos if request.cost else 0
        return weight(entry, request) if request.money else 0

    return {key: amount(key.unit) for key in counted(policy, request, path, approved=approved)}


_ANY_TIME: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def evaluate(request: Request, policy: Policy | None, state: State, now: datetime) -> Decision:
    """Decide. Never raises: an exception, a sum that is missing, a request that contradicts itself is a denial."""
    try:
        return _decide(request, policy, state, now)
    except Exception as exc:  # noqa: BLE001 - a policy that cannot be evaluated must deny, whatever went wrong
        return _deny(Decision("deny"), finding("EVALUATION_FAILED", asked=type(exc).__name__))


def _deny(base: Decision, *findings: Finding) -> Decision:
    return replace(
        base,
        outcome="deny",
        violations=tuple(found.agent for found in findings),
        for_operator=tuple(found.operator for found in findings),
    )


def _decide(request: Request, policy: Policy | None, state: State, now: datetime) -> Decision:
    if now.tzinfo is None:
        raise ValueError("the time has no zone")
    base = Decision("allow")
    if request.tool in ALWAYS_ALLOWED:
        return base
    entry = policy.agent(request.agent) if policy else None
    if request.tool in ACTS and (reasons := _halts(request, entry, state)):
        return _deny(base, finding("HALTED", asked=request.agent, allowed=reasons))
    if policy is None:
        return _deny(base, finding("NO_POLICY", _NO_POLICY))
    if entry is None:
        return _deny(base, finding("AGENT_UNKNOWN", rule="agents", asked=request.agent))
    base = replace(base, agent_entry=entry.id, path=policy.path(request.agent))
    if entry.each and request.agent not in state.enrolled:
        return _deny(base, finding("AGENT_UNKNOWN", _NOT_ENROLLED, rule=f"{entry.pointer}.each", asked=request.agent))
    if request.tool not in entry.tools:
        rule = f"{entry.pointer}.tools"
        return _deny(base, finding("TOOL_NOT_ALLOWED", rule=rule, asked=request.tool, allowed=entry.tools))
    if fault := _shape_fault(request):
        return _deny(base, finding("EVALUATION_FAILED", fault))
    return _weigh(request, policy, entry, state, now, base)


_NO_POLICY: Final = (
    "No spending policy is active, so nothing may be spent. "
    "The operator writes one with `agentpay init`, or applies one with `agentpay policy apply FILE`."
)
_NOT_ENROLLED: Final = "The operator has not enrolled this agent."


def _weigh(
    request: Request, policy: Policy, entry: AgentEntry, state: State, now: datetime, base: Decision
) -> Decision:
    """The steps from what is denied to approval, for a known agent and a well-formed request."""
    findings = list(denied(policy, request, entry, state, now))
    checks: list[LimitCheck] = []
    for limit in applied(policy, entry, request, now):
        done, exceeded = check(limit, state.sums.get(limit.reading), now)
        checks += [done] if done else []
        findings += [exceeded] if exceeded else []
    base = replace(
        base,
        checks=tuple(checks),
        payee_is_new=payee_is_new(request, entry),
        shadow=tuple(_tried(request, policy, entry, state, now)),
    )
    if findings:
        return _deny(base, *findings)
    needs = tuple(need_of(policy, entry, rule) for rule in asking(policy, request, entry, state, now))
    if needs and state.pending_approvals >= MOST_PENDING:
        pending = finding("APPROVALS_PENDING", limit=str(MOST_PENDING), used=str(state.pending_approvals))
        return _deny(base, pending)
    return replace(
        base,
        outcome="approve" if needs else "allow",
        needs=needs,
        notices=tuple(_notices(entry, base.checks)),
        memo=entry.memo if request.operation == "charge" else None,
        look_alike=state.look_alike if request.operation == "charge" else None,
        restores_budget=request.operation == "refund" and entry.refund is not None and entry.refund.restores_budget,
    )


def _halts(request: Request, entry: AgentEntry | None, state: State) -> tuple[str, ...]:
    """The reasons of the halts that are for this agent."""
    scopes = {"all", f"agent:{request.agent}", *([entry.subject] if entry else [])}
    return tuple(halt.reason or halt.scope for halt in state.halts if halt.scope in scopes)


def _shape_fault(request: Request) -> str | None:
    """What no caller should ever ask: an operation that is not its tool's, a charge of nothing, money the wrong way."""
    if request.tool not in TOOL_NAMES or request.operation != (request.tool if request.tool in OPERATIONS else None):
        return "The request names a tool and another operation."
    if request.quantity < 0:
        return "The request has a negative quantity."
    if request.term < 1:
        return "The request has a term of no period."
    if request.operation in ("charge", "refund") and request.money is None:
        return "The request names no amount."
    if request.operation == "charge" and request.direction != request.payee.direction:
        return "The request names a direction that is not its payee's."
    return None


def _tried(request: Request, policy: Policy, entry: AgentEntry, state: State, now: datetime) -> Iterator[Shadowed]:
    """What the rules that are only tried out would have done."""
    tried = entry.shadow or AgentEntry(id=entry.id)
    findings = list(tried_findings(policy, request, tried, now))
    for limit in applied(policy, entry, request, now, shadow=True):
        _, exceeded = check(limit, state.sums.get(limit.reading), now)
        findings += [exceeded] if exceeded else []
    for found in findings:
        yield Shadowed(found.operator.rule, "deny", violation=found.operator)
    for rule in tried.approvals:
        need = need_of(policy, entry, rule)
        try:
            fires = asks(rule, policy, request, entry, state, now)
        except LookupError:
            failed = finding("EVALUATION_FAILED", rule=need.pointer)
            yield Shadowed(need.pointer, "deny", violation=failed.operator)
            continue
        if fires:
            yield Shadowed(need.pointer, "approve", need=need)


def _notices(entry: AgentEntry, checks: tuple[LimitCheck, ...]) -> Iterator[Notice]:
    """Every part of a limit, of those that people want to hear of, that is reached by this request and was not before.

    In whole numbers: a threshold has at most three decimals.
    """
    for threshold in entry.notify:
        parts = int(threshold * 1000)
        for done in checks:
            used = done.total + done.attempted
            if done.total * 1000 < parts * done.cap <= used * 1000:
                yield Notice(done.pointer, done.subject, done.unit, threshold, used, done.cap, done.window_start)
