"""What a tool is: one frozen object, from which MCP, LangChain and the committed schemas are rendered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from agentpay_policies.names import ToolName
from agentpay_tools.arguments import Arguments
from agentpay_tools.handle import Handle
from agentpay_tools.outputs import Output

A = TypeVar("A", bound=Arguments)
O = TypeVar("O", bound=Output)  # noqa: E741 - A and O: arguments and output

MoneyOperation = Literal["charge", "subscribe", "refund"]
"""The operations that make a payment, and under which `get_payment` finds it by its key."""

Answer = tuple[O, Sequence[str]]
"""What a handler gives: the body, and the text for the model, line by line."""


@dataclass(frozen=True)
class Hints:
    """What MCP lets a tool say about itself. Hints only: nothing relies on a client reading them."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool


@dataclass(frozen=True)
class Spec(Generic[A, O]):
    """One tool. `handler` may raise any AgentPayError: the boundary makes a refusal of it.

    `money` names the operation under which the tool's payment is found by its key; None where a tool makes none.
    """

    name: ToolName
    title: str
    description: str
    arguments: type[A]
    output: type[O]
    hints: Hints
    handler: Callable[[Handle, A], Answer[O]]
    money: MoneyOperation | None = None


AnySpec = Spec[Any, Any]
