"""A research agent with a daily allowance: it buys articles, and for a dear one the graph waits for a person.

    python examples/research_agent.py [FOLDER]

It works on a database in FOLDER, or on one in a temporary folder that is removed. The model is a script, or a real one
where there is a key: see chat_models.py. Needs the extra `langgraph`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from chat_models import calls, chat_model, says, show
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from agentpay import PaymentManager
from agentpay_tools.langchain import AgentPayToolkit

POLICY = {
    "version": 1,
    "id": "research",
    "agents": {
        "researcher": {
            "tools": ["charge"],
            "providers": {"allow": ["mock"]},
            "currencies": {"allow": ["USD"]},
            "customers": {"allow": ["lab"]},
            "payees": {"allow": ["self"]},
            "charge": {
                "per_transaction": {"max": "15.00 USD"},
                "limits": [{"id": "day", "amount": "20.00 USD", "window": {"rolling": "24h"}}],
            },
            "approvals": [
                {"id": "dear", "when": {"amount_over": "5.00 USD"}, "approvers": "lab", "quorum": 1, "expires": "4h"}
            ],
        }
    },
    "approvers": {"lab": {"members": ["olga"]}},
}
SECRET = "only olga knows this"  # noqa: S105 - that of an example

PROMPT = """You buy articles for the customer lab, in USD, with the article's name as description and idempotency_key.
Prices: Short 3.00, Long 12.00, Extra 9.00. Buy in the order in which you are asked. What is refused, leave, and say
so at the end."""


def main(folder: Path) -> None:
    """Run the example on `folder/agentpay.db`."""
    with PaymentManager(f"sqlite:///{folder / 'agentpay.db'}", provider="mock", policy=POLICY) as manager:
        manager.enrol_approver("olga", SECRET)
        toolkit = AgentPayToolkit(manager, agent="researcher", interrupt=True)
        agent: Any = create_agent(
            chat_model(*SCRIPT), toolkit.get_tools(), system_prompt=PROMPT, checkpointer=InMemorySaver()
        )
        thread = {"configurable": {"thread_id": "research"}}
        said = agent.invoke({"messages": [HumanMessage("Buy Short, Long and Extra.")]}, thread)
        while waiting := said.get("__interrupt__"):
            for one in waiting:
                decide(manager, one.value)
            said = agent.invoke(Command(resume="go on"), thread)  # what is said here decides nothing
        show(said["messages"])
        spent = sum(payment.amount for payment in manager.list_payments("lab") if payment)
        print(f"Spent: {spent} USD of 20.00 a day")


def decide(manager: PaymentManager, card: dict[str, Any]) -> None:
    """A person reads the card and approves, with a secret that no agent has."""
    print(f"The graph waits: {card['operation']} of {card['amount']} {card['currency']}, {card['description']}")
    manager.approve(card["id"], approver="olga", secret=SECRET)
    print("olga approves")


def buy(name: str, amount: str) -> Any:
    """A step that buys an article."""
    return calls("charge", customer="lab", amount=amount, currency="USD", description=name, idempotency_key=name)


SCRIPT = (
    buy("Short", "3.00"),
    buy("Long", "12.00"),
    buy("Extra", "9.00"),
    says("I bought Short and Long. Extra is more than is left of today's allowance."),
)

if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
