"""The sections of an agent's entry, read from the tree into the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final, TypeVar, cast

from agentpay_policies.currencies import exponent
from agentpay_policies.cursor import Cursor, shown
from agentpay_policies.money import Money, Price
from agentpay_policies.names import DIRECTIONS, TOOL_NAMES, Direction, ToolName
from agentpay_policies.payees import Payee
from agentpay_policies.policy import (
    EVERY_PLAN,
    AgentEntry,
    ApprovalRule,
    ChargeSection,
    Limit,
    NewPayees,
    Per,
    RecordUsageSection,
    Refundable,
    RefundSection,
    SubscribeSection,
)
from agentpay_policies.tree import Scalar, Table
from agentpay_policies.windows import CALENDAR_UNITS, LONGEST_ROLLING, Window, zone

_AGENT: Final = (
    "budget",
    "tools",
    "providers",
    "currencies",
    "customers",
    "payees",
    "memo",
    "charge",
    "subscribe",
    "record_usage",
    "refund",
    "approvals",
)
_PER: Final[tuple[Per, ...]] = ("agent", "customer", "payee", "provider")
_NEW: Final[tuple[NewPayees, ...]] = ("deny", "approve")
_REFUNDABLE: Final[tuple[Refundable, ...]] = ("own_charges", "any")

_MINUTE: Final = timedelta(minutes=1)
DEFAULT_EXPIRES: Final = timedelta(minutes=30)
LONGEST_EXPIRES: Final = timedelta(days=30)
MOST_APPROVERS: Final = 100
MOST_COUNT: Final = 10**9

Fields = dict[str, Cursor]
Reader = Callable[[Cursor], str | None]
Word = TypeVar("Word", bound=str)


def agent_entry(name: str, place: Cursor, *, lists: Mapping[str, tuple[Payee, ...]], timezone: str) -> AgentEntry:
    """One entry of `agents`. What could not be read is left out, with its fault in the log."""
    fields = place.fields(_AGENT)
    _memo(fields.get("memo"))
    payees, new_payees = _payees(fields.get("payees"), lists)
    return AgentEntry(
        id=name,
        budget=fields["budget"].text() if "budget" in fields else None,
        tools=_tools(fields.get("tools")),
        providers=_allowed(fields.get("providers"), _provider),
        currencies=_allowed(fields.get("currencies"), _currency),
        customers=_allowed(fields.get("customers"), _customer),
        payees=payees,
        new_payees=new_payees,
        charge=_charge(fields["charge"], timezone) if "charge" in fields else None,
        subscribe=_subscribe(fields["subscribe"]) if "subscribe" in fields else None,
        record_usage=_record_usage(fields["record_usage"]) if "record_usage" in fields else None,
        refund=_refund(fields["refund"], timezone) if "refund" in fields else None,
        approvals=_approvals(fields.get("approvals")),
    )


def _memo(place: Cursor | None) -> None:
    if place is None:
        return
    if not isinstance(place.node, Scalar) or place.node.kind != "text":
        place.fault("memo other than none is not enforced by this version")
    elif place.node.shown != "none":
        place.fault(f"memo {shown(place.node.shown)} is not enforced by this version; only none is")


def _tools(place: Cursor | None) -> tuple[ToolName, ...]:
    return tuple(sorted(place.unique(lambda item: item.choice(TOOL_NAMES)))) if place else ()


def _allowed(place: Cursor | None, read: Reader) -> tuple[str, ...]:
    if place is None:
        return ()
    fields = place.fields(("allow",), required=("allow",))
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


def _payees(place: Cursor | None, lists: Mapping[str, tuple[Payee, ...]]) -> tuple[tuple[Payee, ...], NewPayees]:
    if place is None:
        return (), "deny"
    fields = place.fields(("allow", "new"))
    found: dict[str, Payee] = {}
    for item in fields["allow"].items() if "allow" in fields else []:
        for payee in _payee_entry(item, lists):
            found[payee.canonical] = payee
    new = fields["new"].choice(_NEW) if "new" in fields else None
    return tuple(found[key] for key in sorted(found)), new or "deny"


def _payee_entry(item: Cursor, lists: Mapping[str, tuple[Payee, ...]]) -> tuple[Payee, ...]:
    if isinstance(item.node, Scalar) and item.node.kind == "text" and item.node.shown.startswith("@"):
        name = item.node.shown[1:]
        if name not in lists:
            item.fault(f"there is no list {shown(name)}")
        return lists.get(name, ())
    payee = item.parsed(Payee.parse)
    return (payee,) if payee else ()


# ---- the operations


def _charge(place: Cursor, timezone: str) -> ChargeSection:
    fields = place.fields(("directions", "per_transaction", "limits"))
    least, most = _per_transaction(fields.get("per_transaction"))
    directions = _directions(fields.get("directions"))
    return ChargeSection(directions or ("collect",), least, most, limits_of(fields.get("limits"), timezone))


def _directions(place: Cursor | None) -> tuple[Direction, ...]:
    if place is None:
        return ()
    found = place.unique(lambda item: item.choice(DIRECTIONS))
    if not found:
        place.fault("names no direction")
    return tuple(direction for direction in DIRECTIONS if direction in found)


def _per_transaction(place: Cursor | None) -> tuple[tuple[Money, ...], tuple[Money, ...]]:
    fields = place.fields(("min", "max")) if place else {}
    least = fields["min"].amounts(Money) if "min" in fields else ()
    most = fields["max"].amounts(Money) if "max" in fields else ()
    return least, most


def _subscribe(place: Cursor) -> SubscribeSection:
    fields = place.fields(("plans", "max_per_period"), required=("plans",))
    plans = fields["plans"].unique(lambda item: item.name("A plan")) if "plans" in fields else ()
    if EVERY_PLAN in plans:
        plans = (EVERY_PLAN,)
    most = fields["max_per_period"].amounts(Money) if "max_per_period" in fields else ()
    return SubscribeSection(tuple(sorted(plans)), most)


def _record_usage(place: Cursor) -> RecordUsageSection:
    fields = place.fields(("max_quantity", "max_cost"))
    quantity = fields["max_quantity"].integer(1, 10**15) if "max_quantity" in fields else None
    cost = fields["max_cost"].amounts(Price) if "max_cost" in fields else ()
    return RecordUsageSection(quantity, cost)


def _refund(place: Cursor, timezone: str) -> RefundSection:
    fields = place.fields(("allow", "limits"))
    allow = fields["allow"].choice(_REFUNDABLE) if "allow" in fields else None
    return RefundSection(allow or "own_charges", limits_of(fields.get("limits"), timezone))


# ---- limits


def limits_of(place: Cursor | None, timezone: str) -> tuple[Limit, ...]:
    """A list of limits, each id once."""
    if place is None:
        return ()
    found: dict[str, Limit] = {}
    for name, item in place.named_items("limits"):
        if limit := _limit(name, item, timezone):
            found[name] = limit
    return tuple(found[name] for name in sorted(found))


def _limit(name: str, place: Cursor, timezone: str) -> Limit | None:
    fields = place.fields(("id", "amount", "count", "window", "per", "directions"), required=("id", "window"))
    if "id" in fields:
        fields["id"].plain_name()
    amounts = fields["amount"].amounts(Money) if "amount" in fields else ()
    count = fields["count"].integer(0, MOST_COUNT) if "count" in fields else None
    if fields and ("amount" in fields) == ("count" in fields):
        place.fault("a limit has either an amount or a count")
    window = _window(fields["window"], timezone) if "window" in fields else None
    per = fields["per"].choice(_PER, "category") if "per" in fields else None
    directions = _directions(fields.get("directions"))
    return Limit(name, window, amounts, count, per, directions) if window else None


def _window(place: Cursor, timezone: str) -> Window | None:
    if isinstance(place.node, Scalar):
        if place.text() == "lifetime":
            return Window("lifetime")
        place.fault("a window is {rolling: 24h}, {calendar: month} or lifetime")
        return None
    fields = place.fields(("rolling", "calendar", "tz"))
    if ("rolling" in fields) == ("calendar" in fields):
        place.fault("a window is either rolling or calendar")
        return None
    if "rolling" in fields:
        return _rolling(fields)
    unit = fields["calendar"].choice(CALENDAR_UNITS)
    tz = fields["tz"].parsed(_zone_name) if "tz" in fields else timezone
    return Window("calendar", unit=unit, tz=tz) if unit and tz else None


def _rolling(fields: Fields) -> Window | None:
    if "tz" in fields:
        fields["tz"].fault("a rolling window has no time zone")
    length = fields["rolling"].duration(_MINUTE, LONGEST_ROLLING)
    if length is not None and length % _MINUTE:
        fields["rolling"].fault("must be whole minutes")
        return None
    return Window("rolling", length=length) if length is not None else None


def _zone_name(name: str) -> str:
    zone(name)
    return name


# ---- approvals


def _approvals(place: Cursor | None) -> tuple[ApprovalRule, ...]:
    if place is None:
        return ()
    found: dict[str, ApprovalRule] = {}
    for name, item in place.named_items("rules"):
        if rule := _rule(name, item):
            found[name] = rule
    return tuple(found[name] for name in sorted(found))


def _rule(name: str, place: Cursor) -> ApprovalRule | None:
    fields = place.fields(("id", "when", "approvers", "quorum", "expires"), required=("id", "when", "approvers"))
    if "id" in fields:
        fields["id"].plain_name()
    over, new_payee = _when(fields["when"]) if "when" in fields else ((), False)
    group = fields["approvers"].text() if "approvers" in fields else None
    quorum = fields["quorum"].integer(1, MOST_APPROVERS) if "quorum" in fields else None
    expires = fields["expires"].duration(_MINUTE, LONGEST_EXPIRES) if "expires" in fields else None
    if group is None:
        return None
    return ApprovalRule(name, group, expires or DEFAULT_EXPIRES, quorum or 1, over, new_payee)


def _when(place: Cursor) -> tuple[tuple[Money, ...], bool]:
    fields = place.fields(("amount_over", "payee"))
    if isinstance(place.node, Table) and not place.node.entries:
        place.fault("names no condition")
    over = fields["amount_over"].amounts(Money) if "amount_over" in fields else ()
    new = "payee" in fields and cast("str | None", fields["payee"].choice(("new",))) is not None
    return over, new
