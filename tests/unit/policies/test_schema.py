"""The JSON Schema: the committed file is the one that the description gives, and it agrees with the loader."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import agentpay_policies
from agentpay_policies.errors import PolicyError
from agentpay_policies.files import ready_file, ready_names
from agentpay_policies.language import SECTIONS
from agentpay_policies.loader import load_mapping
from agentpay_policies.schema import policy_schema, schema_text
from unit.policies.full import FULL
from unit.policies.helpers import EXAMPLE

FOLDER = Path(agentpay_policies.__file__).parents[1]
SCHEMA = jsonschema.Draft202012Validator(policy_schema())


def parsed(text: str) -> Any:
    """As an editor reads it: the plain YAML, where true is a boolean and 0.8 a number."""
    return yaml.safe_load(text)


def test_the_committed_schema_is_the_generated_one() -> None:
    """Run: python -m agentpay_policies.schema > policies/policy.schema.json"""
    assert (FOLDER / "policy.schema.json").read_text(encoding="utf-8") == schema_text()


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(policy_schema())


@pytest.mark.parametrize("text", [EXAMPLE, *map(ready_file, ready_names())])
def test_what_loads_is_valid(text: str) -> None:
    assert list(SCHEMA.iter_errors(parsed(text))) == []


@pytest.mark.parametrize("name", ready_names())
def test_every_ready_file_names_its_schema(name: str) -> None:
    assert "# yaml-language-server: $schema=" in ready_file(name).split("\nversion:")[0]


def test_the_whole_language_is_valid_by_the_schema() -> None:
    assert list(SCHEMA.iter_errors(parsed(FULL))) == []


def test_every_field_has_a_description_that_a_person_can_read() -> None:
    for section, fields in SECTIONS.items():
        assert fields, section
        for name, field in fields.items():
            assert field.says.endswith("."), (section, name)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(node, dict):
        return [path, *(place for key, child in node.items() for place in _places(child, (*path, key)))]
    if isinstance(node, list):
        return [place for i, child in enumerate(node) for place in _places(child, (*path, i))]
    return []


MAPPINGS = [path for path in _places(parsed(FULL)) if path and path[-1] not in ("agents", "lists", "categories")]
MAPPINGS = [path for path in MAPPINGS if path not in (("budgets",), ("approvers",))]


@pytest.mark.parametrize("path", MAPPINGS, ids=lambda path: ".".join(map(str, path)))
def test_the_schema_and_the_loader_refuse_an_unknown_key_anywhere(path: tuple[Any, ...]) -> None:
    damaged = copy.deepcopy(parsed(FULL))
    place = damaged
    for key in path:
        place = place[key]
    place["xyzzy"] = 1
    assert not SCHEMA.is_valid(damaged)
    with pytest.raises(PolicyError, match="xyzzy"):
        load_mapping(damaged)


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


def _keys() -> list[tuple[Any, ...]]:
    full = parsed(FULL)
    return [(*path, key) for path in MAPPINGS for key in _at(full, path)]


@pytest.mark.parametrize("path", _keys(), ids=lambda path: ".".join(map(str, path)))
def test_a_key_that_is_mistyped_is_never_just_ignored(path: tuple[Any, ...]) -> None:
    """Never a looser policy: each key of the whole language, misspelt, is refused by the loader."""
    *above, key = path
    if above in (["agents"], ["budgets"], ["approvers"]):
        return
    damaged = copy.deepcopy(parsed(FULL))
    place = _at(damaged, tuple(above))
    place[f"{key}_"] = place.pop(key)
    with pytest.raises(PolicyError):
        load_mapping(damaged)
    assert not SCHEMA.is_valid(damaged)


@pytest.mark.parametrize("path", _keys(), ids=lambda path: ".".join(map(str, path)))
def test_a_value_of_another_type_is_refused_by_both(path: tuple[Any, ...]) -> None:
    *above, key = path
    for value in (1.5, None):
        damaged = copy.deepcopy(parsed(FULL))
        _at(damaged, tuple(above))[key] = value
        with pytest.raises(PolicyError):
            load_mapping(damaged)
        assert not SCHEMA.is_valid(damaged), value
