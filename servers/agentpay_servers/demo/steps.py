"""One step of the demo: who did what, what came back, and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Actor = Literal["agent", "operator"]


@dataclass(frozen=True)
class Step:
    """A call and its answer. `expected` names fields of the answer, with dots into what is nested, and their values."""

    number: int
    title: str
    actor: Actor
    call: str
    arguments: Mapping[str, object]
    text: str
    answer: Mapping[str, Any]
    expected: Mapping[str, object]

    @property
    def wrong(self) -> tuple[str, ...]:
        """What is not as expected; empty where all is."""
        return differences(f"step {self.number}, {self.call}", self.answer, self.expected)

    def data(self) -> dict[str, object]:
        """The step as JSON can hold it."""
        return {
            "number": self.number,
            "title": self.title,
            "actor": self.actor,
            "call": self.call,
            "arguments": self.arguments,
            "text": self.text,
            "answer": self.answer,
            "expected": self.expected,
            "ok": not self.wrong,
        }


def differences(where: str, found: Mapping[str, Any], expected: Mapping[str, object]) -> tuple[str, ...]:
    """One line for each field that has another value than expected."""
    return tuple(
        f"{where}: {path} is {look_up(found, path)!r}, expected {value!r}"
        for path, value in expected.items()
        if look_up(found, path) != value
    )


def look_up(found: Mapping[str, Any], path: str) -> object:
    """The value at `a.b.0.c`; None where there is none."""
    value: Any = found
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
