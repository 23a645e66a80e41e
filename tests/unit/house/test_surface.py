"""The public surface is closed: what `agentpay` exports is what its `__all__` says, and nothing slips in."""

from __future__ import annotations

import ast
import inspect
import types
from pathlib import Path

import pytest

import agentpay
import agentpay.errors
from unit.house.sources import tree

FLOORS_BELOW = ("agentpay", "agentpay_policies")


def test_every_exported_name_is_there_once_and_in_order() -> None:
    assert len(set(agentpay.__all__)) == len(agentpay.__all__)
    assert [name for name in agentpay.__all__ if not hasattr(agentpay, name)] == []


def test_what_type_checkers_see_is_what_is_loaded_when_asked_for() -> None:
    module = tree(Path(str(agentpay.__file__)))
    (seen,) = [node for node in module.body if isinstance(node, ast.If)]
    names = {
        alias.asname or alias.name for node in seen.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert names | {"__version__"} == set(agentpay.__all__)
    assert set(dir(agentpay)) == set(agentpay.__all__)


def test_any_other_name_is_missing() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = agentpay.no_such_name


def test_nothing_public_is_there_that_is_not_exported() -> None:
    """Modules of the package stand among its names as soon as they are imported: those are no part of the surface."""
    public = {
        name
        for name, found in vars(agentpay).items()
        if not name.startswith("_") and not isinstance(found, types.ModuleType)
    }
    assert public <= set(agentpay.__all__)


def test_every_exported_class_and_function_is_ours_and_documented() -> None:
    for name in agentpay.__all__:
        found = getattr(agentpay, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert found.__module__.partition(".")[0] in FLOORS_BELOW, name
            assert (found.__doc__ or "").strip(), name
            assert found.__name__ == name


def test_every_exported_error_is_in_the_tree() -> None:
    exported = {name for name in agentpay.__all__ if inspect.isclass(getattr(agentpay, name))}
    errors = {name for name in exported if issubclass(getattr(agentpay, name), agentpay.AgentPayError)}
    assert errors <= set(agentpay.errors.__all__)
