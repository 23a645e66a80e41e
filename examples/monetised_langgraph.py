"""A LangGraph app that is sold: model tokens are metered against the customer's plan, a search is paid for each time.

    python examples/monetised_langgraph.py [FOLDER]

It works on a database in FOLDER, or on one in a temporary folder that is removed. The model is a script, or a real one
where there is a key: see chat_models.py. Needs the extra `langgraph`.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat_models import Step, calls, chat_model, says, show
from langchain.agents import create_agent
from langchain.tools import tool
from langchain_core.messages import HumanMessage
from langgraph.runtime import get_runtime

from agentpay import BillingPeriod, Feature, Payment, PaymentManager, PaymentPlan, PaymentType
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_store import books_beside
from agentpay_tools.middleware import MeteringMiddleware
from agentpay_tools.paid import PaidTools

PRO = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    currency="USD",
    billing_period=BillingPeriod.MONTHLY,
    features=[Feature("llm_tokens", limit=20000)],
)
PROMPT = "Answer shortly. For what is new, use search, once. If it has to be paid for, say where."


@dataclass
class Signed:
    """Who is signed in: the web server knows, and nobody else says so."""

    customer: str


def main(folder: Path) -> None:
    """Run the example on `folder/agentpay.db`."""
    url = f"sqlite:///{folder / 'agentpay.db'}"
    mock = MockProvider(books_beside(url))
    with PaymentManager(url, provider=mock) as manager:
        manager.create_plan(PRO)
        manager.subscribe("acme", "pro", idempotency_key="acme-pro")
        ask(manager, "acme", "What is new about cats?", calls("search", query="cats"), says("It has to be paid first."))
        pay(manager, mock, "acme")
        ask(manager, "acme", "What is new about cats?", calls("search", query="cats"), says("Cats sleep more."))
        ask(manager, "guest", "And about dogs?", says("This is never said."))
        left = manager.check_access("acme", "llm_tokens").remaining
        print(f"Tokens left: {'fewer' if left is not None and left < 20000 else 'all'}; credit: {credit(manager)}")


def ask(manager: PaymentManager, customer: str, question: str, *script: Step) -> None:
    """One run of the app, for whoever is signed in."""
    paid = PaidTools(
        manager,
        customer=lambda: get_runtime(Signed).context.customer,
        success_url="https://app.example/paid",
        cancel_url="https://app.example/back",
        checkout=lambda *given, **wanted: checkout(manager, *given, **wanted),
    )

    @paid.langchain(price="0.20 USD", top_up="5.00 USD")
    @tool
    def search(query: str) -> str:
        """Searches what is new."""
        return f"New about {query}: they sleep more."

    metering = MeteringMiddleware(
        manager, customer=lambda context: context.customer, tokens="llm_tokens", tokens_per_call=4000
    )
    app: Any = create_agent(
        chat_model(*script), [search], system_prompt=PROMPT, middleware=[metering], context_schema=Signed
    )
    print(f"[{customer}]")
    show(app.invoke({"messages": [HumanMessage(question)]}, context=Signed(customer))["messages"])


def checkout(manager: PaymentManager, customer: str, **wanted: Any) -> Payment:
    """A page where the customer pays: the mock's, which wants the customer to act. With Stripe leave `checkout` out."""
    manager.link_customer(customer, "mock", f"action-lookup-{customer}")
    return manager.charge(
        customer,
        wanted["amount"],
        wanted["currency"],
        description=wanted["description"],
        idempotency_key=wanted["idempotency_key"],
    )


def pay(manager: PaymentManager, mock: MockProvider, customer: str) -> None:
    """What the customer does in a browser."""
    waiting = next(payment for payment in manager.list_payments(customer) if payment.status == "requires_action")
    mock.customer_acts(str(waiting.url).rsplit("/", 1)[-1])
    print(f"{customer} pays {waiting.amount} {waiting.currency} at the address")


def credit(manager: PaymentManager) -> str:
    """What acme has left."""
    return ", ".join(str(money) for money in manager.credits_of("acme"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
