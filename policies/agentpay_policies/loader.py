"""From a policy file to a `Policy`: strict, complete, and every fault at once.

Anything that is not a policy raises `PolicyError`, whatever it is, and nothing else: a file that fails changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Final

from agentpay_policies.checks import check_meaning
from agentpay_policies.clauses import limits_of, zone_name
from agentpay_policies.cursor import PATTERN_NAME, PLAIN_NAME, Cursor, Log, shown
from agentpay_policies.errors import PolicyError
from agentpay_policies.payees import Payee
from agentpay_policies.policy import ApproverGroup, Budget, Category, Policy
from agentpay_policies.sections import Names, agent_entry, payees_of
from agentpay_policies.tree import Node, fail, parse_mapping, parse_yaml, refusal

DEFAULT_DUPLICATE_WINDOW: Final = timedelta(minutes=5)
LONGEST_DUPLICATE_WINDOW: Final = timedelta(days=30)


def load_policy(text: str) -> Policy:
    """The policy that a YAML file holds.

    Raises:
        PolicyError: with every fault of the file, by line.
    """
    return _policy(parse_yaml(text))


def load_mapping(mapping: Mapping[str, object]) -> Policy:
    """The policy that a mapping holds, parsed elsewhere: the same language under the same rules.

    Raises:
        PolicyError: with every fault.
    """
    return _policy(parse_mapping(mapping))


def load_json(text: str) -> Policy:
    """The policy that `Policy.to_json` wrote.

    Raises:
        PolicyError: the text is no JSON, or no policy.
    """
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError) as exc:
        raise fail(0, "", "this is no JSON") from exc
    return load_mapping(found)


def _policy(root: Node) -> Policy:
    log = Log()
    policy = _top(Cursor(root, "", log))
    if policy is not None:
        check_meaning(policy, log)
    if policy is None or log.faults:
        raise refusal(log.faults)
    return policy


def _top(top: Cursor) -> Policy | None:
    fields = top.section("file")
    if "version" in fields and fields["version"].integer(1, 10**9) not in (1, None):
        fields["version"].fault("this program reads version 1 only")
    name = fields["id"].plain_name() if "id" in fields else None
    timezone, window = _defaults(fields.get("defaults"))
    lists = {key: place.unique(_payee) for key, place in _named(fields.get("lists"))}
    categories = [Category(key, payees_of(place, lists)) for key, place in _named(fields.get("categories"))]
    budgets = [_budget(key, place, timezone) for key, place in _named(fields.get("budgets"))]
    known = Names(lists, timezone)
    agents = [agent_entry(key, place, known) for key, place in _named(fields.get("agents"), pattern=True)]
    groups = [_group(key, place) for key, place in _named(fields.get("approvers"))]
    if not fields and top.log.faults:
        return None
    return Policy(
        id=name or "",
        duplicate_window=window,
        timezone=timezone,
        budgets=tuple(sorted(budgets, key=lambda budget: budget.id)),
        agents=tuple(sorted(agents, key=lambda entry: entry.id)),
        approvers=tuple(sorted(groups, key=lambda group: group.id)),
        categories=tuple(sorted(categories, key=lambda category: category.id)),
    )


def _named(place: Cursor | None, *, pattern: bool = False) -> list[tuple[str, Cursor]]:
    """The entries of a mapping whose keys are names given by the operator."""
    if place is None:
        return []
    accepted = PATTERN_NAME if pattern else PLAIN_NAME
    return [(key, child) for key, child in place.children().items() if child.is_name(key, accepted)]


def _defaults(place: Cursor | None) -> tuple[str, timedelta]:
    timezone: str | None = None
    window: timedelta | None = None
    if place is not None:
        fields = place.section("defaults")
        if "decision" in fields and (decision := fields["decision"].text()) not in ("deny", None):
            fields["decision"].fault(f"only deny is possible, not {shown(decision)}")
        if "timezone" in fields:
            timezone = fields["timezone"].parsed(zone_name)
        if "duplicate_window" in fields:
            window = fields["duplicate_window"].duration(timedelta(0), LONGEST_DUPLICATE_WINDOW)
    return timezone or "UTC", DEFAULT_DUPLICATE_WINDOW if window is None else window


def _payee(place: Cursor) -> Payee | None:
    return place.parsed(Payee.parse)


def _budget(name: str, place: Cursor, timezone: str) -> Budget:
    fields = place.section("budget")
    parent = fields["parent"].text() if "parent" in fields else None
    return Budget(name, parent, *limits_of(fields.get("limits"), timezone))


def _group(name: str, place: Cursor) -> ApproverGroup:
    fields = place.section("group")
    members = fields["members"].unique(partial(Cursor.name, what="An approver")) if "members" in fields else ()
    if "members" in fields and not members:
        fields["members"].fault("a group needs at least one member")
    return ApproverGroup(name, tuple(sorted(members)))


__all__ = ["PolicyError", "load_json", "load_mapping", "load_policy"]
