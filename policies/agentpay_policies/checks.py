"""What a policy must mean, beyond its form: no name without its thing, no currency without its cap, no rule in vain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentpay_policies.cursor import Log, shown
from agentpay_policies.money import Money
from agentpay_policies.names import Direction
from agentpay_policies.policy import AgentEntry, ApprovalRule, Budget, Limit, Policy, cap_in


def check_meaning(policy: Policy, log: Log) -> None:
    """Add to the log whatever contradicts itself, dangles, or leaves money without a cap."""
    budgets = {budget.id: budget for budget in policy.budgets}
    groups = {group.id: len(group.members) for group in policy.approvers}
    for budget in policy.budgets:
        _parent(budget, budgets, log)
    for entry in policy.agents:
        if entry.budget is not None and entry.budget not in budgets:
            log.add_meaning(f"{entry.pointer}.budget", f"there is no budget {shown(entry.budget)}")
        _ids(entry, log)
        _caps(entry, list(_path(entry.budget, budgets)), log)
        _new_payees(entry, log)
        for rule in entry.approvals:
            _rule(entry, rule, groups, log)


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


def _ids(entry: AgentEntry, log: Log) -> None:
    if entry.charge and entry.refund:
        for name in {limit.id for limit in entry.charge.limits} & {limit.id for limit in entry.refund.limits}:
            log.add_meaning(f"{entry.pointer}.refund.limits.{name}", f"two limits have the id {shown(name)}")


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
            if not any(_caps_money(amounts, currency) for amounts in _capping(entry, path, direction)):
                what = f"{currency} may be charged ({direction}) without any cap"
                log.add_meaning(f"{entry.pointer}.charge", f"{what}: write a per_transaction.max or a limit")
    for least in charge.minimum:
        most = cap_in(charge.maximum, least.currency)
        if most is not None and least > most:
            log.add_meaning(f"{entry.pointer}.charge.per_transaction.min", f"{least} is above the max, {most}")


def _caps_money(amounts: tuple[Money, ...], currency: str) -> bool:
    return cap_in(amounts, currency) is not None


def _capping(entry: AgentEntry, path: list[Budget], direction: Direction) -> Iterator[tuple[Money, ...]]:
    """Every list of amounts that holds a charge of this direction down."""
    assert entry.charge is not None
    yield entry.charge.maximum
    for limits in (entry.charge.limits, *(budget.limits for budget in path)):
        yield from (limit.amounts for limit in limits if limit.applies(direction))


def _amount_lists(entry: AgentEntry, path: list[Budget]) -> Iterator[tuple[str, tuple[Money, ...]]]:
    """Every list of amounts, as it is written, that an allowed currency must not be missing from."""
    if entry.charge:
        if entry.charge.maximum:
            yield f"{entry.pointer}.charge.per_transaction.max", entry.charge.maximum
        yield from _amounts_of(f"{entry.pointer}.charge", entry.charge.limits)
    if entry.subscribe and entry.subscribe.max_per_period:
        yield f"{entry.pointer}.subscribe.max_per_period", entry.subscribe.max_per_period
    if entry.refund:
        yield from _amounts_of(f"{entry.pointer}.refund", entry.refund.limits)
    if entry.charge or entry.subscribe:
        for budget in path:
            yield from _amounts_of(f"budgets.{budget.id}", budget.limits)
    for rule in entry.approvals:
        if rule.amount_over:
            yield f"{entry.pointer}.approvals.{rule.id}.when.amount_over", rule.amount_over


def _amounts_of(pointer: str, limits: Iterable[Limit]) -> Iterator[tuple[str, tuple[Money, ...]]]:
    for limit in limits:
        if limit.amounts:
            yield f"{pointer}.limits.{limit.id}", limit.amounts


# ---- approvals


def _new_payees(entry: AgentEntry, log: Log) -> None:
    """A rule with further conditions would let some new payees through unasked, so it is not enough."""
    if entry.new_payees == "approve" and not any(r.new_payee and not r.amount_over for r in entry.approvals):
        message = "new: approve needs an approval rule with `when: {payee: new}` and no other condition"
        log.add_meaning(f"{entry.pointer}.payees.new", message)


def _rule(entry: AgentEntry, rule: ApprovalRule, groups: dict[str, int], log: Log) -> None:
    pointer = f"{entry.pointer}.approvals.{rule.id}"
    members = groups.get(rule.approvers)
    if members is None:
        log.add_meaning(f"{pointer}.approvers", f"there is no group of approvers {shown(rule.approvers)}")
    elif rule.quorum > members > 0:
        message = f"{rule.quorum} must approve, and {shown(rule.approvers)} has {members} members"
        log.add_meaning(f"{pointer}.quorum", message)
    for threshold in rule.amount_over:
        most = _most_in_one_payment(entry, threshold.currency)
        if most is not None and threshold >= most:
            message = f"{threshold} can never be exceeded: the most in one payment is {most}"
            log.add_meaning(f"{pointer}.when.amount_over", message)


def _most_in_one_payment(entry: AgentEntry, currency: str) -> Money | None:
    """The most that one charge, or one period of a plan, may be; None where one of them has no such cap."""
    caps: list[Money] = []
    if entry.charge is not None:
        caps += [cap] if (cap := cap_in(entry.charge.maximum, currency)) else []
        if not caps:
            return None
    if entry.subscribe is not None:
        if (cap := cap_in(entry.subscribe.max_per_period, currency)) is None:
            return None
        caps.append(cap)
    return max(caps) if caps else None
