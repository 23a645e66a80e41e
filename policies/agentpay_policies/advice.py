"""What is allowed in a policy and yet hardly meant: a rule that nothing reaches, an entry that allows nothing."""

from __future__ import annotations

from collections.abc import Iterator

from agentpay_policies.globs import matches
from agentpay_policies.names import OPERATIONS
from agentpay_policies.policy import AgentEntry, ApprovalRule, Limit, Policy


def warnings_of(policy: Policy) -> tuple[str, ...]:
    """One sentence for each."""
    return (*(said for entry in policy.agents for said in _entry(entry)), *_budgets(policy))


def _entry(entry: AgentEntry) -> Iterator[str]:
    yield from _tools(entry)
    yield from _nothing(entry)
    yield from _taken_away(entry)
    for rule in entry.approvals:
        for why in _never(entry, rule):
            yield f"{entry.pointer}.approvals.{rule.id}: this rule is never reached: {why}."
    if entry.charge:
        for limit in entry.charge.limits:
            if not _limits_something(limit, entry):
                yield f"{entry.pointer}.charge.limits.{limit.id}: this limit is never reached: nothing goes that way."


def _tools(entry: AgentEntry) -> Iterator[str]:
    for operation in OPERATIONS:
        if operation in entry.tools and not entry.has_section(operation):
            yield f"{entry.pointer}: the tool {operation} is listed and has no section: each call is denied."
        if operation not in entry.tools and entry.has_section(operation):
            yield f"{entry.pointer}: {operation} has a section and is not among the tools: each call is denied."


def _nothing(entry: AgentEntry) -> Iterator[str]:
    """Lists without which everything is denied, or without which nothing is held down."""
    listed = [operation for operation in OPERATIONS if operation in entry.tools]
    if not entry.customers and (listed or "cancel_subscription" in entry.tools):
        yield f"{entry.pointer}: no customers are allowed: each call that changes something is denied."
    if any(operation != "record_usage" for operation in listed):
        for name, allowed in (("providers", entry.providers), ("currencies", entry.currencies)):
            if not allowed:
                yield f"{entry.pointer}: no {name} are allowed: each payment is denied."
    pays = "charge" in listed or "subscribe" in listed
    if pays and not entry.payees and entry.new_payees == "deny":
        yield f"{entry.pointer}: no payees are allowed, not even self: each payment is denied."
    if pays and entry.categories and entry.categories.allow == ():
        yield f"{entry.pointer}.categories: no category is allowed: each payment is denied."
    if entry.new_payees == "deny" and any(rule.new_payee for rule in entry.approvals):
        yield f"{entry.pointer}: a rule waits for new payees, which payees.new does not let through."
    if "subscribe" in listed and entry.subscribe and not entry.subscribe.max_per_period:
        yield f"{entry.pointer}.subscribe: there is no max_per_period: a plan may cost anything."


def _taken_away(entry: AgentEntry) -> Iterator[str]:
    """What is allowed and denied at once; denied goes first."""
    for payee in entry.payees_denied:
        if payee in entry.payees:
            yield f"{entry.pointer}.payees: {payee} is allowed and denied: it is denied."
    for pattern in entry.customers:
        if any(matches(denied, pattern) for denied in entry.customers_denied):
            yield f"{entry.pointer}.customers: {pattern} is allowed and denied: it is denied."
    if entry.categories and entry.categories.allow:
        for name in sorted(set(entry.categories.allow) & set(entry.categories.deny)):
            yield f"{entry.pointer}.categories: {name} is allowed and denied: it is denied."


def _never(entry: AgentEntry, rule: ApprovalRule) -> Iterator[str]:
    """Why no request that is let through ever meets the rule."""
    if rule.operations and not any(entry.has_section(operation) for operation in rule.operations):
        yield f"there is no section {' or '.join(rule.operations)}"
    if rule.providers and not set(rule.providers) & set(entry.providers):
        yield f"the provider {' or '.join(rule.providers)} is not allowed"
    ways = set(entry.charge.directions if entry.charge else ()) | (
        {"collect"} if entry.subscribe or entry.refund else set()
    )
    if rule.directions and not set(rule.directions) & ways:
        yield f"nothing goes in the direction {' or '.join(rule.directions)}"
    allowed = entry.categories
    if rule.categories and allowed:
        open_ = [name for name in rule.categories if name not in allowed.deny]
        if not [name for name in open_ if allowed.allow is None or name in allowed.allow]:
            yield f"the category {' or '.join(rule.categories)} is not allowed"
    if rule.duplicate and (entry.charge is None or entry.charge.duplicates != "approve"):
        yield "charge.duplicates does not let look-alikes through to people"


def _limits_something(limit: Limit, entry: AgentEntry) -> bool:
    assert entry.charge is not None
    return not limit.directions or bool(set(limit.directions) & set(entry.charge.directions))


def _budgets(policy: Policy) -> Iterator[str]:
    used = {budget.id for entry in policy.agents for budget in policy.budgets_of(entry)}
    for budget in policy.budgets:
        if budget.id not in used:
            yield f"budgets.{budget.id}: no agent spends from this budget."
