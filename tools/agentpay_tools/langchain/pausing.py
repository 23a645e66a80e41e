"""Human in the loop by LangGraph's rules: a parked payment interrupts the graph, and the database alone resumes it.

What comes with the resume is thrown away: whoever may resume a graph need not be allowed to approve. The call is made
again instead, with its own key, and the engine answers by the approval's row: still waiting, and the graph is
interrupted again; approved, and it runs, once; denied, and it is refused, whatever the graph replays.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from langchain_core.runnables import RunnableConfig

from agentpay.errors import ConfigurationError
from agentpay_policies.text import escaped
from agentpay_tools import texts
from agentpay_tools.handle import Handle

if TYPE_CHECKING:
    from agentpay.spending.models import Approval

Card = dict[str, Any]
"""What the graph is interrupted with: plain JSON, for people to decide by."""

_CHECKPOINTER: Final = "__pregel_checkpointer"


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


def card(handle: Handle, approval_id: str) -> Card:
    """The card of an approval, with every hidden character shown: people decide by it."""
    return _shown(handle.get_approval(approval_id))


def _shown(found: Approval) -> Card:
    told = {
        "type": "agentpay.approval",
        "approval_id": found.id,
        "payment_id": found.payment_id,
        "agent": found.agent,
        "operation": found.operation,
        "direction": found.direction,
        "amount": format(found.amount, "f"),
        "currency": found.currency,
        "customer": found.customer,
        "payee": found.payee,
        "provider": found.provider,
        "description": found.description,
        "expires_at": texts.iso(found.expires_at),
        "url": found.url,
        "how": f"agentpay approvals approve {found.id}; then resume the graph, with any value: it decides nothing.",
    }
    shown: Card = {name: escaped(value) for name, value in told.items() if value is not None}
    return {**shown, "payee_is_new": found.payee_is_new, "votes": found.votes, "needed": found.needed}
