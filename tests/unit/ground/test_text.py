"""Hostile text: stripped for agents, escaped for people, and ids kept exactly or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpay_policies.errors import ValidationError
from agentpay_policies.text import escaped, free_text, identifier, stripped

HIDDEN = [
    "\x00",
    "\x07",
    "\x1b",
    "\x7f",
    "\u200b",
    "\u200e",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\u00ad",
    "\ud800",
    "\ue000",
    "\U000e0041",
    "\u3164",
    "\u2028",
    "\u2800",
]


@pytest.mark.parametrize("char", HIDDEN)
def test_what_hides_is_stripped_or_shown(char: str) -> None:
    assert stripped(f"a{char}b") == "ab"
    shown = escaped(f"a{char}b")
    assert shown.isascii() and shown.startswith("a\\") and shown.endswith("b")


@pytest.mark.parametrize("char", HIDDEN)
def test_what_hides_is_no_part_of_an_id(char: str) -> None:
    with pytest.raises(ValidationError, match="invisible"):
        identifier(f"a{char}b", "customer")


def test_line_breaks_become_spaces() -> None:
    assert stripped("a\r\n\tb") == "a   b"


@pytest.mark.parametrize(
    "value", ["alice", "O'Brien", "a & b", "🦉", "👩‍💻", "❤️", "x' OR 1=1; --", "ä" * 200, "日本", "a b"]
)
def test_ids_are_opaque_and_kept(value: str) -> None:
    assert identifier(value, "customer") == value
    assert "🦉" in stripped("🦉")


@pytest.mark.parametrize("value", ["", " ", "\n", "a" * 201, "x" * 10_000, None, 5, True, b"a", ["a"]])
def test_what_is_no_id(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        identifier(value, "customer")
    assert caught.value.code == "INVALID_ARGUMENT"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("value", ["", " ", "a" * 501, None, 5])
def test_what_is_no_free_text(value: Any) -> None:
    with pytest.raises(ValidationError):
        free_text(value, "description")


@given(st.text(alphabet=st.characters(codec=None), min_size=1, max_size=50))
def test_free_text_is_always_storable_and_hidden_text_never_survives(text: str) -> None:
    if text.strip():
        kept = free_text(text, "description")
        assert len(kept) == len(text)
        kept.encode("utf-8")
        assert "\x00" not in kept
    assert stripped(stripped(text)) == stripped(text)
    stripped(text).encode("utf-8")
