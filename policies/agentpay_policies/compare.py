"""What a new policy allows that the old one did not, in plain sentences, so that nobody loosens one unawares.

In doubt it is a loosening: a change that is not plainly stricter is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentpay_policies.globs import is_glob, matches, overlap
from agentpay_policies.money import Money, Price
from agentpay_policies.names import OPERATIONS
from agentpay_policies.policy import AgentEntry, ApprovalRule, ApproverGroup, Limit, Policy, cap_in
from agentpay_policies.windows import Window, format_duration


def loosenings(old: Policy | None, new: Policy) -> tuple[str, ...]:
    """One sentence for each thing that `new` allows more than `old`; none where it allows nothing more.

    Compared with no policy at all, everything is more.
    """
    if old is None:
        entries = (f"Agent {entry.id} may use {', '.join(entry.tools) or 'no tool'}." for entry in new.agents)
        return ("There was no policy: whatever this one allows is new.", *entries)
    return tuple(dict.fromkeys(_all(old, new)))


def _all(old: Policy, new: Policy) -> Iterator[str]:
    if new.duplicate_window < old.duplicate_window:
        was, now = format_duration(old.duplicate_window), format_duration(new.duplicate_window)
        yield f"The duplicate window is shorter: {now} instead of {was}."
    yield from _groups(old, new)
    for budget in new.budgets:
        if before := next((known for known in old.budgets if known.id == budget.id), None):
            yield from _limits(f"Budget {budget.id}", before.limits, budget.limits, shared=True)
    for before_entry, entry in _pairs(old, new):
        if before_entry is None:
            yield f"Agent {entry.id} is new: it may use {', '.join(entry.tools) or 'no tool'}."
        else:
            yield from _entry(old, before_entry, new, entry)


def _pairs(old: Policy, new: Policy) -> Iterator[tuple[AgentEntry | None, AgentEntry]]:
    """Each entry with every one that stood for some of its agents before; a pattern that is new also with None."""
    known = {entry.id: entry for entry in old.agents}
    kept = {entry.id for entry in new.agents}
    for entry in new.agents:
        if entry.id in known:
            yield known[entry.id], entry
        else:
            before = old.agent(entry.id) if not is_glob(entry.id) else None
            yield before, entry
    for gone in (entry for entry in old.agents if entry.id not in kept):
        for entry in new.agents:
            if is_glob(entry.id) and overlap(gone.id, entry.id):
                yield gone, entry


def _groups(old: Policy, new: Policy) -> Iterator[str]:
    for group in new.approvers:
        before = next((known for known in old.approvers if known.id == group.id), None)
        if before:
            yield from _members(before, group)


def _members(before: ApproverGroup, group: ApproverGroup) -> Iterator[str]:
    for member in group.members:
        if member not in before.members:
            yield f"{member} may approve in the group {group.id}."


# ---- one entry


def _entry(old: Policy, a: AgentEntry, new: Policy, b: AgentEntry) -> Iterator[str]:
    who = f"Agent {b.id}"
    if a.id != b.id and any(b.has_section(operation) for operation in OPERATIONS):
        yield f"{who} is counted apart from {a.id}, which stood for it before."
    for what, before, after in (
        ("use the tool", a.tools, b.tools),
        ("use the provider", a.providers, b.providers),
        ("use the currency", a.currencies, b.currencies),
        ("pay", map(str, a.payees), map(str, b.payees)),
    ):
        had = set(before)
        yield from (f"{who} may {what} {name}." for name in after if name not in had)
    for pattern in b.customers:
        if not any(matches(known, pattern) for known in a.customers):
            yield f"{who} may act for the customer {pattern}."
    if (a.new_payees, b.new_payees) == ("deny", "approve"):
        yield f"{who} may pay new payees, with approval."
    budgets = {budget.id for budget in new.budgets_of(b)}
    for budget in old.budgets_of(a):
        if budget.id not in budgets:
            yield f"{who} is no longer under the budget {budget.id}."
    yield from _charge(who, a, b)
    yield from _subscribe(who, a, b)
    yield from _record_usage(who, a, b)
    yield from _refund(who, a, b)
    yield from _approvals(who, (old, a), (new, b))


def _charge(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[str]:
    if b.charge is None:
        return
    if a.charge is None:
        yield f"{who} may charge."
        return
    for direction in b.charge.directions:
        if direction not in a.charge.directions:
            yield f"{who} may charge in the direction {direction}."
    yield from _higher(f"{who}: the most in one charge", a.charge.maximum, b.charge.maximum)
    for least in a.charge.minimum:
        after = cap_in(b.charge.minimum, least.currency)
        if after is None or after < least:
            yield f"{who}: the least in one charge is {after or 'gone'} instead of {least}."
    yield from _limits(f"{who}, charge", a.charge.limits, b.charge.limits)


def _subscribe(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[str]:
    if b.subscribe is None:
        return
    if a.subscribe is None:
        yield f"{who} may subscribe customers."
        return
    if "*" not in a.subscribe.plans:
        for plan in b.subscribe.plans:
            if plan not in a.subscribe.plans:
                yield f"{who} may subscribe customers to {'every plan' if plan == '*' else f'the plan {plan}'}."
    yield from _higher(
        f"{who}: the most in one period of a plan", a.subscribe.max_per_period, b.subscribe.max_per_period
    )


def _record_usage(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[str]:
    if b.record_usage is None:
        return
    if a.record_usage is None:
        yield f"{who} may record usage."
        return
    most, after = a.record_usage.max_quantity, b.record_usage.max_quantity
    if most is not None and (after is None or after > most):
        yield f"{who}: the most units recorded at once are {'unlimited' if after is None else after} instead of {most}."
    costs, costs_after = a.record_usage.max_cost, b.record_usage.max_cost
    # Where one currency has a max_cost, those without are denied: naming one more lets it in, taking one out does not.
    named = {price.currency for price in costs_after}
    still = [price for price in costs if price.currency in named or not named]
    yield from _higher(f"{who}: the most cost recorded at once", still, costs_after)
    for price in costs_after if costs else ():
        if price.currency not in {known.currency for known in costs}:
            yield f"{who} may record costs in {price.currency}."


def _refund(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[str]:
    if b.refund is None:
        return
    if a.refund is None:
        yield f"{who} may refund."
        return
    if (a.refund.allow, b.refund.allow) == ("own_charges", "any"):
        yield f"{who} may refund what others charged."
    yield from _limits(f"{who}, refund", a.refund.limits, b.refund.limits)


def _higher(what: str, before: Iterable[Money | Price], after: Iterable[Money | Price]) -> Iterator[str]:
    """Caps that are higher or gone."""
    now = {cap.currency: cap for cap in after}
    for cap in before:
        found = now.get(cap.currency)
        if found is None or found.amount > cap.amount:
            yield f"{what} is {found or 'unlimited'} instead of {cap}."


# ---- limits


def _limits(where: str, before: tuple[Limit, ...], after: tuple[Limit, ...], *, shared: bool = False) -> Iterator[str]:
    for limit in before:
        if any(_covers(limit, candidate, shared=shared) for candidate in after):
            continue
        same = next((candidate for candidate in after if candidate.id == limit.id), None)
        if same is None:
            yield f"{where}: the limit {limit.id} is gone."
        else:
            yield f"{where}: the limit {limit.id} is looser: {_said(same)} instead of {_said(limit)}."


def _covers(limit: Limit, other: Limit, *, shared: bool) -> bool:
    """Whether the other limit is plainly at least as strict."""
    return (
        _per(limit, shared) == _per(other, shared)
        and _adds_up(limit, other)
        and _within(limit.window, other.window)
        and _no_higher(limit, other)
    )


def _per(limit: Limit, shared: bool) -> str | None:
    """What is counted apart; under an agent, `per: agent` is the node itself."""
    return None if limit.per == "agent" and not shared else limit.per


def _adds_up(limit: Limit, other: Limit) -> bool:
    """Whether the other limit counts at least the directions that this one counts for each request of its own."""
    ways, others = set(limit.directions), set(other.directions)
    return ways == others or others == {"collect", "send"} or (not others and len(ways) == 1)


def _within(window: Window, other: Window) -> bool:
    """Whether whatever this window counts is counted by the other too."""
    if other.kind == "lifetime":
        return True
    if window.kind == other.kind == "rolling":
        assert window.length is not None and other.length is not None
        return other.length >= window.length
    if window.kind == other.kind == "calendar" and window.tz == other.tz:
        return window.unit == other.unit or (window.unit, other.unit) in _NESTED
    return False


_NESTED = frozenset({("day", "week"), ("day", "month"), ("day", "year"), ("month", "year")})


def _no_higher(limit: Limit, other: Limit) -> bool:
    if limit.count is not None:
        return other.count is not None and other.count <= limit.count
    return all((cap := cap_in(other.amounts, money.currency)) is not None and cap <= money for money in limit.amounts)


def _said(limit: Limit) -> str:
    cap = str(limit.count) if limit.count is not None else " / ".join(map(str, limit.amounts))
    per = f" per {limit.per}" if limit.per else ""
    ways = f" ({' + '.join(limit.directions)})" if limit.directions else ""
    return f"{cap} in {limit.window}{per}{ways}"


# ---- approvals


def _approvals(who: str, before: tuple[Policy, AgentEntry], after: tuple[Policy, AgentEntry]) -> Iterator[str]:
    rules = {rule.id: rule for rule in after[1].approvals}
    for rule in before[1].approvals:
        where = f"{who}, approval {rule.id}"
        if (now := rules.get(rule.id)) is None:
            yield f"{where}: nobody is asked any more."
            continue
        yield from _rule(where, rule, now)
        people = set(before[0].group(rule.approvers).members)
        for member in after[0].group(now.approvers).members:
            if now.approvers != rule.approvers and member not in people:
                yield f"{where}: {member} may approve."


def _rule(where: str, rule: ApprovalRule, now: ApprovalRule) -> Iterator[str]:
    if now.quorum < rule.quorum:
        yield f"{where}: {now.quorum} must approve instead of {rule.quorum}."
    if now.expires > rule.expires:
        yield f"{where}: an approval is good for {format_duration(now.expires)}, not {format_duration(rule.expires)}."
    if now.new_payee and not rule.new_payee:
        yield f"{where}: people are asked for new payees only."
    for threshold in now.amount_over:
        before = cap_in(rule.amount_over, threshold.currency)
        if before is None or threshold > before:
            yield f"{where}: people are asked above {threshold} instead of {before or 'any amount'}."
