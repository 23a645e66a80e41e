"""Files and functions stay small enough to be read at once."""

from __future__ import annotations

import ast

from unit.house.sources import FLOORS, modules, named, tree

LONGEST_FILE = 500
LONGEST_FUNCTION = 70


def test_no_file_is_longer_than_500_lines() -> None:
    lines = {named(path): len(path.read_text("utf-8").splitlines()) for path in modules(*FLOORS)}
    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def test_no_function_is_longer_than_70_lines() -> None:
    lengths = {
        f"{named(path)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in modules(*FLOORS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in lengths.items() if count > LONGEST_FUNCTION} == {}


def test_every_module_says_what_it_is_for() -> None:
    assert [named(path) for path in modules(*FLOORS) if not ast.get_docstring(tree(path))] == []
