"""The public surface, the ready files, the registry, and what importing the ground may load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import agentpay_policies
from agentpay_policies.codes import VIOLATIONS
from agentpay_policies.errors import ConfigurationError
from agentpay_policies.files import ready_file, ready_names
from agentpay_policies.loader import load_policy
from agentpay_policies.names import TOOL_NAMES
from unit.policies.helpers import charge, decide, refund, subscribe


def test_the_surface_is_closed_and_whole() -> None:
    assert list(agentpay_policies.__all__) == sorted(
        agentpay_policies.__all__, key=lambda name: (not name.isupper(), name)
    )
    assert all(hasattr(agentpay_policies, name) for name in agentpay_policies.__all__)


def test_what_an_import_of_the_ground_loads() -> None:
    heavy = [
        "yaml",
        "idna",
        "iso4217",
        "eth_hash",
        "sqlalchemy",
        "sqlmodel",
        "pydantic",
        "socket",
        "sqlite3",
        "random",
        "uuid",
        "difflib",
    ]
    code = f"import sys, agentpay_policies; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_code_has_a_meaning_and_a_next_step() -> None:
    for code, entry in VIOLATIONS.items():
        assert code == entry.code == code.upper()
        assert entry.meaning.endswith(".") and entry.next_step.endswith(".")


@pytest.mark.parametrize("name", ready_names())
def test_every_ready_file_loads_without_a_warning(name: str) -> None:
    assert load_policy(ready_file(name)).warnings == ()


def test_the_starter_is_there_and_is_what_it_says() -> None:
    assert "starter" in ready_names()
    assert ready_file("starter") == (Path(agentpay_policies.__file__).parents[1] / "starter.yaml").read_text()
    policy = load_policy(ready_file("starter"))
    assert policy.tools_of("support-bot") == frozenset(TOOL_NAMES)
    assert policy.approver_names() == {"owner"}
    for request, outcome in [
        (charge("25.00", agent="support-bot"), "allow"),
        (charge("25.01", agent="support-bot"), "approve"),
        (charge("50.01", agent="support-bot"), "deny"),
        (charge("25.00", "EUR", agent="support-bot"), "deny"),
        (charge("25.00", agent="support-bot", payee="stripe:acct_1"), "deny"),
        (subscribe("any", "25.00", agent="support-bot"), "allow"),
        (refund("25.00", agent="support-bot"), "allow"),
        (charge("25.00", agent="shopper"), "deny"),
    ]:
        assert decide(policy, request).outcome == outcome


@pytest.mark.parametrize(
    "name", ["", "none", "../starter", "starter.yaml", "/etc/passwd", "START", "starter\n", "a" * 500]
)
def test_an_unknown_name_is_answered_with_what_there_is(name: str) -> None:
    with pytest.raises(ConfigurationError, match="starter") as caught:
        ready_file(name)
    assert caught.value.next_step
