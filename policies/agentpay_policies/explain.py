"""A policy in plain sentences: what an agent may do, how much, when people are asked. For people, never for agents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from agentpay_policies.money import Money
from agentpay_policies.names import OPERATIONS, Operation
from agentpay_policies.policy import EVERY_PLAN, AgentEntry, ApprovalRule, ChargeSection, Limit, Policy, RefundSection
from agentpay_policies.schedule import WEEKDAYS, TimeWindow, format_clock, format_moment
from agentpay_policies.windows import Window, format_duration

_VERBS: dict[Operation, str] = {
    "charge": "charges",
    "subscribe": "subscriptions",
    "record_usage": "recorded usage",
    "refund": "refunds",
}
_DAYS = {"mon": "Mondays", "tue": "Tuesdays", "wed": "Wednesdays", "thu": "Thursdays", "fri": "Fridays",
         "sat": "Saturdays", "sun": "Sundays"}  # fmt: skip


def explain(policy: Policy, agent: str) -> tuple[str, ...]:
    """The rules for one agent, a sentence each, in the order in which they are asked."""
    entry = policy.agent(agent)
    if entry is None:
        return (f"The policy {policy.id} has no entry for {agent}: everything is denied.",)
    return tuple(_entry(policy, entry, agent))


def _entry(policy: Policy, entry: AgentEntry, agent: str) -> Iterator[str]:
    yield from _who(entry, agent)
    yield from _when(entry)
    yield from _to_whom(policy, entry)
    for operation in OPERATIONS:
        if operation in entry.tools and entry.has_section(operation):
            yield from _SECTIONS[operation](entry)
        elif operation in entry.tools:
            yield f"It is offered {operation}, and every {operation} is denied: there is no section for it."
    for budget in policy.budgets_of(entry):
        for limit in budget.limits:
            yield f"With the others of the budget {budget.id}: {limit_said(limit)}."
    for rule in entry.approvals:
        yield rule_said(policy, rule)
    if not entry.approvals:
        yield "Nobody is asked: what is allowed happens at once."
    yield from _also(policy, entry)


def _who(entry: AgentEntry, agent: str) -> Iterator[str]:
    if entry.id != agent:
        apart = "each agent you enrolled under it has limits of its own" if entry.each else "all of them count as one"
        yield f"{agent} falls under the pattern {entry.id}; {apart}."
    if not entry.tools:
        yield f"{agent} may use no tool but those for reading its own payments, approvals and budget."
    else:
        yield f"{agent} may use: {', '.join(entry.tools)}."


def _when(entry: AgentEntry) -> Iterator[str]:
    if entry.not_before:
        yield f"It may do nothing before {format_moment(entry.not_before)}."
    if entry.expires_at:
        yield f"It may do nothing from {format_moment(entry.expires_at)} on."
    if entry.time_windows:
        yield f"It may change something only {'; or '.join(map(hours_said, entry.time_windows))}."


def hours_said(window: TimeWindow) -> str:
    """Hours of the week in words: `on Mondays and Fridays from 08:30 to 17:00 (Europe/Berlin)`."""
    days = "every day" if window.days == WEEKDAYS else f"on {_and(_DAYS[day] for day in window.days)}"
    night = " the next morning" if window.end <= window.begin else ""
    return f"{days} from {format_clock(window.begin)} to {format_clock(window.end)}{night} ({window.tz})"


def _to_whom(policy: Policy, entry: AgentEntry) -> Iterator[str]:
    yield f"Providers: {_or_none(entry.providers)}. Currencies: {_or_none(entry.currencies)}."
    customers = "every customer" if "*" in entry.customers else _or_none(entry.customers)
    but = f", but never {_and(entry.customers_denied)}" if entry.customers_denied else ""
    yield f"It acts for: {customers}{but}."
    payees = _or_none(_payee(payee.canonical) for payee in entry.payees)
    others = "for any other, people are asked" if entry.new_payees == "approve" else "every other is denied"
    never = f"; never {_and(payee.canonical for payee in entry.payees_denied)}" if entry.payees_denied else ""
    yield f"It may pay: {payees}; {others}{never}."
    yield from _categories(policy, entry)


def _categories(policy: Policy, entry: AgentEntry) -> Iterator[str]:
    rule = entry.categories
    if rule is None:
        return
    sizes = {category.id: len(category.payees) for category in policy.categories}
    if rule.allow is not None:
        known = _or_none(f"{name} ({sizes[name]} payees)" for name in rule.allow)
        yield f"Of these only such categories: {known}; a payee without a category is denied."
    if rule.deny:
        yield f"Never payees of the categories: {_and(rule.deny)}."


def _payee(canonical: str) -> str:
    return "your own account (self)" if canonical == "self" else canonical


# ---- the operations


def _charge(entry: AgentEntry) -> Iterator[str]:
    section = entry.charge
    assert section is not None
    ways = {"collect": "customers pay you", "send": "your wallet pays"}
    yield f"Charges: {' and '.join(ways[way] for way in section.directions)}{_bounds(section)}."
    for limit in section.limits:
        yield f"Charges: {limit_said(limit)}."
    if section.duplicates != "deny":
        what = "is noted and let through" if section.duplicates == "warn" else "waits for people"
        yield f"A charge that looks like an earlier one {what}."


def _subscribe(entry: AgentEntry) -> Iterator[str]:
    section = entry.subscribe
    assert section is not None
    plans = "every plan" if section.plans == (EVERY_PLAN,) else f"the plans {_or_none(section.plans)}"
    most = f", up to {_amounts(section.max_per_period)} for one period" if section.max_per_period else ""
    periods = f", billed {' or '.join(section.periods)}" if section.periods else ""
    term = f", for no longer than {section.max_term}" if section.max_term else ""
    yield f"Subscriptions: {plans}{most}{periods}{term}."
    if section.counts == "paid":
        yield "Of a subscription only the period that is paid first counts in limits."


def _record_usage(entry: AgentEntry) -> Iterator[str]:
    section = entry.record_usage
    assert section is not None
    quantity = f"up to {section.max_quantity} units" if section.max_quantity is not None else "any number of units"
    cost = f" and {' or '.join(map(str, section.max_cost))} of cost" if section.max_cost else ""
    yield f"Usage: {quantity}{cost} at once."
    for limit in section.limits:
        yield f"Usage: {limit_said(limit)}."


def _refund(entry: AgentEntry) -> Iterator[str]:
    section = entry.refund
    assert section is not None
    whose = "any payment" if section.allow == "any" else "only what it charged itself"
    back = "; a refund gives back what its charge used of the limits" if section.restores_budget else ""
    yield f"Refunds: {whose}{_bounds(section)}{back}."
    for limit in section.limits:
        yield f"Refunds: {limit_said(limit)}."


_SECTIONS = {"charge": _charge, "subscribe": _subscribe, "record_usage": _record_usage, "refund": _refund}


def _bounds(section: ChargeSection | RefundSection) -> str:
    least = f"at least {_amounts(section.minimum)}" if section.minimum else ""
    most = f"at most {_amounts(section.maximum)}" if section.maximum else ""
    said = " and ".join(part for part in (least, most) if part)
    return f"; each {said}" if said else ""


# ---- limits and rules


def limit_said(limit: Limit) -> str:
    """A limit in words: `at most 150.00 USD within any 1d, for each customer (day-cap)`."""
    cap = _amounts(limit.amounts) if limit.count is None else f"{limit.count} operations"
    per = f", for each {limit.per} apart" if limit.per and limit.per != "agent" else ""
    of = f", {_and(_VERBS[operation] for operation in limit.operations)} together" if limit.operations else ""
    both = limit.directions == ("collect", "send")
    ways = ", collecting and sending together" if both else f", {limit.directions[0]} only" if limit.directions else ""
    return f"at most {cap} {window_said(limit.window)}{of}{ways}{per} ({limit.id})"


def window_said(window: Window) -> str:
    """A window in words: `within any 1d`, `in each calendar month (UTC)`, `ever`."""
    if window.kind == "rolling":
        assert window.length is not None
        return f"within any {format_duration(window.length)}"
    return f"in each calendar {window.unit} ({window.tz})" if window.kind == "calendar" else "ever"


def rule_said(policy: Policy, rule: ApprovalRule) -> str:
    """An approval rule in words."""
    members = policy.group(rule.approvers).members
    people = f"{rule.quorum} of {_and(members)}" if len(members) > 1 or rule.quorum > 1 else members[0]
    when = " and ".join(_conditions(rule))
    return f"{people} must approve within {format_duration(rule.expires)} when {when} ({rule.id})."


def _conditions(rule: ApprovalRule) -> Iterator[str]:
    if rule.operations:
        yield f"it is one of {_and(_VERBS[operation] for operation in rule.operations)}"
    if rule.amount_over:
        yield f"it is more than {_amounts(rule.amount_over)}"
    if rule.unapproved_over and rule.unapproved_window:
        window = window_said(rule.unapproved_window)
        yield f"with what nobody approved {window} it comes to more than {_amounts(rule.unapproved_over)}"
    if rule.new_payee:
        yield "the payee is new"
    if rule.duplicate:
        yield "it looks like an earlier charge"
    if rule.categories:
        yield f"the payee is of the category {' or '.join(rule.categories)}"
    if rule.providers:
        yield f"it goes through {' or '.join(rule.providers)}"
    if rule.directions:
        yield f"it goes in the direction {' or '.join(rule.directions)}"


def _also(policy: Policy, entry: AgentEntry) -> Iterator[str]:
    if entry.memo and entry.memo.template is not None:
        yield f'The payee reads your text: "{entry.memo.template}".'
    elif entry.memo:
        yield f"The payee reads what the agent wrote, up to {entry.memo.max_chars} characters."
    if entry.notify:
        yield f"People are told when {' or '.join(map(_percent, entry.notify))} of a limit is used."
    if policy.duplicate_window and (not entry.charge or entry.charge.duplicates == "deny"):
        again = format_duration(policy.duplicate_window)
        yield f"A charge that looks like one of the last {again} is stopped, unless it is named as another one."
    if entry.shadow or any(budget.shadow for budget in policy.budgets_of(entry)):
        yield "Some rules are only tried out: they are logged and decide nothing."


def _percent(part: Decimal) -> str:
    return f"{(part * 100).normalize():f} %"


def _amounts(amounts: Iterable[Money]) -> str:
    return " or ".join(map(str, amounts))


def _and(words: Iterable[str]) -> str:
    *most, last = list(words)
    return f"{', '.join(most)} and {last}" if most else last


def _or_none(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
