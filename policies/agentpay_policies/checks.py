"""What a policy must mean, beyond its form: no name without its thing, no currency without its cap, no rule in vain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from agentpay_policies.cursor import Log, shown
from agentpay_policies.money import Money, nanos_per_minor
from agentpay_policies.names import Direction, Operation
from agentpay_policies.payees import Payee
from agentpay_policies.policy import (
    AgentEntry,
    ApprovalRule,
    Budget,
    ChargeSection,
    Limit,
    Policy,
    RefundSection,
    cap_in,
)

MOST_USAGE_NANOS: Final = 10**18
"""The highest cap on recorded cost, in 10⁻⁹: sums of it stay within a BIGINT."""


def check_meaning(policy: Policy, log: Log) -> None:
    """Add to the log whatever contradicts itself, dangles, or leaves money without a cap."""
    budgets = {budget.id: budget for budget in policy.budgets}
    groups = {group.id: len(group.members) for group in policy.approvers}
    _categories(policy, log)
    for budget in policy.budgets:
        _parent(budget, budgets, log)
        _usage_limits(f"budgets.{budget.id}", (*budget.limits, *budget.shadow), None, log)
    for entry in policy.agents:
        if entry.budget is not None and entry.budget not in budgets:
            log.add_meaning(f"{entry.pointer}.budget", f"there is no budget {shown(entry.budget)}")
        path = list(_path(entry.budget, budgets))
        _ids(entry, log)
        _caps(entry, path, log)
        _bounds(entry, log)
        _asked(entry, log)
        for rule in _rules(entry):
            _rule(entry, rule, groups, path, log)


def _rules(entry: AgentEntry) -> Iterator[ApprovalRule]:
    """The approval rules, with those that are only tried out."""
    yield from entry.approvals
    yield from entry.shadow.approvals if entry.shadow else ()


def _path(name: str | None, budgets: dict[str, Budget]) -> Iterator[Budget]:
    """The budgets from one upwards; it ends where the tree is broken or comes round again."""
    seen: set[str] = set()
    while name is not None and name in budgets and name not in seen:
        seen.add(name)
        yield budgets[name]
        name = budgets[name].parent


def _parent(budget: Budget, budgets: dict[str, Budget], log: Log) -> None:
    pointer = f"budgets.{budget.id}.parent"
    if budget.parent is None:
        return
    if budget.parent not in budgets:
        log.add_meaning(pointer, f"there is no budget {shown(budget.parent)}")
    elif any(above.parent == budget.id for above in _path(budget.id, budgets)):
        log.add_meaning(pointer, "the budgets go round in a circle")


# ---- categories


def _categories(policy: Policy, log: Log) -> None:
    """Each payee is of one category, and each category that is named is there."""
    found: dict[Payee, str] = {}
    for category in policy.categories:
        for payee in category.payees:
            if (other := found.setdefault(payee, category.id)) != category.id:
                log.add_meaning(f"categories.{category.id}", f"{payee} is of the category {shown(other)} already")
    known = {category.id for category in policy.categories}
    for entry in policy.agents:
        for pointer, name in _category_names(entry):
            if name not in known:
                log.add_meaning(pointer, f"there is no category {shown(name)}")


def _category_names(entry: AgentEntry) -> Iterator[tuple[str, str]]:
    for written in (entry, entry.shadow):
        rule = written.categories if written else None
        for name in (*((rule.allow or ()) if rule else ()), *(rule.deny if rule else ())):
            yield f"{entry.pointer}.categories", name
    for asking in _rules(entry):
        for name in asking.categories:
            yield f"{entry.pointer}.approvals.{asking.id}.when.category", name


# ---- limits


def _sections(entry: AgentEntry) -> Iterator[tuple[Operation, tuple[Limit, ...]]]:
    """The limits of each section, with those that are only tried out."""
    operations: tuple[Operation, ...] = ("charge", "record_usage", "refund")
    for operation in operations:
        parts = [getattr(written, operation) for written in (entry, entry.shadow) if written]
        yield operation, tuple(limit for part in parts if part for limit in part.limits)


def _ids(entry: AgentEntry, log: Log) -> None:
    seen: set[str] = set()
    for operation, limits in _sections(entry):
        pointer = f"{entry.pointer}.{operation}"
        for name in sorted(seen & {limit.id for limit in limits}):
            log.add_meaning(f"{pointer}.limits.{name}", f"two limits have the id {shown(name)}")
        seen |= {limit.id for limit in limits}
        _usage_limits(pointer, limits, operation, log)


def _usage_limits(pointer: str, limits: Iterable[Limit], own: Operation | None, log: Log) -> None:
    """What is recorded has a customer and nothing else, and its cost is summed in 10⁻⁹."""
    for limit in limits:
        operations = limit.operations or ((own,) if own else ())
        if "record_usage" not in operations:
            continue
        at = f"{pointer}.limits.{limit.id}"
        if limit.per in ("payee", "provider", "category") or limit.directions:
            what = f"per: {limit.per}" if limit.per else "directions"
            log.add_meaning(at, f"{what} says nothing of record_usage: it has a customer and no payment")
        for cap in limit.amounts:
            if cap.minor * nanos_per_minor(cap.currency) > MOST_USAGE_NANOS:
                log.add_meaning(at, f"{cap} is more than can be summed of recorded cost")


# ---- caps


def _caps(entry: AgentEntry, path: list[Budget], log: Log) -> None:
    """Each list of amounts names every allowed currency, and each that may be charged has a cap somewhere."""
    for pointer, amounts in _amount_lists(entry, path):
        missing = [currency for currency in entry.currencies if cap_in(amounts, currency) is None]
        for currency in missing:
            log.add_meaning(pointer, f"{currency} is allowed for {entry.pointer} and has no amount here")
    charge = entry.charge
    if charge is None:
        return
    for currency in entry.currencies:
        for direction in charge.directions:
            if _most_in_one_charge(entry, path, direction, currency) is None:
                what = f"{currency} may be charged ({direction}) without any cap"
                log.add_meaning(f"{entry.pointer}.charge", f"{what}: write a per_transaction.max or a limit")


def _bounds(entry: AgentEntry, log: Log) -> None:
    """No least above its most."""
    for operation, section in _bounded(entry):
        for least in section.minimum:
            most = cap_in(section.maximum, least.currency)
            if most is not None and least > most:
                pointer = f"{entry.pointer}.{operation}.per_transaction.min"
                log.add_meaning(pointer, f"{least} is above the max, {most}")


def _bounded(entry: AgentEntry) -> Iterator[tuple[Operation, ChargeSection | RefundSection]]:
    """The sections that bound one payment, with those that are only tried out."""
    for written in (entry, entry.shadow):
        if written and written.charge:
            yield "charge", written.charge
        if written and written.refund:
            yield "refund", written.refund


def _amount_lists(entry: AgentEntry, path: list[Budget]) -> Iterator[tuple[str, tuple[Money, ...]]]:
    """Every list of amounts, as it is written, that an allowed currency must not be missing from."""
    for bounded, section in _bounded(entry):
        if section.maximum:
            yield f"{entry.pointer}.{bounded}.per_transaction.max", section.maximum
    if entry.subscribe and entry.subscribe.max_per_period:
        yield f"{entry.pointer}.subscribe.max_per_period", entry.subscribe.max_per_period
    for operation, limits in _sections(entry):
        yield from _amounts_of(f"{entry.pointer}.{operation}", limits)
    if entry.charge or entry.subscribe:
        for budget in path:
            yield from _amounts_of(f"budgets.{budget.id}", (*budget.limits, *budget.shadow))
    for rule in _rules(entry):
        pointer = f"{entry.pointer}.approvals.{rule.id}.when"
        if rule.amount_over:
            yield f"{pointer}.amount_over", rule.amount_over
        if rule.unapproved_over:
            yield f"{pointer}.unapproved_total_over", rule.unapproved_over


def _amounts_of(pointer: str, limits: Iterable[Limit]) -> Iterator[tuple[str, tuple[Money, ...]]]:
    for limit in limits:
        if limit.amounts:
            yield f"{pointer}.limits.{limit.id}", limit.amounts


def _most_in_one_charge(entry: AgentEntry, path: list[Budget], direction: Direction, currency: str) -> Money | None:
    """The most that one charge of this direction may be, by whatever caps it; None: nothing does."""
    assert entry.charge is not None
    return _least_of([entry.charge.maximum, *_limiting(path, "charge", direction, entry.charge.limits)], currency)


def _limiting(
    path: list[Budget], operation: Operation, direction: Direction, own: tuple[Limit, ...] = ()
) -> Iterator[tuple[Money, ...]]:
    """The amounts of every limit that an operation of this direction meets."""
    for limits in (own, *(budget.limits for budget in path)):
        for limit in limits:
            if limit.applies(direction) and (not limit.operations or operation in limit.operations):
                yield limit.amounts


# ---- approvals


def _asked(entry: AgentEntry, log: Log) -> None:
    """A rule with further conditions would let some through unasked, so it is not enough."""
    if entry.new_payees == "approve" and not any(rule.conditions == {"payee"} for rule in entry.approvals):
        message = "new: approve needs an approval rule with `when: {payee: new}` and no other condition"
        log.add_meaning(f"{entry.pointer}.payees.new", message)
    if not entry.charge or entry.charge.duplicates != "approve":
        return
    if not any(rule.conditions == {"duplicate"} for rule in entry.approvals):
        message = (
            "duplicates: approve needs an approval rule with `when: {duplicate: suspected}` and no other condition"
        )
        log.add_meaning(f"{entry.pointer}.charge.duplicates", message)


def _rule(entry: AgentEntry, rule: ApprovalRule, groups: dict[str, int], path: list[Budget], log: Log) -> None:
    pointer = f"{entry.pointer}.approvals.{rule.id}"
    members = groups.get(rule.approvers)
    if members is None:
        log.add_meaning(f"{pointer}.approvers", f"there is no group of approvers {shown(rule.approvers)}")
    elif rule.quorum > members > 0:
        message = f"{rule.quorum} must approve, and {shown(rule.approvers)} has {members} members"
        log.add_meaning(f"{pointer}.quorum", message)
    for threshold in rule.amount_over:
        most = _most_in_one_payment(entry, rule, path, threshold.currency)
        if most is not None and threshold >= most:
            message = f"{threshold} can never be exceeded: the most in one payment is {most}"
            log.add_meaning(f"{pointer}.when.amount_over", message)


def _most_in_one_payment(entry: AgentEntry, rule: ApprovalRule, path: list[Budget], currency: str) -> Money | None:
    """The most that a payment which the rule looks at may be; None where something of it has no cap.

    A refund is of a charge, so it says something of its own only where the rule is for refunds alone.
    """
    caps: list[Money | None] = []
    asked = set(rule.operations or ("charge", "subscribe", "refund"))
    if entry.charge and "charge" in asked:
        ways = [way for way in entry.charge.directions if not rule.directions or way in rule.directions]
        caps += [_most_in_one_charge(entry, path, way, currency) for way in ways]
    if entry.subscribe and "subscribe" in asked and rule.directions != ("send",):
        caps.append(_most_in_one_subscription(entry, path, currency))
    if entry.refund and asked == {"refund"}:
        caps.append(_least_of([entry.refund.maximum, *(limit.amounts for limit in entry.refund.limits)], currency))
    known = [cap for cap in caps if cap is not None]
    return max(known) if known and len(known) == len(caps) else None


def _most_in_one_subscription(entry: AgentEntry, path: list[Budget], currency: str) -> Money | None:
    """What a plan may commit to: the price of a period caps that only where nothing counts further ones."""
    assert entry.subscribe is not None
    own = [entry.subscribe.max_per_period] if entry.subscribe.counts == "paid" else []
    return _least_of([*own, *_limiting(path, "subscribe", "collect")], currency)


def _least_of(lists: Iterable[tuple[Money, ...]], currency: str) -> Money | None:
    found = [cap for amounts in lists if (cap := cap_in(amounts, currency)) is not None]
    return min(found) if found else None
