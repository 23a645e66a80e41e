"""Stripe's form encoding, read: `metadata[a]=b&expand[0]=c` as nested data. Every leaf is text, as it arrived."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl

_PART: Final = re.compile(r"[^\[\]]+")


def parsed(text: str) -> dict[str, Any]:
    """The parameters of a query or a body."""
    made: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        parts = _PART.findall(name)
        holder = made
        for part in parts[:-1]:
            holder = holder.setdefault(part, {})
        holder[parts[-1]] = value
    return {name: _lists(value) for name, value in made.items()}


def _lists(value: Any) -> Any:
    """A mapping by the numbers from 0 is a list."""
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(one) for name, one in value.items()}
    if inner and all(name.isdigit() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner
