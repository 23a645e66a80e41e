"""The loader on YAML and on hostile input: every fault at once, by line, and nothing but PolicyError."""

from __future__ import annotations

import copy
import time
from typing import Any, cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpay_policies.errors import PolicyError
from agentpay_policies.files import ready_file
from agentpay_policies.loader import load_mapping, load_policy
from agentpay_policies.policy import Policy
from agentpay_policies.tree import MAX_BYTES, MAX_DEPTH, MAX_FAULTS
from unit.policies.helpers import EXAMPLE


def load_faults(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_policy(text)
    assert caught.value.faults == tuple(sorted(caught.value.faults, key=lambda fault: fault.line))
    return [str(fault) for fault in caught.value.faults]


# ---- YAML


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("# nothing", "the file is empty"),
        ("[]", "must be a mapping"),
        ("text", "must be a mapping"),
        ("a: &x b", "anchors"),
        ("a: *x", "anchors"),
        ("a: !!python/object/apply:os.system [ls]", "tags"),
        ("a: !!str 5", "tags"),
        ("a: ! b", "tags"),
        ("<<: {version: 1}", "merge keys"),
        ("a: 1\n---\na: 1", "more than one document"),
        ("a: [", "this is no YAML"),
        ("a: b: c", "this is no YAML"),
        ("\ta: b", "this is no YAML"),
        ("a: \x00", "this is no YAML"),
        ("a: \ud800", "this is no YAML"),
        ('a: "\\UFFFFFFFF"', "this is no YAML"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: b", "this is no YAML"),
        ("? [a]\n: b", "a key is text"),
        ("? {a: b}\n: b", "a key is text"),
        ("[" * 100_000, "nested deeper"),
        ("- " * 100_000, "nested deeper"),
        ("a: " + "x" * MAX_BYTES, "larger than"),
        ("é" * (MAX_BYTES // 2 + 1), "larger than"),
        ("[" + "0," * 60_000 + "]", "more than 50000 entries"),
    ],
)
def test_what_is_no_plain_yaml(text: str, said: str) -> None:
    started = time.perf_counter()
    assert any(said in fault for fault in load_faults(text))
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    "word",
    [
        "NO",
        "no",
        "Yes",
        "on",
        "OFF",
        "true",
        "y",
        "N",
        "08:30",
        "12:30",
        "12:30:45",
        "1",
        "007",
        "0x1F",
        "1_000",
        "1.5",
        "1e3",
        ".inf",
        ".nan",
        "~",
        "null",
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "=",
        "",
    ],
)
def test_what_yaml_would_guess_must_be_quoted(word: str) -> None:
    faults = load_faults(f"version: 1\nid: {word}\nagents: {{}}\n")
    assert faults in ([f'line 2: id: write it in quotes: "{word}"'], ["line 2: id: is empty"])


@pytest.mark.parametrize("word", ["NO", "y", "08:30", "1"])
def test_a_quoted_word_is_text_and_an_unquoted_key_is_refused(word: str) -> None:
    name = word.replace(":", "-")
    assert load_policy(f'version: 1\nid: "{name}"\nagents: {{}}\n').id == name
    assert any(
        "write this key in quotes" in fault for fault in load_faults(f"version: 1\nid: a\nagents: {{{word}: {{}}}}")
    )


def test_every_fault_is_named_with_its_line() -> None:
    text = """\
version: 2
id: NO
agents:
  bot:
    tols: [charge]
    notify: [1.8]
    currencies: {allow: [USD, XXX]}
    payees: {allow: [self, "@none", "stripe:acct"]}
    charge:
      per_transaction: {max: 5.00}
      limits:
        - {id: x, amount: "5 EUR", window: {rolling: 24}}
        - {id: x, amount: "5.001 USD", window: lifetime, per: colour}
    approvals:
      - {id: big, when: {payee: new}, approvers: nobody}
  bot: {}
"""
    faults = load_faults(text)
    for line, pointer in [
        (1, "version"),
        (2, "id"),
        (5, "agents.bot.tols"),
        (6, "agents.bot.notify[0]"),
        (7, "agents.bot.currencies.allow[1]"),
        (8, "agents.bot.payees.allow[1]"),
        (8, "agents.bot.payees.allow[2]"),
        (10, "agents.bot.charge.per_transaction.max"),
        (12, "agents.bot.charge.limits.x.window.rolling"),
        (13, "agents.bot.charge.limits.x"),
        (13, "agents.bot.charge.limits.x.amount"),
        (13, "agents.bot.charge.limits.x.per"),
        (15, "agents.bot.approvals.big.approvers"),
        (16, "agents.bot"),
    ]:
        assert [fault for fault in faults if fault.startswith(f"line {line}: {pointer}: ")], (line, pointer, faults)
    assert "did you mean tools?" in faults[2]
    assert "notify" in faults[3]
    assert faults[-1].endswith("the key 'bot' stands twice")


def test_the_error_says_how_many_and_shows_the_first() -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy("id: 5\n")
    error = caught.value
    assert error.code == "POLICY_INVALID"
    assert "3 faults" in error.message and "write it in quotes" in error.message
    assert "agentpay policy check" in error.next_step


def test_of_very_many_faults_the_first_are_shown() -> None:
    faults = load_faults("version: 1\nid: a\nagents:\n" + "".join(f"  {number}: {{}}\n" for number in range(1000)))
    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1].endswith("and 900 more faults")


