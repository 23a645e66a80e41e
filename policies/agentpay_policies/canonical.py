"""A policy written out as the plainest file that means the same: what is hashed and stored.

What a field adds later stays out of it while the field is not used, so that a policy keeps its hash when the language
grows.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentpay_policies.memo import MemoRule
from agentpay_policies.money import Money, Price
from agentpay_policies.policy import (
    AgentEntry,
    ApprovalRule,
    Budget,
    CategoryRule,
    ChargeSection,
    Limit,
    Policy,
    RecordUsageSection,
    RefundSection,
    SubscribeSection,
)
from agentpay_policies.schedule import TimeWindow, format_clock, format_moment
from agentpay_policies.windows import Window, format_duration

Plain = dict[str, object]


def mapping_of(policy: Policy) -> Plain:
    """The policy as the mapping that the loader takes, with lists, zones and defaults resolved."""
    return _written(
        version=policy.version,
        id=policy.id,
        defaults={
            "decision": "deny",
            "timezone": policy.timezone,
            "duplicate_window": format_duration(policy.duplicate_window),
        },
        categories={kind.id: [payee.canonical for payee in kind.payees] for kind in policy.categories} or None,
        budgets={budget.id: _budget(budget) for budget in policy.budgets},
        agents={entry.id: _entry(entry) for entry in policy.agents},
        approvers={group.id: {"members": list(group.members)} for group in policy.approvers},
    )


def _written(**fields: object) -> Plain:
    """Only what is there. An empty section stays: it allows what no section would not."""
    return {name: value for name, value in fields.items() if value is not None and value != []}


def _unless(default: object, value: object) -> object:
    return None if value == default else value


def _tried(clauses: Iterable[Plain]) -> list[Plain]:
    """The same clauses, marked as only tried out."""
    return [clause | {"shadow": True} for clause in clauses]


def _budget(budget: Budget) -> Plain:
    return _written(parent=budget.parent, limits=_limits(budget.limits) + _tried(_limits(budget.shadow)))


def _entry(entry: AgentEntry) -> Plain:
    tried = entry.shadow or AgentEntry(id=entry.id)
    windows = [_time_window(window) for window in entry.time_windows]
    return _written(
        each=_unless(False, entry.each),
        budget=entry.budget,
        not_before=format_moment(entry.not_before) if entry.not_before else None,
        expires_at=format_moment(entry.expires_at) if entry.expires_at else None,
        time_windows=windows + _tried(_time_window(window) for window in tried.time_windows),
        **_to_whom(entry, tried),
        memo=_memo(entry.memo) if entry.memo else None,
        notify=[f"{threshold:f}" for threshold in entry.notify],
        charge=_charge(entry.charge, tried.charge) if entry.charge else None,
        subscribe=_subscribe(entry.subscribe) if entry.subscribe else None,
        record_usage=_record_usage(entry.record_usage, tried.record_usage) if entry.record_usage else None,
        refund=_refund(entry.refund, tried.refund) if entry.refund else None,
        approvals=[_rule(rule) for rule in entry.approvals] + _tried(_rule(rule) for rule in tried.approvals),
    )


def _to_whom(entry: AgentEntry, tried: AgentEntry) -> Plain:
    payees = _written(
        allow=[payee.canonical for payee in entry.payees],
        deny=[payee.canonical for payee in entry.payees_denied],
        new=_unless("deny", entry.new_payees),
    )
    customers = {"allow": list(entry.customers), **_written(deny=list(entry.customers_denied))}
    categories = _categories(entry.categories) if entry.categories else None
    if tried.categories is not None:
        categories = _categories(tried.categories) | {"shadow": True}
    return {
        "tools": list(entry.tools),
        "providers": _allow(entry.providers),
        "currencies": _allow(entry.currencies),
        "customers": customers if entry.customers or entry.customers_denied else None,
        "payees": payees or None,
        "categories": categories,
    }


def _allow(values: Iterable[str]) -> Plain | None:
    names = list(values)
    return {"allow": names} if names else None


def _categories(rule: CategoryRule) -> Plain:
    allow: Plain = {} if rule.allow is None else {"allow": list(rule.allow)}
    return allow | {"deny": list(rule.deny)} if rule.deny or not allow else allow


def _time_window(window: TimeWindow) -> Plain:
    return {
        "days": list(window.days),
        "from": format_clock(window.begin),
        "to": format_clock(window.end),
        "tz": window.tz,
    }


def _memo(rule: MemoRule) -> Plain:
    return {"template": rule.template} if rule.template is not None else {"free": {"max_chars": rule.max_chars}}


# ---- the operations

Bounded = ChargeSection | RefundSection


def _each(section: Bounded, tried: Bounded | None) -> Plain | None:
    bounds = _written(min=_amounts(section.minimum), max=_amounts(section.maximum))
    shadow = _written(min=_amounts(tried.minimum), max=_amounts(tried.maximum)) if tried else {}
    return shadow | {"shadow": True} if shadow else bounds or None


def _charge(section: ChargeSection, tried: ChargeSection | None) -> Plain:
    return _written(
        directions=list(section.directions),
        per_transaction=_each(section, tried),
        limits=_both(section.limits, tried),
        duplicates=_unless("deny", section.duplicates),
    )


def _subscribe(section: SubscribeSection) -> Plain:
    return {
        "plans": list(section.plans),
        **_written(
            max_per_period=_amounts(section.max_per_period),
            periods=list(section.periods),
            max_term=str(section.max_term) if section.max_term else None,
            count=_unless("committed", section.counts),
        ),
    }


def _record_usage(section: RecordUsageSection, tried: RecordUsageSection | None) -> Plain:
    return _written(
        max_quantity=section.max_quantity,
        max_cost=_amounts(section.max_cost),
        limits=_both(section.limits, tried),
    )


def _refund(section: RefundSection, tried: RefundSection | None) -> Plain:
    return _written(
        allow=section.allow,
        per_transaction=_each(section, tried),
        limits=_both(section.limits, tried),
        restores_budget=_unless(False, section.restores_budget),
    )


# ---- limits and rules


def _both(limits: tuple[Limit, ...], tried: Bounded | RecordUsageSection | None) -> list[Plain]:
    return _limits(limits) + _tried(_limits(tried.limits if tried else ()))


def _limits(limits: tuple[Limit, ...]) -> list[Plain]:
    return [
        _written(
            id=limit.id,
            amount=_amounts(limit.amounts),
            count=limit.count,
            window=_window(limit.window),
            per=limit.per,
            of=list(limit.operations),
            directions=list(limit.directions),
        )
        for limit in limits
    ]


def _window(window: Window) -> object:
    if window.kind == "rolling":
        assert window.length is not None
        return {"rolling": format_duration(window.length)}
    return {"calendar": window.unit, "tz": window.tz} if window.kind == "calendar" else "lifetime"


def _rule(rule: ApprovalRule) -> Plain:
    when = _written(
        amount_over=_amounts(rule.amount_over),
        unapproved_total_over=_amounts(rule.unapproved_over),
        window=_window(rule.unapproved_window) if rule.unapproved_window else None,
        payee="new" if rule.new_payee else None,
        duplicate="suspected" if rule.duplicate else None,
        category=list(rule.categories),
        provider=list(rule.providers),
        direction=list(rule.directions),
        operation=list(rule.operations),
    )
    return {
        "id": rule.id,
        "when": when,
        "approvers": rule.approvers,
        "quorum": rule.quorum,
        "expires": format_duration(rule.expires),
    }


def _amounts(amounts: Iterable[Money | Price]) -> list[str]:
    return [str(amount) for amount in amounts]
