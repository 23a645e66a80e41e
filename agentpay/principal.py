"""Who asks: every write records one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PrincipalKind = Literal["agent", "operator", "system"]


@dataclass(frozen=True)
class Principal:
    """An agent, an operator or the system itself. An agent's id comes from its credential, never from an argument."""

    kind: PrincipalKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


OPERATOR: Final = Principal("operator", "app")
"""The application's own code, calling the manager."""

SYSTEM: Final = Principal("system", "engine")
"""Recovery, renewal and expiry."""


def agent(agent_id: str) -> Principal:
    """The principal of an agent."""
    return Principal("agent", agent_id)
