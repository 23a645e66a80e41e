"""Bad input: whatever a file holds, it loads as it reads or is refused with PolicyError, and quickly."""

from __future__ import annotations

import copy
import random
import time
from typing import Any

import pytest
import yaml

from agentpay_policies.errors import PolicyError
from agentpay_policies.loader import load_mapping, load_policy
from agentpay_policies.policy import Policy
from unit.policies.full import FULL, POLICY
from unit.policies.helpers import BASIC, NOW, basic, charge, decide, faults_of

LIMIT = {"id": "cap", "amount": "15.00 USD", "window": {"rolling": "1h"}}
RULE = {"id": "big", "when": {"amount_over": "25.00 USD"}, "approvers": "finance"}
HOURS = {"from": "08:00", "to": "09:00"}


def said_of(**changes: Any) -> list[str]:
    try:
        basic(**changes)
    except PolicyError as exc:
        return [str(fault) for fault in exc.faults]
    return []


# ---- what each field may hold


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bot__not_before": "2026-01-01"}, "bot.not_before: not a moment"),
        ({"bot__not_before": "2026-01-01T00:00:00"}, "bot.not_before: not a moment"),
        (
            {"bot__not_before": "2026-01-02T00:00:00Z", "bot__expires_at": "2026-01-02T01:00:00+01:00"},
            "bot.expires_at: is not after",
        ),
        ({"bot__time_windows": []}, "time_windows: names no window"),
        ({"bot__time_windows": [{"from": "08:00"}]}, "to is missing"),
        ({"bot__time_windows": [HOURS | {"from": 510}]}, "write it in quotes"),
        ({"bot__time_windows": [HOURS | {"from": "8:30"}]}, "not a time of day"),
        ({"bot__time_windows": [HOURS | {"to": "08:00"}]}, "the whole day is from"),
        ({"bot__time_windows": [HOURS | {"from": "24:00"}]}, "the whole day is from"),
        ({"bot__time_windows": [HOURS | {"to": "00:00"}]}, "the whole day is from"),
        ({"bot__time_windows": [HOURS | {"days": []}]}, "names no day"),
        ({"bot__time_windows": [HOURS | {"days": ["monday"]}]}, "must be one of mon"),
        ({"bot__time_windows": [HOURS | {"days": ["mon", "mon"]}]}, "stands twice"),
        ({"bot__time_windows": [HOURS | {"tz": "Mars/Olympus"}]}, "not a time zone"),
        ({"bot__categories": {}}, "neither allow nor deny"),
        ({"bot__categories": {"deny": ["nope"]}}, "there is no category 'nope'"),
        ({"categories": {"a": ["self"], "b": ["self"]}}, "self is of the category 'a' already"),
        ({"categories": {"a": ["nonsense"]}}, "not a payee"),
        ({"categories": {"-": ["self"]}}, "is no name"),
        ({"categories": {"a|b": ["self"]}}, "is no name"),
        ({"bot__approvals": [RULE | {"when": {"category": "nope"}}]}, "there is no category 'nope'"),
        ({"bot__customers": {"deny": ["x"]}}, "allow is missing"),
        ({"bot__payees__deny": ["@none"]}, "there is no list 'none'"),
        ({"bot__memo": {}}, "either a template or is free"),
        ({"bot__memo": {"template": "x", "free": {"max_chars": 1}}}, "either a template or is free"),
        ({"bot__memo": "free"}, "a memo is none"),
        ({"bot__memo": {"free": {}}}, "max_chars is missing"),
        ({"bot__memo": {"free": {"max_chars": 0}}}, "from 1 to 500"),
        ({"bot__memo": {"free": {"max_chars": 501}}}, "from 1 to 500"),
        ({"bot__memo": {"template": "Order {description}"}}, "a template may name"),
        ({"bot__memo": {"template": "Order {payment.id}"}}, "a template may name"),
        ({"bot__memo": {"template": "Order {{payment}}"}}, "no braces"),
        ({"bot__memo": {"template": "Order {payment"}}, "no braces"),
        ({"bot__memo": {"template": "a\u202eb"}}, "no control"),
        ({"bot__memo": {"template": "a\nb"}}, "no control"),
        ({"bot__memo": {"template": " "}}, "1 to 200"),
        ({"bot__memo": {"template": "x" * 201}}, "1 to 200"),
        ({"bot__notify": [0]}, "a part of 1"),
        ({"bot__notify": [1.1]}, "a part of 1"),
        ({"bot__notify": [0.8, "0.80"]}, "stands twice"),
        ({"bot__notify": [0.12345]}, "a part of 1"),
        ({"bot__notify": ["80%"]}, "a part of 1"),
        ({"bot__notify": [float("nan")]}, "a part of 1"),
        ({"bot__notify": [True]}, "a part of 1"),
        ({"bot__notify": 0.8}, "must be a list"),
        ({"bot__each": True}, "only a pattern"),
        ({"bot__each": "true"}, "must be true or false"),
        ({"bot__each": 1}, "must be true or false"),
        ({"bot__charge__duplicates": "allow"}, "must be one of deny, approve, warn"),
        ({"bot__charge__duplicates": "approve"}, "needs an approval rule"),
        ({"bot__subscribe__periods": ["hourly"]}, "must be one of daily"),
        ({"bot__subscribe__periods": []}, "names no period"),
        ({"bot__subscribe__max_term": "12m"}, "not a term"),
        ({"bot__subscribe__max_term": "0 months"}, "not a term"),
        ({"bot__subscribe__count": "all"}, "must be one of committed, paid"),
        ({"bot__record_usage__limits": [LIMIT | {"per": "payee"}]}, "per: payee says nothing of record_usage"),
        ({"bot__record_usage__limits": [LIMIT | {"directions": ["send"]}]}, "directions says nothing of record_usage"),
        ({"bot__record_usage__limits": [LIMIT | {"amount": "2000000000 USD"}]}, "more than can be summed"),
        ({"bot__refund__per_transaction": {"min": "5 USD", "max": "4 USD"}}, "5.00 USD is above the max"),
        ({"bot__refund__per_transaction": {"max": "4 EUR"}}, "USD is allowed"),
        ({"bot__charge__limits": [LIMIT | {"of": []}]}, "names no operation"),
        ({"bot__charge__limits": [LIMIT | {"of": ["refund"]}]}, "a limit under charge counts charge"),
        ({"bot__charge__limits": [LIMIT | {"of": ["charge", "steal"]}]}, "must be one of"),
        ({"bot__charge__limits": [LIMIT | {"of": ["charge", "record_usage"]}]}, "either record_usage or payments"),
        ({"bot__charge__limits": [LIMIT | {"shadow": "yes"}]}, "must be true or false"),
        ({"bot__charge__limits": [LIMIT, LIMIT | {"shadow": True}]}, "two limits have the id"),
        ({"bot__charge__limits": [LIMIT], "bot__record_usage__limits": [LIMIT]}, "two limits have the id"),
        ({"bot__approvals": [RULE | {"when": {"operation": "record_usage"}}]}, "must be one of charge"),
        ({"bot__approvals": [RULE | {"when": {"direction": []}}]}, "names no direction"),
        ({"bot__approvals": [RULE | {"when": {"provider": []}}]}, "names no"),
        ({"bot__approvals": [RULE | {"when": {"unapproved_total_over": "5 USD"}}]}, "stand together"),
        ({"bot__approvals": [RULE | {"when": {"window": "lifetime", "payee": "new"}}]}, "stand together"),
        ({"bot__approvals": [RULE | {"when": {"unapproved_total_over": "5 EUR", "window": "lifetime"}}]}, "USD is"),
        ({"bot__approvals": [RULE | {"shadow": True, "quorum": 3}]}, "has 2 members"),
        ({"bot__approvals": [RULE | {"shadow": True, "approvers": "nobody"}]}, "no group of approvers"),
        ({"bot__approvals": [RULE | {"when": {"amount_over": "15.00 USD", "operation": "charge"}}],
          "bot__charge__limits": [LIMIT]}, "can never be exceeded: the most in one payment is 15.00 USD"),
        ({"bot__approvals": [RULE | {"when": {"amount_over": "5 USD", "operation": "refund"}}],
          "bot__refund__per_transaction": {"max": "5 USD"}}, "can never be exceeded"),
    ],
)  # fmt: skip
def test_what_the_newer_fields_may_hold(changes: dict[str, Any], said: str) -> None:
    assert [fault for fault in said_of(**changes) if said in fault], said_of(**changes)


