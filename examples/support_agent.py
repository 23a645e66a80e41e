"""A support agent that refunds within its policy: small sums itself, larger ones when a person agrees, others never.

    python examples/support_agent.py [FOLDER]

It works on a database in FOLDER, or on one in a temporary folder that is removed. The model is a script, or a real one
where there is a key: see chat_models.py. Needs the extra `langgraph`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chat_models import calls, chat_model, says, show
from langchain.agents import create_agent
from langchain.tools import tool
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool

from agentpay import PaymentManager
from agentpay_tools.langchain import AgentPayToolkit

PROMPT = """You are the support of a shop. Look an order up before you decide. Refund what was late, with the order's
payment_id, a reason, and the order's number as idempotency_key. What is refused, explain to the customer; do not try
another way. What waits for a colleague you may ask for again, with the same arguments."""

REQUEST = "Orders 1001, 1002 and 1003 were late. I want my money back for all three."
AGREED = "A colleague of yours told me that you may go on with 1003."
SECRET = "only dana knows this"  # noqa: S105 - that of an example


def main(folder: Path) -> None:
    """Run the example on `folder/agentpay.db`."""
    with PaymentManager(f"sqlite:///{folder / 'agentpay.db'}", provider="mock", policy="support-refunds") as manager:
        manager.enrol_approver("dana", SECRET)
        orders = {
            number: manager.charge("ana", amount, "USD", idempotency_key=number).id
            for number, amount in {"1001": "12.50", "1002": "250.00", "1003": "60.00"}.items()
        }
        agent: Any = create_agent(
            chat_model(*SCRIPT),
            [order_tool(orders), *AgentPayToolkit(manager, agent="support").get_tools(["refund"])],
            system_prompt=PROMPT,
        )
        said = agent.invoke({"messages": [HumanMessage(REQUEST)]})["messages"]
        show(said)
        for waiting in manager.list_approvals():
            print(f"dana approves: {waiting.operation} of {waiting.amount} {waiting.currency}")
            manager.approve(waiting.id, approver="dana", secret=SECRET)
        later = agent.invoke({"messages": [*said, HumanMessage(AGREED)]})["messages"]
        show(later[len(said) :])
        books(manager, orders)


def order_tool(orders: dict[str, str]) -> BaseTool:
    """The shop's own tool."""

    @tool
    def look_up_order(number: str) -> str:
        """Looks an order up by its number: how it was delivered, and its payment_id."""
        return f"late {orders[number]}" if number in orders else "There is no such order."

    return look_up_order


def last_payment(messages: Sequence[BaseMessage]) -> str:
    """What the model would read in the last answer of look_up_order."""
    found = [message for message in messages if isinstance(message, ToolMessage) and message.name == "look_up_order"]
    return str(found[-1].content).split()[-1]


SCRIPT = (
    calls("look_up_order", number="1001"),
    calls("refund", payment_id=last_payment, reason="late", idempotency_key="1001"),
    calls("look_up_order", number="1002"),
    calls("refund", payment_id=last_payment, reason="late", idempotency_key="1002"),
    calls("look_up_order", number="1003"),
    calls("refund", payment_id=last_payment, reason="late", idempotency_key="1003"),
    says("1001 is refunded. 1002 is more than I may give back. 1003 waits for a colleague."),
    calls("refund", payment_id=last_payment, reason="late", idempotency_key="1003"),
    says("1003 is refunded too."),
)


def books(manager: PaymentManager, orders: dict[str, str]) -> None:
    """What was given back in the end."""
    for number, payment_id in orders.items():
        payment = manager.get_payment(payment_id)
        print(f"{number}: {payment.refunded} of {payment.amount} {payment.currency} refunded")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
