"""When people must approve: which rules a payment meets, and what must be read to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from agentpay_policies.allowing import has_payee, payee_is_new
from agentpay_policies.decisions import UNAPPROVED, ApprovalNeed, CounterKey, Reading, Request, State, Sum
from agentpay_policies.limits import BUDGETED, pays, weight
from agentpay_policies.names import DIRECTIONS, Operation
from agentpay_policies.policy import AgentEntry, ApprovalRule, Policy, cap_in


def asking(policy: Policy, request: Request, entry: AgentEntry, state: State, now: datetime) -> Iterator[ApprovalRule]:
    """The rules that want people to approve this and were not answered yet: every condition of a rule holds."""
    for rule in entry.approvals:
        if rule.id not in state.approved_rules and asks(rule, policy, request, entry, state, now):
            yield rule


def asks(rule: ApprovalRule, policy: Policy, request: Request, entry: AgentEntry, state: State, now: datetime) -> bool:
    """Whether every condition of a rule holds.

    Raises:
        LookupError: a sum that the rule needs is missing; nothing is decided without it.
    """
    if not pays(request) or request.money is None:
        return False
    if not _is_of_kind(rule, policy, request):
        return False
    if rule.new_payee and not payee_is_new(request, entry):
        return False
    if rule.duplicate and (state.look_alike is None or request.operation != "charge"):
        return False
    over = cap_in(rule.amount_over, request.money.currency)
    if over is not None and weight(entry, request) <= over.minor:
        return False
    return _splits(rule, entry, request, state.sums, now)


def _is_of_kind(rule: ApprovalRule, policy: Policy, request: Request) -> bool:
    """The conditions that name one thing or a list of things. A refund has no payee, so it is of no category."""
    category = policy.category_of(request.payee) if has_payee(request) else None
    return (
        (not rule.categories or category in rule.categories)
        and (not rule.providers or request.provider in rule.providers)
        and (not rule.directions or request.direction in rule.directions)
        and (not rule.operations or request.operation in rule.operations)
    )


def need_of(policy: Policy, entry: AgentEntry, rule: ApprovalRule) -> ApprovalNeed:
    """What the rule asks for."""
    members = policy.group(rule.approvers).members
    pointer = f"{entry.pointer}.approvals.{rule.id}"
    return ApprovalNeed(rule.id, pointer, rule.approvers, members, rule.quorum, rule.expires)


# ---- against splitting


def _splits(
    rule: ApprovalRule, entry: AgentEntry, request: Request, sums: Mapping[Reading, Sum], now: datetime
) -> bool:
    """Whether this payment and what nobody approved within the window come to more than the rule lets pass."""
    assert request.money is not None
    over = cap_in(rule.unapproved_over, request.money.currency)
    if over is None:
        return True
    found = sums[unapproved_reading(rule, entry, request, now)]
    if found.total < 0:
        raise LookupError("a sum is below nothing")
    return found.total + weight(entry, request) > over.minor


def adds_up(rule: ApprovalRule) -> tuple[Operation, ...]:
    """The operations whose unapproved payments a rule adds up."""
    return rule.operations or BUDGETED


def unapproved_reading(rule: ApprovalRule, entry: AgentEntry, request: Request, now: datetime) -> Reading:
    """The sum of what passed without approval: in every direction and operation that the rule is for, added up."""
    assert request.money is not None and rule.unapproved_window is not None
    keys = (
        CounterKey(f"{entry.subject_of(request.agent)}|{UNAPPROVED}", operation, direction, request.money.currency)
        for operation in adds_up(rule)
        for direction in rule.directions or DIRECTIONS
    )
    return Reading(tuple(sorted(keys)), rule.unapproved_window.start(now))


def unapproved_readings(entry: AgentEntry, request: Request, now: datetime) -> Iterator[Reading]:
    """What must be read for the rules against splitting, those that are only tried out included."""
    if not pays(request) or request.money is None:
        return
    for rule in splitting_rules(entry):
        if cap_in(rule.unapproved_over, request.money.currency) is not None:
            yield unapproved_reading(rule, entry, request, now)


def splitting_rules(entry: AgentEntry) -> Iterator[ApprovalRule]:
    """The rules against splitting, with those that are only tried out."""
    for written in (entry, entry.shadow):
        yield from (rule for rule in written.approvals if rule.unapproved_over) if written else ()


def unapproved_key(entry: AgentEntry, request: Request) -> CounterKey | None:
    """The counter that a payment without approval counts in; None where no rule reads it."""
    if not pays(request) or request.money is None or request.operation is None:
        return None
    for rule in splitting_rules(entry):
        if request.operation in adds_up(rule) and (not rule.directions or request.direction in rule.directions):
            subject = f"{entry.subject_of(request.agent)}|{UNAPPROVED}"
            return CounterKey(subject, request.operation, request.direction, request.money.currency)
    return None