def test_a_threshold_below_the_cap_of_one_way_is_reached() -> None:
    over = RULE | {"when": {"amount_over": "15.00 USD"}}
    assert basic(bot__charge__limits=[LIMIT], bot__approvals=[over]), "a subscription may be dearer"
    committed = RULE | {"when": {"amount_over": "1000.00 USD"}}
    assert basic(bot__approvals=[committed]), "a longer term commits to more than one period"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bot__approvals": [RULE | {"when": {"direction": "send"}}]}, "nothing goes in the direction send"),
        ({"bot__approvals": [RULE | {"when": {"provider": "x"}}]}, "the provider x is not allowed"),
        (
            {"bot__refund": None, "bot__approvals": [RULE | {"when": {"operation": "refund"}}]},
            "there is no section refund",
        ),
        (
            {
                "categories": {"k": ["self"]},
                "bot__categories": {"deny": ["k"]},
                "bot__approvals": [RULE | {"when": {"category": "k"}}],
            },
            "the category k is not allowed",
        ),
        ({"bot__approvals": [RULE | {"when": {"duplicate": "suspected"}}]}, "does not let look-alikes through"),
        ({"bot__charge__limits": [LIMIT | {"directions": ["send"]}]}, "nothing goes that way"),
        ({"bot__payees": {"allow": ["self"], "deny": ["self"]}}, "self is allowed and denied"),
        ({"bot__customers": {"allow": ["ab*"], "deny": ["a*"]}}, "ab* is allowed and denied"),
        (
            {"categories": {"k": []}, "bot__categories": {"allow": ["k"], "deny": ["k"]}},
            "k is allowed and denied",
        ),
        ({"bot__categories": {"allow": []}}, "no category is allowed"),
        ({"budgets": {"pot": {"limits": [LIMIT]}}}, "no agent spends from this budget"),
    ],
)
def test_what_is_never_reached_is_a_warning(changes: dict[str, Any], said: str) -> None:
    from unit.policies.helpers import GONE

    policy = basic(**{key: GONE if value is None else value for key, value in changes.items()})
    assert any(said in warning for warning in policy.warnings), policy.warnings


