"""One hierarchy of errors: each class with a code of its own, what to do next, and its place in the drawn tree."""

from __future__ import annotations

import re

import agentpay.errors
import agentpay_policies.errors
from agentpay.errors import AgentPayError

CLASSES: dict[str, type[AgentPayError]] = {name: getattr(agentpay.errors, name) for name in agentpay.errors.__all__}

_LINE = re.compile(r"^[ │]*(?:[├└]── )?(?P<name>[A-Z]\w+)(?:\s+(?P<code>[A-Z][A-Z_]+)\b)?")


def test_every_error_class_of_the_module_is_exported() -> None:
    there = {
        name
        for module in (agentpay.errors, agentpay_policies.errors)
        for name, found in vars(module).items()
        if isinstance(found, type) and issubclass(found, AgentPayError)
    }
    assert there == set(CLASSES)


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [error.code for error in CLASSES.values()]
    assert sorted(set(codes)) == sorted(codes)
    assert [code for code in codes if not re.fullmatch(r"[A-Z][A-Z_]*[A-Z]", code)] == []
    assert [name for name, error in CLASSES.items() if "code" not in vars(error)] == []


def test_every_class_says_what_to_do_next_and_what_it_means() -> None:
    for name, error in CLASSES.items():
        assert error.default_next_step.strip(), name
        assert (error.__doc__ or "").strip(), name


def test_the_trees_drawn_in_the_docstrings_are_the_hierarchy() -> None:
    drawn: dict[str, tuple[str | None, str | None]] = {}
    for module in (agentpay_policies.errors, agentpay.errors):
        drawn |= _tree(module.__doc__ or "")
    assert sorted(set(CLASSES) - set(drawn)) == []
    for name, (parent, code) in drawn.items():
        assert parent is None or CLASSES[parent] in CLASSES[name].__bases__, name
        assert code in (None, CLASSES[name].code), name


def _tree(text: str) -> dict[str, tuple[str | None, str | None]]:
    """Each name of a drawn tree, with the name above it and the code beside it."""
    found: dict[str, tuple[str | None, str | None]] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if "── " not in line and not line.strip().startswith("AgentPayError"):
            continue
        match = _LINE.match(line)
        assert match is not None, line
        depth = match.start("name")
        above = [(place, name) for place, name in above if place < depth]
        found[match["name"]] = (above[-1][1] if above else None, match["code"])
        above.append((depth, match["name"]))
    return found
