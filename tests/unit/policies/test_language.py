"""The language: what each field may hold, what a policy must mean, and what is only warned of."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agentpay_policies.errors import PolicyError
from unit.policies.helpers import BASIC, GONE, basic, changed, faults_of

LIMIT = {"id": "cap", "amount": "15.00 USD", "window": {"rolling": "1h"}}
RULE = {"id": "big", "when": {"amount_over": "25.00 USD"}, "approvers": "finance"}
TWO = {"allow": ["USD", "EUR"]}
MAX_BOTH = ["9.00 USD", "9.00 EUR"]


# ---- the language

UNKNOWN = [
    "",
    "defaults",
    "agents__bot",
    "agents__bot__providers",
    "agents__bot__currencies",
    "agents__bot__customers",
    "agents__bot__payees",
    "agents__bot__charge",
    "agents__bot__charge__per_transaction",
    "agents__bot__subscribe",
    "agents__bot__record_usage",
    "agents__bot__refund",
    "approvers__finance",
]


@pytest.mark.parametrize("place", UNKNOWN)
def test_an_unknown_key_is_refused_anywhere(place: str) -> None:
    path = f"{place}__xyzzy".lstrip("_")
    assert any("xyzzy: unknown key" in fault for fault in faults_of(changed(BASIC, **{path: 1})))


@pytest.mark.parametrize(
    "changes",
    [
        {"bot__charge__limits": [LIMIT | {"xyzzy": 1}]},
        {"bot__charge__limits": [LIMIT | {"window": {"rolling": "1h", "xyzzy": 1}}]},
        {"bot__approvals": [RULE | {"xyzzy": 1}]},
        {"bot__approvals": [RULE | {"when": {"payee": "new", "xyzzy": 1}}]},
        {"budgets": {"pot": {"xyzzy": 1}}},
    ],
)
def test_an_unknown_key_in_a_list_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="unknown key"):
        basic(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"bot__memo": "none"},
        {"bot__charge__duplicates": "deny"},
        {"bot__subscribe__count": "committed"},
        {"bot__refund__restores_budget": False},
        {"bot__each": False},
        {"bot__charge__limits": [LIMIT | {"shadow": False}]},
    ],
)
def test_the_value_that_changes_nothing_may_stand_in_a_file(changes: dict[str, Any]) -> None:
    plain = basic(bot__charge__limits=[LIMIT]) if "bot__charge__limits" in changes else basic()
    assert basic(**changes).hash == plain.hash


@pytest.mark.parametrize("missing", ["version", "id", "agents"])
def test_what_must_be_there(missing: str) -> None:
    assert faults_of(changed(BASIC, **{missing: GONE})) == [f": {missing} is missing"]


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"version": 2}, "version", "version 1 only"),
        ({"version": "1"}, "version", "a whole number without quotes"),
        ({"version": True}, "version", "a whole number"),
        ({"id": ""}, "id", "is no name"),
        ({"id": "a b"}, "id", "is no name"),
        ({"id": 5}, "id", 'write it in quotes: "5"'),
        ({"defaults__decision": "allow"}, "defaults.decision", "only deny"),
        ({"defaults__timezone": "Mars"}, "defaults.timezone", "not a time zone"),
        ({"defaults__duplicate_window": "5"}, "defaults.duplicate_window", "not a duration"),
        ({"defaults__duplicate_window": "31d"}, "defaults.duplicate_window", "must be from 0s to 30d"),
        ({"lists__a": ["nonsense"]}, "lists.a[0]", "is not a payee"),
        ({"lists__a": ["self", "self"]}, "lists.a[1]", "stands twice"),
        ({"agents__a|b": {}}, "agents.a|b", "is no name"),
        ({"agents__a b": {}}, "agents.a b", "is no name"),
        ({"budgets__p*": {}}, "budgets.p*", "is no name"),
        ({"bot__budget": "none"}, "agents.bot.budget", "there is no budget 'none'"),
        ({"bot__tools": ["pay"]}, "agents.bot.tools[0]", "must be one of"),
        ({"bot__tools": ["charg"]}, "agents.bot.tools[0]", "did you mean charge?"),
        ({"bot__tools": ["charge", "charge"]}, "agents.bot.tools[1]", "stands twice"),
        ({"bot__tools": "charge"}, "agents.bot.tools", "must be a list"),
        ({"bot__providers": {}}, "agents.bot.providers", "allow is missing"),
        ({"bot__providers__allow": ["*"]}, "agents.bot.providers.allow[0]", "one by one"),
        ({"bot__currencies__allow": ["usd"]}, "agents.bot.currencies.allow[0]", "not a currency"),
        ({"bot__customers__allow": [7]}, "agents.bot.customers.allow[0]", 'write it in quotes: "7"'),
        ({"bot__customers__allow": ["a\u200bb"]}, "agents.bot.customers.allow[0]", "invisible"),
        ({"bot__customers__allow": [" a"]}, "agents.bot.customers.allow[0]", "a space"),
        ({"bot__payees__allow": ["@none"]}, "agents.bot.payees.allow[0]", "there is no list 'none'"),
        ({"bot__payees__allow": ["https://pay.me"]}, "agents.bot.payees.allow[0]", "not a payee"),
        ({"bot__payees__new": "allow"}, "agents.bot.payees.new", "must be one of deny, approve"),
        ({"bot__payees__new": "approve"}, "agents.bot.payees.new", "needs an approval rule"),
        ({"bot__charge__directions": []}, "agents.bot.charge.directions", "names no direction"),
        ({"bot__charge__directions": ["in"]}, "agents.bot.charge.directions[0]", "must be one of"),
        ({"bot__charge__per_transaction__max": "5 EUR"}, "agents.bot.charge.per_transaction.max", "USD is allowed"),
        ({"bot__charge__per_transaction__max": []}, "agents.bot.charge.per_transaction.max", "names no amount"),
        ({"bot__charge__per_transaction__max": 5.5}, "agents.bot.charge.per_transaction.max", "in quotes"),
        ({"bot__charge__per_transaction__max": 5}, "agents.bot.charge.per_transaction.max", "in quotes"),
        ({"bot__charge__per_transaction__max": Decimal(5)}, "agents.bot.charge.per_transaction.max", "in quotes"),
        ({"bot__charge__per_transaction__max": "5"}, "agents.bot.charge.per_transaction.max", "its currency"),
        ({"bot__charge__per_transaction__max": "5.001 USD"}, "agents.bot.charge.per_transaction.max", "decimals"),
        ({"bot__charge__per_transaction__max": "1,000 USD"}, "agents.bot.charge.per_transaction.max", "not an amount"),
        ({"bot__charge__per_transaction__max": "-5 USD"}, "agents.bot.charge.per_transaction.max", "not an amount"),
        ({"bot__charge__per_transaction__max": "NaN USD"}, "agents.bot.charge.per_transaction.max", "not an amount"),
        ({"bot__charge__per_transaction__max": "5 usd"}, "agents.bot.charge.per_transaction.max", "not a currency"),
        (
            {"bot__charge__per_transaction__max": ["5 USD", "6 USD"]},
            "agents.bot.charge.per_transaction.max[1]",
            "twice",
        ),
        ({"bot__charge__per_transaction__min": "2000 USD"}, "agents.bot.charge.per_transaction.min", "above the max"),
        ({"bot__charge": {}}, "agents.bot.charge", "without any cap"),
        ({"bot__charge": {"limits": [LIMIT | {"directions": ["send"]}]}}, "agents.bot.charge", "without any cap"),
        ({"bot__charge": None}, "agents.bot.charge", "must be a mapping"),
        ({"bot__currencies": TWO}, "agents.bot.charge.per_transaction.max", "EUR is allowed"),
        ({"bot__subscribe": {}}, "agents.bot.subscribe", "plans is missing"),
        ({"bot__record_usage__max_quantity": "5"}, "agents.bot.record_usage.max_quantity", "whole number"),
        ({"bot__record_usage__max_quantity": 0}, "agents.bot.record_usage.max_quantity", "from 1"),
        ({"bot__record_usage__max_cost": "0.0000000001 USD"}, "agents.bot.record_usage.max_cost", "decimals"),
        ({"bot__refund__allow": "all"}, "agents.bot.refund.allow", "must be one of"),
        ({"approvers__finance__members": []}, "approvers.finance.members", "at least one"),
        ({"approvers__finance__members": ["a", "a"]}, "approvers.finance.members[1]", "stands twice"),
        ({"budgets": {"a": {"parent": "b"}}}, "budgets.a.parent", "there is no budget"),
        ({"budgets": {"a": {"parent": "a"}}}, "budgets.a.parent", "in a circle"),
        ({"budgets": {"a": {"parent": "b"}, "b": {"parent": "a"}}}, "budgets.b.parent", "in a circle"),
    ],
)
def test_what_a_field_may_hold(changes: dict[str, Any], pointer: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        basic(**changes)
    assert [f for f in caught.value.faults if f.pointer == pointer and said in f.message], caught.value.faults


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"window": GONE}, "window is missing"),
        ({"id": GONE}, "id is missing"),
        ({"id": "a b"}, "is no name"),
        ({"amount": GONE}, "either an amount or a count"),
        ({"count": 5}, "either an amount or a count"),
        ({"amount": GONE, "count": "5"}, "a whole number"),
        ({"amount": GONE, "count": 1.5}, "a whole number"),
        ({"amount": GONE, "count": -1}, "a whole number"),
        ({"amount": "5 EUR"}, "USD is allowed"),
        ({"window": "24h"}, "a window is"),
        ({"window": {}}, "either rolling or calendar"),
        ({"window": {"rolling": "1h", "calendar": "day"}}, "either rolling or calendar"),
        ({"window": {"rolling": "1h", "tz": "UTC"}}, "has no time zone"),
        ({"window": {"rolling": "30s"}}, "must be from 1m to 400d"),
        ({"window": {"rolling": "90s"}}, "whole minutes"),
        ({"window": {"rolling": "401d"}}, "must be from 1m to 400d"),
        ({"window": {"rolling": 24}}, "in quotes"),
        ({"window": {"calendar": "fortnight"}}, "must be one of"),
        ({"window": {"calendar": "day", "tz": "Nowhere/Else"}}, "not a time zone"),
        ({"per": "planet"}, "must be one of"),
        ({"directions": []}, "names no direction"),
    ],
)
def test_what_a_limit_may_hold(limit: dict[str, Any], said: str) -> None:
    made = {name: value for name, value in (LIMIT | limit).items() if value is not GONE}
    for changes in ({"bot__charge__limits": [made]}, {"bot__refund__limits": [made]}):
        with pytest.raises(PolicyError) as caught:
            basic(**changes)
        assert [fault for fault in caught.value.faults if said in fault.message], caught.value.faults


def test_a_budget_must_cap_what_its_agents_may_use() -> None:
    with pytest.raises(PolicyError, match="USD is allowed for agents") as caught:
        basic(budgets={"pot": {"limits": [LIMIT | {"amount": "5 EUR"}]}}, bot__budget="pot")
    assert caught.value.faults[0].pointer == "budgets.pot.limits.cap"


def test_a_cap_may_lie_in_a_budget_or_in_a_limit() -> None:
    assert basic(budgets={"pot": {"limits": [LIMIT]}}, bot__budget="pot", bot__charge={})
    assert basic(bot__charge={"limits": [LIMIT]})


def test_limit_ids_are_unique_within_an_entry() -> None:
    with pytest.raises(PolicyError, match="two limits have the id"):
        basic(bot__charge__limits=[LIMIT, LIMIT])
    with pytest.raises(PolicyError, match="two limits have the id"):
        basic(bot__charge__limits=[LIMIT], bot__refund__limits=[LIMIT])


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"approvers": "nobody"}, "no group of approvers"),
        ({"approvers": GONE}, "approvers is missing"),
        ({"when": GONE}, "when is missing"),
        ({"when": {}}, "names no condition"),
        ({"when": {"payee": "old"}}, "must be one of new"),
        ({"when": {"amount_over": "25 EUR"}}, "USD is allowed"),
        ({"when": {"amount_over": "1000.00 USD", "operation": "charge"}}, "can never be exceeded"),
        ({"when": {"amount_over": "1000.01 USD", "operation": "charge"}}, "can never be exceeded"),
        ({"quorum": 0}, "must be from 1"),
        ({"quorum": 3}, "has 2 members"),
        ({"expires": "30s"}, "must be from 1m to 30d"),
        ({"expires": "0m"}, "must be from 1m to 30d"),
        ({"id": GONE}, "id is missing"),
    ],
)
def test_what_a_rule_may_hold(rule: dict[str, Any], said: str) -> None:
    made = {name: value for name, value in (RULE | rule).items() if value is not GONE}
    with pytest.raises(PolicyError) as caught:
        basic(bot__approvals=[made])
    assert [fault for fault in caught.value.faults if said in fault.message], caught.value.faults


def test_two_rules_may_not_have_one_id() -> None:
    with pytest.raises(PolicyError, match="two rules have the id 'big'"):
        basic(bot__approvals=[RULE, RULE])


def test_a_rule_that_asks_for_some_new_payees_only_is_not_enough() -> None:
    partial = RULE | {"when": {"payee": "new", "amount_over": "25.00 USD"}}
    with pytest.raises(PolicyError, match="no other condition"):
        basic(bot__payees={"allow": [], "new": "approve"}, bot__approvals=[partial])


def test_a_threshold_at_the_cap_may_matter_to_a_dearer_plan() -> None:
    rule = RULE | {"when": {"amount_over": "1000.00 USD"}}
    assert basic(bot__subscribe__max_per_period="2000.00 USD", bot__approvals=[rule])
    assert basic(bot__subscribe__max_per_period=GONE, bot__approvals=[rule])
    with pytest.raises(PolicyError, match="can never be exceeded"):
        basic(bot__subscribe=GONE, bot__approvals=[rule])


# ---- warnings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bot__charge": GONE}, "charge is listed and has no section"),
        ({"bot__tools": ["subscribe", "record_usage", "refund"]}, "charge has a section and is not among the tools"),
        ({"bot__customers": GONE}, "no customers"),
        ({"bot__providers": GONE}, "no providers"),
        ({"bot__currencies": GONE}, "no currencies"),
        ({"bot__payees": GONE}, "no payees"),
        ({"bot__subscribe__max_per_period": GONE}, "a plan may cost anything"),
        ({"bot__approvals": [RULE | {"when": {"payee": "new"}}]}, "does not let through"),
    ],
)
def test_warnings(changes: dict[str, Any], said: str) -> None:
    assert any(said in warning for warning in basic(**changes).warnings), basic(**changes).warnings


def test_a_plain_policy_has_no_warning() -> None:
    assert basic().warnings == ()