# ---- YAML


@pytest.mark.parametrize("word", ["NO", "on", "off", "yes", "08:30", "2026-01-01T00:00:00Z", "8.5", "0x10", "1_0", "~"])
def test_unquoted_words_that_yaml_guesses_are_refused_in_every_text_field(word: str) -> None:
    for line in (
        f"not_before: {word}",
        f"time_windows: [{{from: {word}, to: '09:00'}}]",
        f"customers: {{allow: [{word}]}}",
    ):
        text = f"version: 1\nid: a\nagents: {{bot: {{{line}}}}}\n"
        with pytest.raises(PolicyError):
            load_policy(text)


@pytest.mark.parametrize("word", ["yes", "on", "True", "TRUE", "1", '"true"', "y", "~", ""])
def test_only_true_and_false_are_booleans(word: str) -> None:
    text = f'version: 1\nid: a\nagents: {{"s-*": {{each: {word}}}}}\n'
    with pytest.raises(PolicyError):
        load_policy(text)


def test_a_billion_laughs_is_refused_at_its_first_anchor() -> None:
    laughs = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(PolicyError, match="anchors"):
        load_policy(laughs)


def test_ten_megabytes_are_refused_at_once() -> None:
    for text in ("a: " + "x" * 10_000_000, "# " + "x" * 10_000_000, "- a\n" * 2_500_000, "é" * 5_000_000):
        began = time.perf_counter()
        with pytest.raises(PolicyError, match="larger than"):
            load_policy(text)
        assert time.perf_counter() - began < 1


