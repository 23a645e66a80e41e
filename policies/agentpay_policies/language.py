"""The language in one description: every section, its fields, what each says, and the shape it has as JSON Schema.

The loader takes the names of the fields from here and `agentpay_policies.schema` the schema, so that an editor never
offers what a file may not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from agentpay_policies.memo import LONGEST_MEMO, LONGEST_TEMPLATE
from agentpay_policies.names import DIRECTIONS, OPERATIONS, TOOL_NAMES
from agentpay_policies.schedule import WEEKDAYS
from agentpay_policies.terms import PERIODS
from agentpay_policies.windows import CALENDAR_UNITS

Schema = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """One field of a section: what it says to a person, and its JSON Schema."""

    says: str
    schema: Schema
    required: bool = False


NAME: Final = "^[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,99}$"
PATTERN: Final = "^[A-Za-z0-9*][A-Za-z0-9._@:/+*-]{0,99}$"

_TEXT: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 320}
_NAME: Final[Schema] = {"type": "string", "pattern": NAME}
_BOOL: Final[Schema] = {"type": "boolean"}
_AMOUNT: Final[Schema] = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})? [A-Z]{3,4}$"}
_AMOUNTS: Final[Schema] = {"anyOf": [_AMOUNT, {"type": "array", "items": _AMOUNT, "minItems": 1}]}
_DURATION: Final[Schema] = {"type": "string", "pattern": "^[0-9]{1,6}[smhd]$"}
_MOMENT: Final[Schema] = {
    "type": "string",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})$",
}
_CLOCK: Final[Schema] = {"type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"}


def _list(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, **({"minItems": least} if least else {})}


def _ref(section: str) -> Schema:
    return {"$ref": f"#/$defs/{section}"}


def _words(*words: str) -> Schema:
    """One of a closed set of words."""
    return {"enum": list(words)}


def _any_of(words: Schema) -> Schema:
    return {"anyOf": [words, _list(words, 1)]}


def _named(section: str, pattern: str = NAME) -> Schema:
    return {"type": "object", "propertyNames": {"pattern": pattern}, "additionalProperties": _ref(section)}


_OPERATIONS: Final = _list(_words(*OPERATIONS), 1)
_DIRECTIONS: Final = _list(_words(*DIRECTIONS), 1)
_PLACES: Final = "self, stripe:acct_…, paypal:<merchant id or e-mail>, eip155:<chain>:<address>, or @list"
_SHADOW: Final = Field("true: only logged, to try the rule out; it never decides.", _BOOL)
_TIMEZONE: Final = Field("A time zone by its name, such as Europe/Berlin.", _TEXT)

_FILE: Final = {
    "version": Field("The version of the language: 1.", {"const": 1}, required=True),
    "id": Field("The name of this policy.", _NAME, required=True),
    "defaults": Field("What holds where nothing else is written.", _ref("defaults")),
    "lists": Field(
        "Lists of payees, named, to be used as @name.", {"type": "object", "additionalProperties": _list(_TEXT)}
    ),
    "categories": Field(
        "Kinds of payees, named, as you sort them: a payee is of one kind at most. No model is ever asked.",
        {"type": "object", "propertyNames": {"pattern": NAME}, "additionalProperties": _list(_TEXT)},
    ),
    "budgets": Field("Pots that several agents share.", _named("budget")),
    "agents": Field(
        "What each agent may do. Who is not named may do nothing.", _named("agent", PATTERN), required=True
    ),
    "approvers": Field("The people who approve, in groups.", _named("group")),
}
_DEFAULTS: Final = {
    "decision": Field("What is not allowed is denied; nothing else is possible.", {"const": "deny"}),
    "timezone": Field("Where a day, week or month begins: a name such as Europe/Berlin.", _TEXT),
    "duplicate_window": Field("How long a payment that looks the same is taken for a repeat. 0s: never.", _DURATION),
}
_BUDGET: Final = {
    "parent": Field("The budget that this one is a part of.", _NAME),
    "limits": Field("The most that all its agents together may spend.", _list(_ref("limit"))),
}
_AGENT: Final = {
    "each": Field(
        "true, for a pattern: each agent that you enrolled under it has limits of its own.",
        _BOOL,
    ),
    "budget": Field("The budget that it spends from.", _NAME),
    "not_before": Field("It may do nothing before this moment.", _MOMENT),
    "expires_at": Field("It may do nothing from this moment on.", _MOMENT),
    "time_windows": Field("The hours in which it may change anything.", _list(_ref("time_window"))),
    "tools": Field("What it may call.", _list(_words(*TOOL_NAMES))),
    "providers": Field("Through whom money may move.", _ref("names")),
    "currencies": Field("In which currencies.", _ref("names")),
    "customers": Field("For which customers: ids, or patterns with *.", _ref("customers")),
    "payees": Field("Who may receive money.", _ref("payees")),
    "categories": Field("Which kinds of payees it may pay.", _ref("category_rule")),
    "memo": Field(
        "What text the payee reads: none, your template, or the agent's own words.",
        {"anyOf": [{"const": "none"}, _ref("memo")]},
    ),
    "notify": Field(
        "Tell people when so much of a limit is used, such as 0.8.",
        _list({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
    ),
    "charge": Field("One-time charges.", _ref("charge")),
    "subscribe": Field("Subscriptions to your plans.", _ref("subscribe")),
    "record_usage": Field("Recording what customers use.", _ref("record_usage")),
    "refund": Field("Refunds.", _ref("refund")),
    "approvals": Field("When people decide first.", _list(_ref("rule"))),
}  # fmt: skip
_NAMES: Final = {"allow": Field("Those that it may use, one by one.", _list(_TEXT), required=True)}
_CUSTOMERS: Final = {
    "allow": Field('Ids, or patterns such as "team-*"; "*" is everybody.', _list(_TEXT), required=True),
    "deny": Field("Those that it may not act for, whatever allow says.", _list(_TEXT)),
}
_PAYEES: Final = {
    "allow": Field(f"Those that it may pay: {_PLACES}.", _list(_TEXT)),
    "deny": Field("Those that it may never pay, not even with approval.", _list(_TEXT)),
    "new": Field("What happens with all others: denied, or people are asked.", _words("deny", "approve")),
}
_CATEGORY_RULE: Final = {
    "allow": Field("Only payees of these categories.", _list(_NAME)),
    "deny": Field("No payees of these categories.", _list(_NAME)),
    "shadow": _SHADOW,
}
_TIME_WINDOW: Final = {
    "days": Field("Days of the week; every day where it is missing.", _list(_words(*WEEKDAYS), 1)),
    "from": Field('When it begins, in quotes: "08:30".', _CLOCK, required=True),
    "to": Field("When it ends, in quotes; before from means on the next day.", _CLOCK, required=True),
    "tz": _TIMEZONE,
    "shadow": _SHADOW,
}
_MEMO: Final = {
    "template": Field(
        "Your text, with {payment}, {customer}, {agent}, {plan}, {amount}, {currency} filled in.",
        {"type": "string", "minLength": 1, "maxLength": LONGEST_TEMPLATE},
    ),
    "free": Field("What the agent wrote as description.", _ref("free")),
}
_FREE: Final = {
    "max_chars": Field(
        "The most characters of it.", {"type": "integer", "minimum": 1, "maximum": LONGEST_MEMO}, required=True
    )
}
_PER_TRANSACTION: Final = {
    "min": Field("The least that one payment may be.", _AMOUNTS),
    "max": Field("The most that one payment may be.", _AMOUNTS),
    "shadow": _SHADOW,
}
_CHARGE: Final = {
    "directions": Field("collect: the customer pays you. send: your wallet pays.", _DIRECTIONS),
    "per_transaction": Field("The bounds of each single charge.", _ref("per_transaction")),
    "limits": Field("The most within a time.", _list(_ref("limit"))),
    "duplicates": Field(
        "What happens to a charge that looks like an earlier one: denied, people are asked, or only noted.",
        _words("deny", "approve", "warn"),
    ),
}  # fmt: skip
_SUBSCRIBE: Final = {
    "plans": Field('Plans by id; "*" is every plan.', _list(_TEXT), required=True),
    "max_per_period": Field("The most that one period of a plan may cost.", _AMOUNTS),
    "periods": Field("How often a plan may be billed.", _list(_words(*PERIODS), 1)),
    "max_term": Field(
        "The longest time that a customer may be committed to: 12 months.",
        {"type": "string", "pattern": "^[1-9][0-9]{0,3} (day|week|month|year)s?$"},
    ),
    "count": Field(
        "What counts in limits: all that the customer is committed to, or what is paid first.",
        _words("committed", "paid"),
    ),
}  # fmt: skip
_RECORD_USAGE: Final = {
    "max_quantity": Field("The most units at once.", {"type": "integer", "minimum": 1, "maximum": 10**15}),
    "max_cost": Field("The most cost at once, below a cent too.", _AMOUNTS),
    "limits": Field("The most within a time.", _list(_ref("limit"))),
}
_REFUND: Final = {
    "allow": Field("Only what it charged itself, or any payment.", _words("own_charges", "any")),
    "per_transaction": Field("The bounds of each single refund.", _ref("per_transaction")),
    "limits": Field("The most within a time.", _list(_ref("limit"))),
    "restores_budget": Field(
        "true: a refund gives back what its charge used of the limits.",
        _BOOL,
    ),
}  # fmt: skip
_LIMIT: Final = {
    "id": Field("The name of this limit.", _NAME, required=True),
    "amount": Field("The most money.", _AMOUNTS),
    "count": Field("The most operations.", {"type": "integer", "minimum": 0, "maximum": 10**9}),
    "window": Field("The time it looks back over.", {"anyOf": [{"const": "lifetime"}, _ref("window")]}, required=True),
    "per": Field(
        "Counts each of these apart.",
        _words("agent", "customer", "payee", "provider", "category"),
    ),
    "of": Field("The operations that add up.", _OPERATIONS),
    "directions": Field("Adds these up, and is for these only; without it each is counted apart.", _DIRECTIONS),
    "shadow": _SHADOW,
}
_WINDOW: Final = {
    "rolling": Field("So long back from now: 24h, 7d.", _DURATION),
    "calendar": Field("The current day, week, month or year.", _words(*CALENDAR_UNITS)),
    "tz": _TIMEZONE,
}
_RULE: Final = {
    "id": Field("The name of this rule.", _NAME, required=True),
    "when": Field("When people are asked: all of it must hold.", _ref("when"), required=True),
    "approvers": Field("The group that is asked.", _NAME, required=True),
    "quorum": Field("How many of them must say yes.", {"type": "integer", "minimum": 1, "maximum": 100}),
    "expires": Field("How long they have; then it is denied.", _DURATION),
    "shadow": _SHADOW,
}
_WHEN: Final = {
    "amount_over": Field("It is more than this.", _AMOUNTS),
    "unapproved_total_over": Field(
        "With what nobody approved within the window it is more than this: against splitting.",
        _AMOUNTS,
    ),
    "window": Field(
        "The time that unapproved_total_over looks back over.",
        {"anyOf": [{"const": "lifetime"}, _ref("window")]},
    ),
    "payee": Field("The payee is not in payees.allow.", _words("new")),
    "duplicate": Field("It looks like an earlier charge.", _words("suspected")),
    "category": Field("The payee is of one of these categories.", {"anyOf": [_NAME, _list(_NAME, 1)]}),
    "provider": Field("It goes through one of these providers.", {"anyOf": [_TEXT, _list(_TEXT, 1)]}),
    "direction": Field("It goes in this direction.", _any_of(_words(*DIRECTIONS))),
    "operation": Field("It is one of these operations.", _any_of(_words("charge", "subscribe", "refund"))),
}  # fmt: skip
_GROUP: Final = {"members": Field("The names of the people.", _list(_TEXT, 1), required=True)}

SECTIONS: Final[Mapping[str, Mapping[str, Field]]] = MappingProxyType(
    {
        "file": _FILE,
        "defaults": _DEFAULTS,
        "budget": _BUDGET,
        "agent": _AGENT,
        "names": _NAMES,
        "customers": _CUSTOMERS,
        "payees": _PAYEES,
        "category_rule": _CATEGORY_RULE,
        "time_window": _TIME_WINDOW,
        "memo": _MEMO,
        "free": _FREE,
        "per_transaction": _PER_TRANSACTION,
        "charge": _CHARGE,
        "subscribe": _SUBSCRIBE,
        "record_usage": _RECORD_USAGE,
        "refund": _REFUND,
        "limit": _LIMIT,
        "window": _WINDOW,
        "rule": _RULE,
        "when": _WHEN,
        "group": _GROUP,
    }
)
"""Every section by its name; `file` is the file itself."""
