"""What a new policy allows that the old one did not, and the other way round, in plain sentences.

In doubt it is a loosening: a change that is not plainly stricter is reported, so that nobody loosens one unawares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agentpay_policies.compare_clauses import Step, approvals, higher, instead, limits, lower, more
from agentpay_policies.globs import is_glob, matches, overlap
from agentpay_policies.money import Price
from agentpay_policies.names import OPERATIONS
from agentpay_policies.policy import AgentEntry, ApproverGroup, CategoryRule, Policy
from agentpay_policies.schedule import TimeWindow, format_moment
from agentpay_policies.windows import format_duration


@dataclass(frozen=True)
class Change:
    """One difference between two policies. What changes in a way that is neither plainly is a loosening."""

    kind: Literal["loosens", "tightens"]
    sentence: str


def loosenings(old: Policy | None, new: Policy) -> tuple[str, ...]:
    """One sentence for each thing that `new` allows more than `old`; none where it allows nothing more.

    Compared with no policy at all, everything is more.
    """
    if old is None:
        entries = (f"Agent {entry.id} may use {', '.join(entry.tools) or 'no tool'}." for entry in new.agents)
        return ("There was no policy: whatever this one allows is new.", *entries)
    return tuple(dict.fromkeys(step.looser for step in _all(old, new)))


def differences(old: Policy | None, new: Policy) -> tuple[Change, ...]:
    """Everything that `new` allows more than `old`, then everything that it allows less."""
    found = [Change("loosens", said) for said in loosenings(old, new)]
    if old is not None:
        tighter = dict.fromkeys(step.tighter for step in _all(new, old))
        found += [Change("tightens", said) for said in tighter]
    return tuple(found)


def _all(old: Policy, new: Policy) -> Iterator[Step]:
    if new.duplicate_window < old.duplicate_window:
        was, now = format_duration(old.duplicate_window), format_duration(new.duplicate_window)
        yield Step(
            f"The duplicate window is shorter: {now} instead of {was}.",
            f"The duplicate window is longer: {was} instead of {now}.",
        )
    yield from _groups(old, new)
    yield from _sorted_otherwise(old, new)
    for budget in new.budgets:
        if before := next((known for known in old.budgets if known.id == budget.id), None):
            yield from limits(f"Budget {budget.id}", before.limits, budget.limits, shared=True)
    for before_entry, entry in _pairs(old, new):
        if before_entry is None:
            tools = ", ".join(entry.tools) or "no tool"
            yield Step(f"Agent {entry.id} is new: it may use {tools}.", f"Agent {entry.id} has no entry any more.")
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


def _groups(old: Policy, new: Policy) -> Iterator[Step]:
    for group in new.approvers:
        before = next((known for known in old.approvers if known.id == group.id), None)
        if before:
            yield from _members(before, group)


def _members(before: ApproverGroup, group: ApproverGroup) -> Iterator[Step]:
    for member in group.members:
        if member not in before.members:
            yield more(member, f"approve in the group {group.id}")


def _sorted_otherwise(old: Policy, new: Policy) -> Iterator[Step]:
    """A payee of another category meets other rules, which may be looser; only where any rule asks for categories."""
    if not _asks_for_categories(old):
        return
    payees = {payee for policy in (old, new) for category in policy.categories for payee in category.payees}
    for payee in sorted(payees, key=str):
        before, after = old.category_of(payee), new.category_of(payee)
        if before != after:
            yield instead(f"The category of {payee}", before or "none", after or "none")


def _asks_for_categories(policy: Policy) -> bool:
    counted = [limit for entry in policy.agents if entry.charge for limit in entry.charge.limits]
    counted += [limit for budget in policy.budgets for limit in budget.limits]
    rules = [rule for entry in policy.agents for rule in entry.approvals]
    return (
        any(entry.categories for entry in policy.agents)
        or any(rule.categories for rule in rules)
        or any(limit.per == "category" for limit in counted)
    )


# ---- one entry


def _entry(old: Policy, a: AgentEntry, new: Policy, b: AgentEntry) -> Iterator[Step]:
    who = f"Agent {b.id}"
    if a.id != b.id and any(b.has_section(operation) for operation in OPERATIONS):
        said = f"{who} is counted apart from {a.id}, which stood for it before."
        yield Step(said, f"{who} is counted together with what {a.id} stands for.")
    if a.each != b.each:
        yield instead(f"{who}: whether each agent is counted apart", _yes(a.each), _yes(b.each))
    yield from _lists(who, a, b)
    budgets = {budget.id for budget in new.budgets_of(b)}
    for budget in old.budgets_of(a):
        if budget.id not in budgets:
            yield Step(f"{who} is no longer under the budget {budget.id}.", f"{who} is under the budget {budget.id}.")
    yield from _times(who, a, b)
    yield from _categories(who, a.categories, b.categories)
    yield from _told(who, a, b)
    yield from _charge(who, a, b)
    yield from _subscribe(who, a, b)
    yield from _record_usage(who, a, b)
    yield from _refund(who, a, b)
    yield from approvals(who, (old, a), (new, b))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _lists(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[Step]:
    for what, before, after in (
        ("use the tool", a.tools, b.tools),
        ("use the provider", a.providers, b.providers),
        ("use the currency", a.currencies, b.currencies),
        ("pay", map(str, a.payees), map(str, b.payees)),
    ):
        had = set(before)
        yield from (more(who, f"{what} {name}") for name in after if name not in had)
    for pattern in b.customers:
        if not any(matches(known, pattern) for known in a.customers):
            yield more(who, f"act for the customer {pattern}")
    for pattern in a.customers_denied:
        if not any(matches(known, pattern) for known in b.customers_denied):
            yield _undenied(who, f"the customer {pattern}")
    for payee in a.payees_denied:
        if payee not in b.payees_denied:
            yield _undenied(who, f"the payee {payee}")
    if (a.new_payees, b.new_payees) == ("deny", "approve"):
        yield more(who, "pay new payees, with approval")


def _undenied(who: str, what: str) -> Step:
    return Step(f"{who}: {what} is no longer denied.", f"{who}: {what} is denied.")


def _times(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[Step]:
    if a.not_before and (b.not_before is None or b.not_before < a.not_before):
        yield instead(f"{who}: the moment from which it may act", _moment(a.not_before), _moment(b.not_before))
    if a.expires_at and (b.expires_at is None or b.expires_at > a.expires_at):
        yield instead(f"{who}: the moment until which it may act", _moment(a.expires_at), _moment(b.expires_at))
    if a.time_windows and not b.time_windows:
        yield Step(f"{who} may act at any hour.", f"{who} may act within its hours only.")
    for window in b.time_windows if a.time_windows else ():
        if not any(_within_hours(window, known) for known in a.time_windows):
            yield more(who, f"act {window}")


def _moment(moment: datetime | None) -> str:
    return format_moment(moment) if moment else "not set"


def _within_hours(window: TimeWindow, known: TimeWindow) -> bool:
    """Whether the window is plainly a part of the known one; over midnight both must be, or neither."""
    same_kind = (window.begin < window.end) == (known.begin < known.end) and window.tz == known.tz
    return same_kind and set(window.days) <= set(known.days) and known.begin <= window.begin and window.end <= known.end


def _categories(who: str, a: CategoryRule | None, b: CategoryRule | None) -> Iterator[Step]:
    if a is None:
        return
    allow, deny = (b.allow, b.deny) if b else (None, ())
    if a.allow is not None and allow is None:
        yield Step(f"{who} may pay every category.", f"{who} may pay some categories only.")
    for name in allow or ():
        if a.allow is not None and name not in a.allow:
            yield more(who, f"pay the category {name}")
    for name in a.deny:
        if name not in deny:
            yield _undenied(who, f"the category {name}")


def _told(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[Step]:
    """What payees and people read."""
    if b.memo and a.memo != b.memo:
        yield instead(f"{who}: the memo that payees read", a.memo or "none", b.memo)
    for threshold in a.notify:
        if threshold not in b.notify:
            yield Step(f"{who}: nobody is told at {threshold:f}.", f"{who}: people are told at {threshold:f}.")


# ---- the operations

_DUPLICATES = ("deny", "approve", "warn")


def _charge(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[Step]:
    if b.charge is None:
        return
    if a.charge is None:
        yield more(who, "charge")
        return
    for direction in b.charge.directions:
        if direction not in a.charge.directions:
            yield more(who, f"charge in the direction {direction}")
    yield from higher(f"{who}: the most in one charge", a.charge.maximum, b.charge.maximum)
    yield from lower(f"{who}: the least in one charge", a.charge.minimum, b.charge.minimum)
    if _DUPLICATES.index(b.charge.duplicates) > _DUPLICATES.index(a.charge.duplicates):
        yield instead(f"{who}: the answer to a look-alike", a.charge.duplicates, b.charge.duplicates)
    yield from limits(f"{who}, charge", a.charge.limits, b.charge.limits)


def _subscribe(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[Step]:
    before, now = a.subscribe, b.subscribe
    if now is None:
        return
    if before is None:
        yield more(who, "subscribe customers")
        return
    for plan in now.plans if "*" not in before.plans else ():
        if plan not in before.plans:
            yield more(who, f"subscribe customers to {'every plan' if plan == '*' else f'the plan {plan}'}")
    yield from higher(f"{who}: the most in one period of a plan", before.max_per_period, now.max_per_period)
    if before.periods and not (now.periods and set(now.periods) <= set(before.periods)):
        yield instead(f"{who}: how a plan may be billed", _words(before.periods), _words(now.periods))
    if before.max_term and not (now.max_term and now.max_term.fits(before.max_term)):
        yield instead(f"{who}: the longest term", before.max_term, now.max_term or "unlimited")
    if (before.counts, now.counts) == ("committed", "paid"):
        yield instead(f"{who}: what a subscription counts", before.counts, now.counts)


def _words(words: Iterable[str]) -> str:
    return ", ".join(words) or "in any period"


def _record_usage(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[Step]:
    if b.record_usage is None:
        return
    if a.record_usage is None:
        yield more(who, "record usage")
        return
    most, after = a.record_usage.max_quantity, b.record_usage.max_quantity
    if most is not None and (after is None or after > most):
        now = "unlimited" if after is None else str(after)
        what = f"{who}: the most units recorded at once are"
        yield Step(f"{what} {now} instead of {most}.", f"{what} {most} instead of {now}.")
    yield from _costs(who, a.record_usage.max_cost, b.record_usage.max_cost)
    yield from limits(f"{who}, record_usage", a.record_usage.limits, b.record_usage.limits)


def _costs(who: str, costs: tuple[Price, ...], after: tuple[Price, ...]) -> Iterator[Step]:
    # Where one currency has a max_cost, those without are denied: naming one more lets it in, taking one out does not.
    named = {price.currency for price in after}
    still = [price for price in costs if price.currency in named or not named]
    yield from higher(f"{who}: the most cost recorded at once", still, after)
    for price in after if costs else ():
        if price.currency not in {known.currency for known in costs}:
            yield more(who, f"record costs in {price.currency}")


def _refund(who: str, a: AgentEntry, b: AgentEntry) -> Iterator[Step]:
    if b.refund is None:
        return
    if a.refund is None:
        yield more(who, "refund")
        return
    if (a.refund.allow, b.refund.allow) == ("own_charges", "any"):
        yield more(who, "refund what others charged")
    yield from higher(f"{who}: the most in one refund", a.refund.maximum, b.refund.maximum)
    yield from lower(f"{who}: the least in one refund", a.refund.minimum, b.refund.minimum)
    if b.refund.restores_budget and not a.refund.restores_budget:
        what = f"{who}: a refund gives its charge's budget"
        yield Step(f"{what} back.", f"{what} back no longer.")
    yield from limits(f"{who}, refund", a.refund.limits, b.refund.limits)
