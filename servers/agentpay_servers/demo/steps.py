"""The steps of a demo: who did what, what came back, and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from agentpay_servers.output import plain

if TYPE_CHECKING:
    from agentpay_servers.demo.transcript import Transcript

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


@dataclass
class Steps:
    """The steps of a story as they happen: each is kept, and shown where somebody reads along."""

    transcript: Transcript | None
    kept: list[Step] = field(default_factory=list)

    def add(
        self,
        title: str,
        actor: Actor,
        call: str,
        arguments: Mapping[str, object],
        text: str,
        answer: Mapping[str, Any],
        expected: Mapping[str, object],
    ) -> None:
        """Keep a step, and show it."""
        values = {name: plain(value) for name, value in answer.items()}
        step = Step(len(self.kept) + 1, title, actor, call, arguments, text, values, expected)
        self.kept.append(step)
        if self.transcript is not None:
            self.transcript.step(step)


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
