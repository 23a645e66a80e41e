"""A policy written out as the plainest file that means the same: what is hashed and stored.

What a field adds later stays out of it while the field is not used, so that a policy keeps its hash when the language
grows.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentpay_policies.money import Money, Price
from agentpay_policies.policy import AgentEntry, ApprovalRule, ChargeSection, Limit, Policy, SubscribeSection
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
        budgets={budget.id: _written(parent=budget.parent, limits=_limits(budget.limits)) for budget in policy.budgets},
        agents={entry.id: _entry(entry) for entry in policy.agents},
        approvers={group.id: {"members": list(group.members)} for group in policy.approvers},
    )


def _written(**fields: object) -> Plain:
    """Only what is there. An empty section stays: it allows what no section would not."""
    return {name: value for name, value in fields.items() if value is not None and value != []}


def _allow(values: Iterable[str]) -> Plain | None:
    names = list(values)
    return {"allow": names} if names else None


def _entry(entry: AgentEntry) -> Plain:
    payees = _written(allow=[payee.canonical for payee in entry.payees], new=_unless("deny", entry.new_payees))
    usage, refund = entry.record_usage, entry.refund
    return _written(
        budget=entry.budget,
        tools=list(entry.tools),
        providers=_allow(entry.providers),
        currencies=_allow(entry.currencies),
        customers=_allow(entry.customers),
        payees=payees or None,
        charge=_charge(entry.charge) if entry.charge else None,
        subscribe=_subscribe(entry.subscribe) if entry.subscribe else None,
        record_usage=usage and _written(max_quantity=usage.max_quantity, max_cost=_amounts(usage.max_cost)),
        refund=refund and _written(allow=refund.allow, limits=_limits(refund.limits)),
        approvals=[_rule(rule) for rule in entry.approvals],
    )


def _unless(default: str, value: str) -> str | None:
    return None if value == default else value


def _charge(section: ChargeSection) -> Plain:
    each = _written(min=_amounts(section.minimum), max=_amounts(section.maximum))
    return _written(directions=list(section.directions), per_transaction=each or None, limits=_limits(section.limits))


def _subscribe(section: SubscribeSection) -> Plain:
    return {"plans": list(section.plans), **_written(max_per_period=_amounts(section.max_per_period))}


def _limits(limits: tuple[Limit, ...]) -> list[Plain]:
    return [
        _written(
            id=limit.id,
            amount=_amounts(limit.amounts),
            count=limit.count,
            window=_window(limit.window),
            per=limit.per,
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
    when = _written(amount_over=_amounts(rule.amount_over), payee="new" if rule.new_payee else None)
    return {
        "id": rule.id,
        "when": when,
        "approvers": rule.approvers,
        "quorum": rule.quorum,
        "expires": format_duration(rule.expires),
    }


def _amounts(amounts: Iterable[Money | Price]) -> list[str]:
    return [str(amount) for amount in amounts]
