"""The parsed policy: one hash a meaning, an exact round trip, and which entry an agent falls under."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpay_policies.errors import PolicyError
from agentpay_policies.files import ready_file
from agentpay_policies.globs import matches, most_specific, overlap
from agentpay_policies.loader import load_mapping, load_policy
from agentpay_policies.policy import Policy
from unit.policies import full as whole_policy
from unit.policies.helpers import BASIC, EXAMPLE, basic, changed


def shuffled(value: Any, data: st.DataObject) -> Any:
    if isinstance(value, dict):
        keys = data.draw(st.permutations(list(value)))
        return {key: shuffled(value[key], data) for key in keys}
    return [shuffled(item, data) for item in data.draw(st.permutations(value))] if isinstance(value, list) else value


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_order_anywhere_changes_the_hash(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([EXAMPLE, ready_file("starter")]))
    assert load_mapping(shuffled(yaml.safe_load(source), data)).hash == load_policy(source).hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "# a comment\nversion: 1   # another"),
        ("defaults: {decision: deny, timezone: UTC, duplicate_window: 5m}", ""),
        ("duplicate_window: 5m", "duplicate_window: 300s"),
        ("rolling: 24h", "rolling: 1d"),
        ('"5000.00 USD"', '"5000 USD"'),
        ('[self, "@vendors"]', '[self, "@vendors", "stripe:acct_1A2b3C"]'),
        ("0x52908400098527886E0F7030069857D2E4169EE7", "0x52908400098527886e0f7030069857d2e4169ee7"),
    ],
)
def test_what_means_the_same_has_the_same_hash(old: str, new: str) -> None:
    assert old in EXAMPLE
    assert load_policy(EXAMPLE.replace(old, new)).hash == load_policy(EXAMPLE).hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("id: demo", "id: other"),
        ("timezone: UTC, ", "timezone: Europe/Rome, "),
        ("duplicate_window: 5m", "duplicate_window: 0s"),
        ('"5000.00 USD"', '"5000.01 USD"'),
        ("Europe/Berlin", "Europe/Rome"),
        ("calendar: month", "calendar: year"),
        ("parent: company, ", ""),
        ("rolling: 1h", "rolling: 61m"),
        ("count: 10", "count: 11"),
        ("per: agent}\n    refund", "per: customer}\n    refund"),
        ("[check_access, charge, refund]", "[charge, refund]"),
        ("allow: own_charges", "allow: any"),
        ("expires: 30m", "expires: 31m"),
        ("approvers: finance, quorum: 1, expires: 2h", "approvers: finance, quorum: 2, expires: 2h"),
        ("members: [alice, bob]", "members: [alice, eve]"),
        ('min: "0.50 USD"', 'min: "0.51 USD"'),
        ("directions: [collect]", "directions: [collect, send]"),
        ('["*"]', '["a*"]'),
        ("per: agent}\n        - {id: burst", "per: agent, directions: [collect]}\n        - {id: burst"),
    ],
)
def test_every_field_is_in_the_hash(old: str, new: str) -> None:
    assert old in EXAMPLE
    assert load_policy(EXAMPLE.replace(old, new)).hash != load_policy(EXAMPLE).hash


FULL = changed(
    BASIC,
    agents__bot__subscribe={"plans": ["a", "b"], "max_per_period": "5 USD"},
    agents__bot__record_usage={"max_quantity": 5, "max_cost": ["0.000000001 USD"]},
    agents__bot__charge={
        "directions": ["send"],
        "limits": [
            {"id": "l", "amount": "5 USD", "window": "lifetime", "per": "payee", "directions": ["send"]},
            {"id": "c", "count": 0, "window": {"calendar": "week", "tz": "Asia/Tokyo"}},
        ],
    },
    agents__empty={},
    budgets={"pot": {}},
)


@pytest.mark.parametrize(
    "policy", [load_policy(EXAMPLE), load_policy(ready_file("starter")), basic(), load_mapping(FULL)]
)
def test_the_round_trip_is_exact(policy: Policy) -> None:
    text = policy.to_json()
    again = Policy.from_json(text)
    assert again == policy
    assert (again.to_json(), again.hash, again.warnings) == (text, policy.hash, policy.warnings)
    assert json.loads(text)["version"] == 1 == policy.version


def test_the_round_trip_of_the_whole_language_is_exact() -> None:
    policy = whole_policy.POLICY
    text = policy.to_json()
    again = Policy.from_json(text)
    assert again == policy and again.hash == policy.hash
    assert load_policy(whole_policy.FULL).hash == policy.hash


@pytest.mark.parametrize("place", whole_policy.places())
def test_every_field_of_the_whole_language_is_in_the_hash(place: tuple[object, ...]) -> None:
    """Taken out, whatever may be taken out changes the hash, or the policy is no more one."""
    if (shorter := whole_policy.without(place)) is not None:
        assert shorter.hash != whole_policy.POLICY.hash


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_order_anywhere_changes_the_hash_of_the_whole_language(data: st.DataObject) -> None:
    again = load_mapping(shuffled(yaml.safe_load(whole_policy.FULL), data))
    assert again.hash == whole_policy.POLICY.hash


def test_a_policy_that_uses_nothing_new_keeps_its_hash() -> None:
    """Fixed when the language was smaller: a hash that changes would ask every operator to apply the policy again."""
    assert load_policy(EXAMPLE).hash == "fe45d98c6d34c6ea8181a74760ce71e7546af22057fdf430d2d5528c8d8704b4"


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "5", '{"version": 1}', "[" * 100_000])
def test_a_damaged_row_is_a_policy_error(text: str) -> None:
    with pytest.raises(PolicyError):
        Policy.from_json(text)


# ---- which entry

ENTRIES = ("support-bot", "support-*", "support-*-eu", "*", "s*t")


@pytest.mark.parametrize(
    ("agent", "entry"),
    [
        ("support-bot", "support-bot"),
        ("support-7", "support-*"),
        ("support-7-eu", "support-*-eu"),
        ("support-bot-2", "support-*"),
        ("sit", "s*t"),
        ("Support-bot", "*"),
        ("support-*", "support-*"),
        ("", "*"),
        ("a|budget:x", "*"),
    ],
)
def test_the_most_specific_entry_wins_in_any_order(agent: str, entry: str) -> None:
    for order in itertools.islice(itertools.permutations(ENTRIES), 0, None, 17):
        policy = load_mapping({"version": 1, "id": "a", "agents": {name: {} for name in order}})
        found = policy.agent(agent)
        assert found is not None and found.id == entry
        assert policy.path(agent) == (f"agent:{entry}",)


def test_what_is_written_out_counts_before_the_number_of_stars_and_the_alphabet() -> None:
    assert most_specific(["a*", "*aaa"], "aaaa") == "*aaa"
    assert most_specific(["a*b*", "ab*", "*"], "ab") == "ab*"
    assert most_specific(["b*"], "aaaa") is None


def test_an_agent_without_an_entry_has_nothing_but_its_own_reading() -> None:
    policy = basic()
    assert policy.agent("other") is None
    assert policy.path("other") == ()
    assert policy.tools_of("other") == {"get_payment", "get_approval", "get_budget"}
    assert policy.tools_of("bot") == policy.tools_of("other") | set(BASIC["agents"]["bot"]["tools"])


def test_approvers_and_defaults() -> None:
    policy = basic(approvers__ops={"members": ["carol"]})
    assert policy.approver_names() == {"alice", "bob", "carol"}
    assert policy.duplicate_window == timedelta(minutes=5)
    assert basic(defaults={"duplicate_window": "0s"}).duplicate_window == timedelta(0)


# ---- patterns


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True),
        ("*", "a\nb", True),
        ("a", "a", True),
        ("a", "a\n", False),
        ("a*", "a", True),
        ("a*", "ba", False),
        ("*a*", "bab", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-c-b-c", True),
        ("a*b*c", "acb", False),
        ("a**b", "ab", True),
        ("a.c", "abc", False),
        ("a?c", "abc", False),
        ("[ab]*", "a", False),
        ("*ab*ab", "ab", False),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_hostile_text_does_not_make_a_pattern_slow() -> None:
    assert not matches("*a" * 50 + "b", "a" * 10_000)


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(alphabet="ab", max_size=6),
    cuts=st.lists(st.booleans(), min_size=6, max_size=6),
    other=st.text(alphabet="ab*", max_size=5),
)
def test_patterns_that_share_a_text_overlap(text: str, cuts: list[bool], other: str) -> None:
    pattern = "".join("*" if cut else char for char, cut in zip(text, cuts, strict=False))
    assert matches(pattern, text)
    if matches(other, text):
        assert overlap(pattern, other) and overlap(other, pattern)
    assert most_specific([pattern], text) == pattern


def test_what_cannot_share_a_text_does_not_overlap() -> None:
    assert not overlap("a*", "b*")
    assert not overlap("a", "b")
    assert overlap("a*", "*b")
