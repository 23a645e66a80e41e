"""Human in the loop by LangGraph's rules: a parked payment interrupts the graph, and the database alone resumes it.

What comes with the resume is thrown away: whoever may resume a graph need not be allowed to approve. The call is made
again instead, with its own key, and the engine answers by the approval's row: still waiting, and the graph is
interrupted again; approved, and it runs, once; denied, and it is refused, whatever the graph replays.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

from langchain_core.runnables import RunnableConfig

from agentpay.errors import ConfigurationError
from agentpay_policies.text import escaped

if TYPE_CHECKING:
    from agentpay.spending import cards

Card = dict[str, Any]
"""What the graph is interrupted with: plain JSON, for people to decide by."""

_FIGURES: Final = frozenset({"limits", "today"})

_CHECKPOINTER: Final = "__pregel_checkpointer"


class Cards(Protocol):
    """Who has the cards of approvals: a `PaymentManager`."""

    def approval_card(self, approval_id: str) -> cards.Card: ...


def need_langgraph() -> None:
    """Refuse to start where graphs cannot be interrupted.

    Raises:
        ConfigurationError: LangGraph is not installed.
    """
    if find_spec("langgraph") is None:
        raise ConfigurationError("interrupt=True needs LangGraph.", next_step="Install agentpay-engine[langgraph].")


def can_pause(config: RunnableConfig | None) -> bool:
    """Whether the call runs in a graph that keeps its state. Without that an interrupt could never be resumed."""
    return bool(((config or {}).get("configurable") or {}).get(_CHECKPOINTER))


def pause(card: Card) -> None:
    """Interrupt the graph; or go on, where it is resumed. With what does not matter."""
    from langgraph.types import interrupt

    interrupt(card)


def card(holder: Cards, approval_id: str) -> Card:
    """The card of an approval, with every hidden character shown: people decide by it.

    Without what the agent and its budgets have spent: the graph keeps the card where the agent's side can read it.
    `agentpay approvals show` has that too.
    """
    told = {name: value for name, value in holder.approval_card(approval_id).as_data().items() if name not in _FIGURES}
    return {
        "type": "agentpay.approval",
        **{name: _shown(value) for name, value in told.items()},
        "how": f"agentpay approvals approve {approval_id}; then resume the graph, with any value: it decides nothing.",
    }


def _shown(value: Any) -> Any:
    match value:
        case str():
            return escaped(value)
        case list():
            return [_shown(one) for one in value]
        case dict():
            return {name: _shown(one) for name, one in value.items()}
        case _:
            return value