# ---- hostile input


def test_a_mapping_that_holds_itself_ends() -> None:
    mapping: dict[str, Any] = {"version": 1, "id": "a"}
    mapping["agents"] = mapping
    with pytest.raises(PolicyError, match=f"deeper than {MAX_DEPTH}"):
        load_mapping(mapping)


def test_a_mapping_that_explodes_ends() -> None:
    node: Any = ["x"] * 10
    for _ in range(15):
        node = [node] * 10
    with pytest.raises(PolicyError, match="more than 50000 entries"):
        load_mapping({"agents": node})


@pytest.mark.parametrize("value", [None, 5, "text", ["a"], b"bytes"])
def test_what_is_no_mapping(value: Any) -> None:
    with pytest.raises(PolicyError):
        load_mapping(cast("dict[str, object]", value))
    with pytest.raises(PolicyError):
        load_policy(cast("str", value))


def _either(load: Any, value: Any) -> Policy | None:
    try:
        return cast("Policy", load(value))
    except PolicyError as exc:
        assert exc.faults
        return None


@settings(max_examples=150, deadline=None)
@given(
    st.text(alphabet=st.characters(codec=None), max_size=200)
    | st.text(alphabet="[]{}:,-&*!|>'\"%@#? \n\tay1.\\xUN", max_size=80)
)
def test_any_text_loads_or_raises_policy_error(text: str) -> None:
    _either(load_policy, text)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["*", "5 USD", "1h"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in _places(child, (*path, key)))]


SOURCES = [yaml.safe_load(EXAMPLE), yaml.safe_load(ready_file("starter"))]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_value_anywhere_loads_or_raises_policy_error(data: st.DataObject) -> None:
    """One place of a good policy is replaced. It loads or is refused; what loads survives its row."""
    source: Any = copy.deepcopy(data.draw(st.sampled_from(SOURCES)))
    path = data.draw(st.sampled_from([place for place in _places(source) if place]))
    place = source
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = data.draw(VALUES)
    policy = _either(load_mapping, source)
    if policy is not None:
        assert Policy.from_json(policy.to_json()) == policy


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_file_loads_or_raises_policy_error(data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(EXAMPLE)))
    more = data.draw(st.integers(0, 20))
    junk = data.draw(st.text(alphabet="{}[]:,\"'-&*!\n 09aU\\", max_size=6))
    _either(load_policy, EXAMPLE[:cut] + junk + EXAMPLE[cut + more :])
