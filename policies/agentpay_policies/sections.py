"""The sections of an agent's entry, read from the tree into the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agentpay_policies.clauses import approvals_of, directions_of, is_shadow, limits_of, time_windows_of
from agentpay_policies.currencies import exponent
from agentpay_policies.cursor import Cursor, shown
from agentpay_policies.globs import is_glob
from agentpay_policies.memo import LONGEST_MEMO, MemoRule, check_template
from agentpay_policies.money import Money, Price
from agentpay_policies.names import TOOL_NAMES, ToolName
from agentpay_policies.payees import Payee
from agentpay_policies.policy import (
    EVERY_PLAN,
    AgentEntry,
    CategoryRule,
    ChargeSection,
    Counts,
    Duplicates,
    NewPayees,
    RecordUsageSection,
    Refundable,
    RefundSection,
    SubscribeSection,
)
from agentpay_policies.schedule import parse_moment
from agentpay_policies.terms import PERIODS, parse_term
from agentpay_policies.tree import Scalar

_NEW: Final[tuple[NewPayees, ...]] = ("deny", "approve")
_REFUNDABLE: Final[tuple[Refundable, ...]] = ("own_charges", "any")
_DUPLICATES: Final[tuple[Duplicates, ...]] = ("deny", "approve", "warn")
_COUNTS: Final[tuple[Counts, ...]] = ("committed", "paid")

Fields = dict[str, Cursor]
Reader = Callable[[Cursor], str | None]
Lists = Mapping[str, tuple[Payee, ...]]


@dataclass(frozen=True)
class Names:
    """What an entry may refer to: the lists of payees by name, and the time zone where none is written."""

    lists: Lists
    timezone: str


def agent_entry(name: str, place: Cursor, known: Names) -> AgentEntry:
    """One entry of `agents`. What could not be read is left out, with its fault in the log."""
    fields = place.section("agent")
    entry = replace(_who(name, fields), **_to_whom(fields, known.lists))  # type: ignore[arg-type]
    entry, tried = _operations(fields, known.timezone, entry, AgentEntry(id=name))
    windows, tried_windows = time_windows_of(fields.get("time_windows"), known.timezone)
    rules, tried_rules = approvals_of(fields.get("approvals"), known.timezone)
    categories, shadow = _categories(fields.get("categories"))
    entry = replace(entry, time_windows=windows, approvals=rules, categories=None if shadow else categories)
    tried = replace(tried, time_windows=tried_windows, approvals=tried_rules, categories=categories if shadow else None)
    return entry if tried == AgentEntry(id=name) else replace(entry, shadow=tried)


def _who(name: str, fields: Fields) -> AgentEntry:
    """What the entry says of the agent itself."""
    each = bool(fields["each"].boolean()) if "each" in fields else False
    if each and not is_glob(name):
        fields["each"].fault("only a pattern has several agents to count apart")
    begins = fields["not_before"].parsed(parse_moment) if "not_before" in fields else None
    ends = fields["expires_at"].parsed(parse_moment) if "expires_at" in fields else None
    if begins and ends and begins >= ends:
        fields["expires_at"].fault("is not after not_before")
    thresholds = fields["notify"].unique(Cursor.fraction) if "notify" in fields else ()
    return AgentEntry(
        id=name,
        each=each,
        budget=fields["budget"].text() if "budget" in fields else None,
        not_before=begins,
        expires_at=ends,
        tools=_tools(fields.get("tools")),
        memo=_memo(fields["memo"]) if "memo" in fields else None,
        notify=tuple(sorted(thresholds)),
    )


def _to_whom(fields: Fields, lists: Lists) -> dict[str, object]:
    """What the entry says of the others: providers, currencies, customers, payees."""
    customers, denied = _customers(fields.get("customers"))
    payees = fields["payees"].section("payees") if "payees" in fields else {}
    new = payees["new"].choice(_NEW) if "new" in payees else None
    return {
        "providers": _allowed(fields.get("providers"), _provider),
        "currencies": _allowed(fields.get("currencies"), _currency),
        "customers": customers,
        "customers_denied": denied,
        "payees": payees_of(payees.get("allow"), lists),
        "payees_denied": payees_of(payees.get("deny"), lists),
        "new_payees": new or "deny",
    }


def _memo(place: Cursor) -> MemoRule | None:
    if isinstance(place.node, Scalar):
        if place.text() not in ("none", None):
            place.fault("a memo is none, {template: ...} or {free: {max_chars: ...}}")
        return None
    fields = place.section("memo")
    if ("template" in fields) == ("free" in fields):
        place.fault("a memo has either a template or is free")
        return None
    if "template" in fields:
        template = fields["template"].parsed(check_template)
        return MemoRule(template=template) if template is not None else None
    free = fields["free"].section("free")
    most = free["max_chars"].integer(1, LONGEST_MEMO) if "max_chars" in free else None
    return MemoRule(max_chars=most) if most is not None else None


def _categories(place: Cursor | None) -> tuple[CategoryRule | None, bool]:
    if place is None:
        return None, False
    fields = place.section("category_rule")
    if not {"allow", "deny"} & set(fields):
        place.fault("names neither allow nor deny")
    allow = fields["allow"].unique(Cursor.plain_name) if "allow" in fields else None
    deny = fields["deny"].unique(Cursor.plain_name) if "deny" in fields else ()
    rule = CategoryRule(None if allow is None else tuple(sorted(allow)), tuple(sorted(deny)))
    return rule, is_shadow(fields)


def _tools(place: Cursor | None) -> tuple[ToolName, ...]:
    return tuple(sorted(place.unique(lambda item: item.choice(TOOL_NAMES)))) if place else ()


def _allowed(place: Cursor | None, read: Reader) -> tuple[str, ...]:
    if place is None:
        return ()
    fields = place.section("names")
    return tuple(sorted(fields["allow"].unique(read))) if "allow" in fields else ()


def _provider(place: Cursor) -> str | None:
    name = place.name("A provider", longest=60)
    if name is not None and "*" in name:
        place.fault("providers are named one by one")
        return None
    return name


def _currency(place: Cursor) -> str | None:
    def known(code: str) -> str:
        exponent(code)
        return code

    return place.parsed(known)


def _customer(place: Cursor) -> str | None:
    return place.name("A customer")


def _customers(place: Cursor | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    fields = place.section("customers") if place else {}
    allow = fields["allow"].unique(_customer) if "allow" in fields else ()
    deny = fields["deny"].unique(_customer) if "deny" in fields else ()
    return tuple(sorted(allow)), tuple(sorted(deny))


def payees_of(place: Cursor | None, lists: Lists) -> tuple[Payee, ...]:
    """A list of payees, with the lists that it names put in their place."""
    found: dict[str, Payee] = {}
    for item in place.items() if place else []:
        for payee in _payee_entry(item, lists):
            found[payee.canonical] = payee
    return tuple(found[key] for key in sorted(found))


def _payee_entry(item: Cursor, lists: Lists) -> tuple[Payee, ...]:
    if isinstance(item.node, Scalar) and item.node.kind == "text" and item.node.shown.startswith("@"):
        name = item.node.shown[1:]
        if name not in lists:
            item.fault(f"there is no list {shown(name)}")
        return lists.get(name, ())
    payee = item.parsed(Payee.parse)
    return (payee,) if payee else ()


# ---- the operations


def _operations(fields: Fields, timezone: str, entry: AgentEntry, tried: AgentEntry) -> tuple[AgentEntry, AgentEntry]:
    """The entry, and its shadow, with their sections."""
    if "charge" in fields:
        charge, shadow_charge = _charge(fields["charge"], timezone)
        entry, tried = replace(entry, charge=charge), replace(tried, charge=shadow_charge)
    if "subscribe" in fields:
        entry = replace(entry, subscribe=_subscribe(fields["subscribe"]))
    if "record_usage" in fields:
        usage, shadow_usage = _record_usage(fields["record_usage"], timezone)
        entry, tried = replace(entry, record_usage=usage), replace(tried, record_usage=shadow_usage)
    if "refund" in fields:
        refund, shadow_refund = _refund(fields["refund"], timezone)
        entry, tried = replace(entry, refund=refund), replace(tried, refund=shadow_refund)
    return entry, tried


Bounds = tuple[tuple[Money, ...], tuple[Money, ...]]
_UNBOUND: Final[Bounds] = ((), ())


def _charge(place: Cursor, timezone: str) -> tuple[ChargeSection, ChargeSection | None]:
    fields = place.section("charge")
    (least, most), tried = _per_transaction(fields.get("per_transaction"))
    limits, shadow = limits_of(fields.get("limits"), timezone, "charge")
    directions = directions_of(fields.get("directions")) or ("collect",)
    duplicates = fields["duplicates"].choice(_DUPLICATES) if "duplicates" in fields else None
    section = ChargeSection(directions, least, most, limits, duplicates or "deny")
    return section, ChargeSection(directions, *tried, shadow) if shadow or tried != _UNBOUND else None


def _per_transaction(place: Cursor | None) -> tuple[Bounds, Bounds]:
    """The bounds of one payment: those that decide, and those that are only tried out."""
    fields = place.section("per_transaction") if place else {}
    least = fields["min"].amounts(Money) if "min" in fields else ()
    most = fields["max"].amounts(Money) if "max" in fields else ()
    return (_UNBOUND, (least, most)) if is_shadow(fields) else ((least, most), _UNBOUND)


def _subscribe(place: Cursor) -> SubscribeSection:
    fields = place.section("subscribe")
    plans = fields["plans"].unique(lambda item: item.name("A plan")) if "plans" in fields else ()
    if EVERY_PLAN in plans:
        plans = (EVERY_PLAN,)
    periods = fields["periods"].choices(PERIODS, "period") if "periods" in fields else ()
    counts = fields["count"].choice(_COUNTS) if "count" in fields else None
    return SubscribeSection(
        plans=tuple(sorted(plans)),
        max_per_period=fields["max_per_period"].amounts(Money) if "max_per_period" in fields else (),
        periods=periods,
        max_term=fields["max_term"].parsed(parse_term) if "max_term" in fields else None,
        counts=counts or "committed",
    )


def _record_usage(place: Cursor, timezone: str) -> tuple[RecordUsageSection, RecordUsageSection | None]:
    fields = place.section("record_usage")
    quantity = fields["max_quantity"].integer(1, 10**15) if "max_quantity" in fields else None
    cost = fields["max_cost"].amounts(Price) if "max_cost" in fields else ()
    limits, shadow = limits_of(fields.get("limits"), timezone, "record_usage")
    return RecordUsageSection(quantity, cost, limits), RecordUsageSection(limits=shadow) if shadow else None


def _refund(place: Cursor, timezone: str) -> tuple[RefundSection, RefundSection | None]:
    fields = place.section("refund")
    allow = fields["allow"].choice(_REFUNDABLE) if "allow" in fields else None
    (least, most), tried = _per_transaction(fields.get("per_transaction"))
    limits, shadow = limits_of(fields.get("limits"), timezone, "refund")
    restores = bool(fields["restores_budget"].boolean()) if "restores_budget" in fields else False
    section = RefundSection(allow or "own_charges", least, most, limits, restores)
    return section, RefundSection("any", *tried, shadow) if shadow or tried != _UNBOUND else None