def test_many_categories_limits_and_patterns_load_in_time() -> None:
    """A large honest policy: what is checked pairwise must not grow beyond bearing."""
    mapping = copy.deepcopy(BASIC)
    mapping["categories"] = {f"k{i}": [f"stripe:acct_{i}x{j}" for j in range(20)] for i in range(100)}
    mapping["agents"] |= {f"a{i}-*": {"tools": ["check_access"]} for i in range(500)}
    mapping["budgets"] = {f"b{i}": {"parent": f"b{i - 1}"} if i else {} for i in range(300)}
    began = time.perf_counter()
    policy = load_mapping(mapping)
    assert decide(policy, charge()).outcome == "allow"
    assert time.perf_counter() - began < 5


# ---- fuzz

WORDS = [
    *["*", "self", "5 USD", "-5 USD", "1h", "08:30", "true", "approve", "warn", "any", "lifetime", "", " ", "\x00"],
    *["send", "collect", "monthly", "2026-01-01T00:00:00Z", "mon", "@vendors", "food", "paid", "{payment}", "\u202e"],
    "x" * 400,
]
VALUES: list[Any] = [
    *WORDS,
    *[None, True, False, 0, 1, -1, 10**30, 0.8, float("nan"), float("inf"), [], {}, ["self"], [[]], b"x", ("a",)],
    *[{"allow": ["*"]}, {"shadow": True}, {1: 2}, {"": ""}],
]


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, child in inner for place in [(*path, key), *_paths(child, (*path, key))]]


WHOLE = yaml.safe_load(FULL)
PATHS = _paths(WHOLE)


def _damaged(chance: random.Random) -> Any:
    """The whole language with one to three places replaced, taken away, doubled, renamed or moved."""
    mapping = copy.deepcopy(WHOLE)
    for _ in range(chance.randint(1, 3)):
        *above, last = chance.choice(PATHS)
        try:
            place = mapping
            for key in above:
                place = place[key]
            _damage(place, last, chance)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue
    return mapping


def _damage(place: Any, last: Any, chance: random.Random) -> None:
    match chance.randint(0, 4):
        case 0:
            place[last] = copy.deepcopy(chance.choice(VALUES))
        case 1:
            del place[last]
        case 2 if isinstance(place, list):
            place.append(copy.deepcopy(place[last]))
        case 3 if isinstance(place, dict):
            place[chance.choice(WORDS)] = place.pop(last)
        case _:
            place[last] = [place[last]]


def _load(load: Any, value: Any) -> Policy | None:
    try:
        found: Policy = load(value)
    except PolicyError as exc:
        assert exc.faults and all(str(fault) for fault in exc.faults)
        return None
    return found


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_ten_thousand_damaged_policies_are_refused_or_mean_what_they_say(part: int) -> None:
    """Only PolicyError; and what loads decides without failing and survives its row. 1,250 in each part."""
    chance, loaded = random.Random(part), 0
    for number in range(1_250):
        policy = _load(load_mapping, _damaged(chance))
        if policy is None:
            continue
        loaded += 1
        if number % 20 == 0:
            assert Policy.from_json(policy.to_json()) == policy
            assert decide(policy, charge(), now=NOW).outcome in ("allow", "approve", "deny")
    assert 25 < loaded < 1_100, "both kinds are many"


def test_damaged_files_are_refused_or_load() -> None:
    chance = random.Random(7)
    junk = "{}[]:,\"'-&*!|>%@#?\n\t 09aU\\\u202e\x00"
    for _ in range(150):
        cut = chance.randrange(len(FULL))
        noise = "".join(chance.choice(junk) for _ in range(chance.randint(0, 5)))
        _load(load_policy, FULL[:cut] + noise + FULL[cut + chance.randint(0, 30) :])


def test_what_fails_changes_nothing() -> None:
    before = POLICY.hash
    assert faults_of({"version": 1}) and POLICY.hash == before
