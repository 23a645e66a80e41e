"""The clauses that stand in lists, read from the tree into the model: limits, windows of time, approval rules.

A clause with `shadow: true` is only tried out. Each reader gives the real clauses and the shadow ones apart, so that
nothing that decides ever sees the others.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from agentpay_policies.cursor import Cursor
from agentpay_policies.money import Money
from agentpay_policies.names import DIRECTIONS, OPERATIONS, Direction, Operation
from agentpay_policies.policy import ApprovalRule, Limit, Per
from agentpay_policies.schedule import WEEKDAYS, TimeWindow, parse_clock
from agentpay_policies.tree import Scalar, Table
from agentpay_policies.windows import CALENDAR_UNITS, LONGEST_ROLLING, Window, zone

_PER: Final[tuple[Per, ...]] = ("agent", "customer", "payee", "provider", "category")
APPROVABLE: Final[tuple[Operation, ...]] = ("charge", "subscribe", "refund")

MINUTE: Final = timedelta(minutes=1)
DEFAULT_EXPIRES: Final = timedelta(minutes=30)
LONGEST_EXPIRES: Final = timedelta(days=30)
MOST_APPROVERS: Final = 100
MOST_COUNT: Final = 10**9

Fields = dict[str, Cursor]
Limits = tuple[tuple[Limit, ...], tuple[Limit, ...]]
Rules = tuple[tuple[ApprovalRule, ...], tuple[ApprovalRule, ...]]
TimeWindows = tuple[tuple[TimeWindow, ...], tuple[TimeWindow, ...]]


def is_shadow(fields: Fields) -> bool:
    """Whether a clause is only tried out."""
    return bool(fields["shadow"].boolean()) if "shadow" in fields else False


def directions_of(place: Cursor | None) -> tuple[Direction, ...]:
    """A list of directions, in one order."""
    if place is None:
        return ()
    found = place.unique(lambda item: item.choice(DIRECTIONS))
    if not found:
        place.fault("names no direction")
    return tuple(direction for direction in DIRECTIONS if direction in found)


# ---- limits


def limits_of(place: Cursor | None, timezone: str, own: Operation | None = None) -> Limits:
    """A list of limits, each id once. `own` is the operation of the section that they stand in."""
    found: dict[bool, dict[str, Limit]] = {False: {}, True: {}}
    for name, item in place.named_items("limits") if place else []:
        fields = item.section("limit")
        if limit := _limit(name, item, fields, timezone, own):
            found[is_shadow(fields)][name] = limit
    real, shadow = (tuple(limits[name] for name in sorted(limits)) for limits in (found[False], found[True]))
    return real, shadow


def _limit(name: str, place: Cursor, fields: Fields, timezone: str, own: Operation | None) -> Limit | None:
    if "id" in fields:
        fields["id"].plain_name()
    amounts = fields["amount"].amounts(Money) if "amount" in fields else ()
    count = fields["count"].integer(0, MOST_COUNT) if "count" in fields else None
    if fields and ("amount" in fields) == ("count" in fields):
        place.fault("a limit has either an amount or a count")
    window = window_of(fields["window"], timezone) if "window" in fields else None
    per = fields["per"].choice(_PER) if "per" in fields else None
    operations = _operations(fields["of"], own, adds_money="amount" in fields) if "of" in fields else ()
    directions = directions_of(fields.get("directions"))
    return Limit(name, window, amounts, count, per, directions, operations) if window else None


def _operations(place: Cursor, own: Operation | None, *, adds_money: bool) -> tuple[Operation, ...]:
    found = place.unique(lambda item: item.choice(OPERATIONS))
    if not found:
        place.fault("names no operation")
    elif own is not None and own not in found:
        place.fault(f"a limit under {own} counts {own}")
    elif adds_money and "record_usage" in found and len(found) > 1:
        place.fault("what is recorded is billed later: an amount adds up either record_usage or payments")
    if found == (own,):
        return ()
    return tuple(operation for operation in OPERATIONS if operation in found)


def window_of(place: Cursor, timezone: str) -> Window | None:
    """A window to look back over."""
    if isinstance(place.node, Scalar):
        if place.text() == "lifetime":
            return Window("lifetime")
        place.fault("a window is {rolling: 24h}, {calendar: month} or lifetime")
        return None
    fields = place.section("window")
    if ("rolling" in fields) == ("calendar" in fields):
        place.fault("a window is either rolling or calendar")
        return None
    if "rolling" in fields:
        return _rolling(fields)
    unit = fields["calendar"].choice(CALENDAR_UNITS)
    tz = fields["tz"].parsed(zone_name) if "tz" in fields else timezone
    return Window("calendar", unit=unit, tz=tz) if unit and tz else None


def _rolling(fields: Fields) -> Window | None:
    if "tz" in fields:
        fields["tz"].fault("a rolling window has no time zone")
    length = fields["rolling"].duration(MINUTE, LONGEST_ROLLING)
    if length is not None and length % MINUTE:
        fields["rolling"].fault("must be whole minutes")
        return None
    return Window("rolling", length=length) if length is not None else None


def zone_name(name: str) -> str:
    """The name of a time zone, checked.

    Raises:
        ValueError: there is no such zone.
    """
    zone(name)
    return name


# ---- hours of the week


def time_windows_of(place: Cursor | None, timezone: str) -> TimeWindows:
    """A list of time windows; an empty list would shut the agent out by accident and is refused."""
    found: dict[bool, list[TimeWindow]] = {False: [], True: []}
    items = place.items() if place else []
    if place is not None and not items:
        place.fault("names no window; leave the field out where there is none")
    for item in items:
        fields = item.section("time_window")
        if window := _time_window(item, fields, timezone):
            found[is_shadow(fields)].append(window)
    return tuple(sorted(set(found[False]))), tuple(sorted(set(found[True])))


def _time_window(place: Cursor, fields: Fields, timezone: str) -> TimeWindow | None:
    days = fields["days"].unique(lambda item: item.choice(WEEKDAYS)) if "days" in fields else WEEKDAYS
    if not days:
        fields["days"].fault("names no day")
    begin = fields["from"].parsed(parse_clock) if "from" in fields else None
    end = fields["to"].parsed(parse_clock) if "to" in fields else None
    tz = fields["tz"].parsed(zone_name) if "tz" in fields else timezone
    if begin is None or end is None or tz is None:
        return None
    if begin == end or begin == 24 * 60 or end == 0:
        place.fault('a window has a beginning and another end; the whole day is from "00:00" to "24:00"')
    return TimeWindow(tuple(day for day in WEEKDAYS if day in days), begin, end, tz)


# ---- approvals


def approvals_of(place: Cursor | None, timezone: str) -> Rules:
    """A list of approval rules, each id once."""
    found: dict[bool, dict[str, ApprovalRule]] = {False: {}, True: {}}
    for name, item in place.named_items("rules") if place else []:
        fields = item.section("rule")
        if rule := _rule(name, fields, timezone):
            found[is_shadow(fields)][name] = rule
    real, shadow = (tuple(rules[name] for name in sorted(rules)) for rules in (found[False], found[True]))
    return real, shadow


def _rule(name: str, fields: Fields, timezone: str) -> ApprovalRule | None:
    if "id" in fields:
        fields["id"].plain_name()
    conditions = _when(fields["when"], timezone) if "when" in fields else {}
    group = fields["approvers"].text() if "approvers" in fields else None
    quorum = fields["quorum"].integer(1, MOST_APPROVERS) if "quorum" in fields else None
    expires = fields["expires"].duration(MINUTE, LONGEST_EXPIRES) if "expires" in fields else None
    if group is None:
        return None
    return ApprovalRule(name, group, expires or DEFAULT_EXPIRES, quorum or 1, **conditions)  # type: ignore[arg-type]


def _when(place: Cursor, timezone: str) -> dict[str, object]:
    fields = place.section("when")
    if isinstance(place.node, Table) and not place.node.entries:
        place.fault("names no condition")
    if ("unapproved_total_over" in fields) != ("window" in fields):
        place.fault("unapproved_total_over and window stand together")
    found: dict[str, object] = {
        "new_payee": "payee" in fields and fields["payee"].choice(("new",)) is not None,
        "duplicate": "duplicate" in fields and fields["duplicate"].choice(("suspected",)) is not None,
    }
    if "amount_over" in fields:
        found["amount_over"] = fields["amount_over"].amounts(Money)
    if "unapproved_total_over" in fields:
        found["unapproved_over"] = fields["unapproved_total_over"].amounts(Money)
    if "window" in fields:
        found["unapproved_window"] = window_of(fields["window"], timezone)
    return found | _which(fields)


def _which(fields: Fields) -> dict[str, object]:
    """The conditions that name one thing or a list of things."""
    found: dict[str, object] = {}
    if "category" in fields:
        found["categories"] = tuple(sorted(fields["category"].one_or_more(Cursor.plain_name)))
    if "provider" in fields:
        found["providers"] = tuple(sorted(fields["provider"].one_or_more(lambda item: item.name("A provider"))))
    if "direction" in fields:
        found["directions"] = fields["direction"].choices(DIRECTIONS, "direction")
    if "operation" in fields:
        found["operations"] = fields["operation"].choices(APPROVABLE, "operation")
    return found
