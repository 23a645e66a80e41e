"""A price on somebody's own tools, over MCP and in LangChain: an unpaid call is an offer, the same until it is paid."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.tools import ToolRuntime, tool
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, ToolException
from mcp import Client
from mcp.server import MCPServer
from mcp.types import CallToolResult, TextContent

from agentpay import BillingPeriod, ConfigurationError, Feature, Payment, PaymentPlan, PaymentType, ValidationError
from agentpay_tools.paid import OFFER, PaidTools
from support.bench import Bench
from support.models import Scripted, agent_of, answers, calls, says

PRO = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    billing_period=BillingPeriod.MONTHLY,
    features=[Feature("search", limit=2)],
)
PRICE: dict[str, Any] = {"price": "0.05 USD", "top_up": "1.00 USD"}
URLS = {"success_url": "https://shop.example/done", "cancel_url": "https://shop.example/back"}

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """The customer acme pays at an address of the mock's, and nobody else does."""
    bench.manager.create_plan(PRO)
    bench.manager.link_customer("acme", "mock", "action-lookup-acme")
    return bench


def checkout(bench: Bench) -> Any:
    """A checkout made of the mock's charges, which want the customer at an address."""

    def make(customer: str, **wanted: Any) -> Payment:
        key = wanted["idempotency_key"]
        assert (wanted["success_url"], wanted["cancel_url"]) == (URLS["success_url"], URLS["cancel_url"])
        if wanted.get("plan"):
            found = bench.manager.subscribe(customer, wanted["plan"], idempotency_key=key)
            return bench.manager.get_payment(str(found.payment_id))
        return bench.manager.charge(
            customer, wanted["amount"], wanted["currency"], description=wanted["description"], idempotency_key=key
        )

    return make


def paid_tools(bench: Bench, customer: Any = "acme", **options: Any) -> PaidTools:
    return PaidTools(bench.manager, customer=customer, **{**URLS, "checkout": checkout(bench), **options})


def pays(bench: Bench, customer: str = "acme") -> None:
    """The customer opens every address that waits, and pays."""
    for payment in bench.manager.list_payments(customer):
        if payment.status == "requires_action":
            (reference,) = [row.reference for row in bench.attempts(payment.id)]
            bench.mock.customer_acts(reference)


class Searching:
    """A tool of somebody's, which counts how often it ran."""

    def __init__(self, paid: PaidTools, **price: Any) -> None:
        self.ran: list[str] = []

        @tool
        def search(query: str) -> str:
            """Searches."""
            self.ran.append(query)
            if query == "break":
                raise RuntimeError("broken")
            return f"found {query}"

        self.tool: BaseTool = paid.langchain(**price)(search)

    def __call__(self, query: str = "cats", **more: Any) -> ToolMessage:
        made = self.tool.invoke({"type": "tool_call", "id": "1", "name": "search", "args": {"query": query, **more}})
        assert isinstance(made, ToolMessage)
        return made


def test_an_unpaid_call_is_an_offer_and_the_same_one_until_it_is_paid(shop: Bench) -> None:
    search = Searching(paid_tools(shop), **PRICE)
    first, again = search(), search("dogs")
    assert first.status == again.status == "error"
    assert search.ran == []
    offer = first.artifact["offer"]
    assert offer == again.artifact["offer"]
    assert (offer["amount"], offer["currency"], offer["payment_status"]) == ("1.00", "USD", "requires_action")
    assert offer["url"] in str(first.content)
    assert "search costs 0.05 USD a unit" in str(first.content)
    assert first.artifact["error"]["code"] == "CREDITS_EXHAUSTED"
    assert shop.movements() == 0
    assert len(shop.manager.list_payments("acme")) == 1


def test_what_was_paid_is_credit_once_and_each_call_draws_on_it(shop: Bench) -> None:
    search = Searching(paid_tools(shop), **PRICE)
    search()
    pays(shop)
    for _ in range(20):  # 1.00 USD at 0.05 USD
        assert search().status == "success"
    assert [str(money) for money in shop.manager.credits_of("acme")] in ([], ["0.00 USD"])
    assert search().artifact["offer"]["payment_status"] == "requires_action"  # a second top-up
    assert len(search.ran) == 20
    assert (shop.moved(), len(shop.manager.list_payments("acme"))) == (100, 2)
    pays(shop)
    assert search().status == "success"
    assert [str(money) for money in shop.manager.credits_of("acme")] == ["0.95 USD"]


def test_a_top_up_of_which_a_part_was_given_back_is_credit_for_the_rest(shop: Bench) -> None:
    search = Searching(paid_tools(shop), **PRICE)
    search()
    pays(shop)
    (paid,) = shop.manager.list_payments("acme")
    shop.manager.verify_payment(paid.id)
    shop.manager.refund(paid.id, "0.40", reason="x", idempotency_key="r")
    assert search().status == "success"
    assert [str(money) for money in shop.manager.credits_of("acme")] == ["0.55 USD"]
    shop.manager.refund(paid.id, "0.10", reason="x", idempotency_key="r2")
    assert [search().status for _ in range(12)] == ["success"] * 11 + ["error"]  # and it stays what it became


def test_a_price_a_unit(shop: Bench) -> None:
    search = Searching(paid_tools(shop), **PRICE, units=lambda arguments: len(arguments["query"]))
    assert search("x" * 100).artifact["offer"]["amount"] == "5.00"  # more than the top-up: what the call costs
    pays(shop)
    assert search("x" * 60).status == "success"
    assert [str(money) for money in shop.manager.credits_of("acme")] == ["2.00 USD"]


def test_a_call_that_cannot_be_measured_is_not_run(shop: Bench) -> None:
    wrong: list[Any] = [lambda _: 0, lambda _: -5, lambda _: 1.5, lambda arguments: arguments["none"]]
    for units in wrong:
        search = Searching(paid_tools(shop), **PRICE, units=units)
        assert search().artifact["error"]["code"] == "INVALID_ARGUMENT"
        assert search.ran == []


def test_by_plan_the_offer_is_the_plan(shop: Bench) -> None:
    search = Searching(paid_tools(shop), feature="search", plan="pro")
    first, again = search(), search()
    assert first.artifact == again.artifact
    assert (first.artifact["offer"]["plan"], first.artifact["offer"]["amount"]) == ("pro", "10.00")
    assert search.ran == []
    pays(shop)
    assert [search().status for _ in range(3)] == ["success", "success", "error"]
    spent = search()
    assert "offer" not in spent.artifact  # he has the plan: buying it again would help nothing
    assert spent.artifact["error"]["code"] == "USAGE_LIMIT_EXCEEDED"
    assert shop.moved() == 1000


def test_a_plan_that_ended_is_offered_anew(shop: Bench) -> None:
    search = Searching(paid_tools(shop), feature="search", plan="pro")
    first = search().artifact["offer"]
    pays(shop)
    assert search().status == "success"
    shop.manager.cancel_subscription("acme", "pro", at_period_end=False)
    second = search().artifact["offer"]
    assert second["payment_id"] != first["payment_id"]
    assert second == search().artifact["offer"]


def test_a_call_that_fails_costs_nothing(shop: Bench) -> None:
    shop.manager.grant_credits("acme", "1.00", "USD", idempotency_key="gift")
    search = Searching(paid_tools(shop), **PRICE)
    with pytest.raises(RuntimeError):
        search("break")
    assert [str(money) for money in shop.manager.credits_of("acme")] == ["1.00 USD"]

    @tool
    def refuses(query: str) -> str:
        """Refuses."""
        raise ToolException("not today")

    refuses.handle_tool_error = True
    made = paid_tools(shop).langchain(**PRICE)(refuses)
    message = made.invoke({"type": "tool_call", "id": "1", "name": "refuses", "args": {"query": "x"}})
    assert (message.status, message.content) == ("error", "not today")
    assert [str(money) for money in shop.manager.credits_of("acme")] == ["1.00 USD"]


def test_a_call_that_takes_longer_than_its_units_are_held_is_paid_all_the_same(shop: Bench) -> None:
    shop.manager.grant_credits("acme", "0.05", "USD", idempotency_key="gift")

    @tool
    def search(query: str) -> str:
        """Searches."""
        shop.later(minutes=20)
        return query

    made = paid_tools(shop).langchain(**PRICE)(search)
    call = {"type": "tool_call", "id": "1", "name": "search", "args": {"query": "x"}}
    assert made.invoke(call).content == "x"
    assert [str(money) for money in shop.manager.credits_of("acme")] == ["0.00 USD"]
    assert made.invoke(call).artifact["status"] == "payment_required"


def test_the_customer_is_never_an_argument(shop: Bench) -> None:
    shop.manager.grant_credits("rich", "100.00", "USD", idempotency_key="gift")
    search = Searching(paid_tools(shop), **PRICE)
    assert search(customer="rich").artifact["status"] == "payment_required"
    assert search("rich").artifact["status"] == "payment_required"
    assert [str(money) for money in shop.manager.credits_of("rich")] == ["100.00 USD"]


def test_without_an_authenticated_customer_nothing_runs(shop: Bench) -> None:
    nobodies: list[Any] = [lambda: None, lambda: "", lambda: dict[str, str]()["x"], lambda: object().nobody]  # type: ignore[attr-defined]
    for nobody in nobodies:
        search = Searching(paid_tools(shop, nobody), **PRICE)
        assert search().artifact["status"] == "refused"
        assert search.ran == []


def test_a_top_up_is_the_operators_and_no_agents_payment(shop: Bench) -> None:
    """An agent could give any payment the description of a top-up, and so make credit of it."""
    search = Searching(paid_tools(shop), **PRICE)
    search()
    (offered,) = shop.manager.list_payments("acme")
    shop.manager.link_customer("acme", "mock", "plain-acme")
    shop.bot.charge("acme", "1.00", "USD", description=str(offered.description), idempotency_key="mine")
    assert search().artifact["offer"]["payment_id"] == offered.id
    assert shop.manager.credits_of("acme") == ()
    assert search.ran == []


def test_side_by_side_unpaid_calls_make_one_offer_and_paid_ones_spend_what_is_there(shop: Bench) -> None:
    search = Searching(paid_tools(shop), **PRICE)
    with ThreadPoolExecutor(8) as pool:
        offers = {one.artifact["offer"]["payment_id"] for one in pool.map(search, "abcdefgh")}
        assert len(offers) == 1
        pays(shop)
        served = list(pool.map(search, [f"q{number}" for number in range(24)]))
    assert sum(one.status == "success" for one in served) == 20
    assert len(search.ran) == 20
    assert shop.moved() == 100


def test_an_agent_reads_the_offer_and_goes_on(shop: Bench) -> None:
    search = Searching(paid_tools(shop), **PRICE)
    model = Scripted(calls(("search", {"query": "cats"})), says("please pay first"))
    messages = agent_of(model, [search.tool]).invoke({"messages": [HumanMessage("find cats")]})["messages"]
    (message,) = answers(messages)
    assert str(message.content).startswith("PAYMENT REQUIRED")
    assert "http" in str(model.seen[1][-1].content)


async def test_awaited_alike(shop: Bench) -> None:
    search = Searching(paid_tools(shop), **PRICE)
    call = {"type": "tool_call", "id": "1", "name": "search", "args": {"query": "cats"}}
    assert (await search.tool.ainvoke(call)).artifact["status"] == "payment_required"
    pays(shop)
    assert (await search.tool.ainvoke(call)).content == "found cats"


# ---- MCP


def server(paid: PaidTools, **price: Any) -> MCPServer[Any]:
    made: MCPServer[Any] = MCPServer("shop")

    @made.tool()
    @paid.mcp(**price)
    def search(query: str, limit: int = 3) -> str:
        """Searches."""
        return f"found {query} {limit}"

    @made.tool()
    @paid.mcp(**price)
    async def translate(text: str) -> dict[str, str]:
        """Translates."""
        return {"text": text.upper()}

    return made


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def test_over_mcp(shop: Bench) -> None:
    async with Client(server(paid_tools(shop), **PRICE)) as client:
        listed = {one.name: one for one in (await client.list_tools()).tools}
        assert set(listed["search"].input_schema["properties"]) == {"query", "limit"}
        first = await client.call_tool("search", {"query": "cats"})
        again = await client.call_tool("search", {"query": "dogs"})
        assert first.is_error
        assert first.meta is not None
        assert first.meta[OFFER]["offer"] == again.meta[OFFER]["offer"]  # type: ignore[index]
        assert first.structured_content is None
        assert re.search(r"Offer: credit for 1.00 USD, to be paid by the customer at http\S+\.", text_of(first))
        pays(shop)
        paid = await client.call_tool("search", {"query": "cats"})
        assert (paid.is_error, paid.structured_content) == (False, {"result": "found cats 3"})
        other = await client.call_tool("translate", {"text": "a"})
        assert other.structured_content == {"text": "A"}  # the credit is the customer's, for all tools


async def test_over_mcp_the_price_of_one_tool_draws_on_all_of_the_customers_credit(shop: Bench) -> None:
    shop.manager.grant_credits("acme", "0.10", "USD", idempotency_key="gift")
    async with Client(server(paid_tools(shop), **PRICE)) as client:
        assert not (await client.call_tool("search", {"query": "cats"})).is_error
        assert (await client.call_tool("translate", {"text": "a"})).structured_content == {"text": "A"}
        assert (await client.call_tool("translate", {"text": "a"})).is_error


# ---- start-up


def unsold(customer: str = "acme", **options: Any) -> PaidTools:
    """Without a manager: what does not start asks none."""
    never_asked: Any = object()
    return PaidTools(never_asked, customer=customer, **{**URLS, "checkout": never_asked, **options})


@pytest.mark.parametrize(
    "price",
    [
        {},
        {"feature": "search", **PRICE},
        {"price": "0.05 USD"},
        {"top_up": "1.00 USD"},
        {"price": "0.05", "top_up": "1.00 USD"},
        {"price": "0 USD", "top_up": "1.00 USD"},
        {"price": "-1 USD", "top_up": "1.00 USD"},
        {"price": "0.05 USD", "top_up": "1.00 EUR"},
        {"price": "0.05 XXQ", "top_up": "1.00 XXQ"},
        {**PRICE, "plan": "pro"},
        {"feature": ""},
    ],
    ids=str,
)
async def test_a_price_that_is_not_clear_does_not_start(price: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, ValidationError)):
        Searching(unsold(), **price)


async def test_what_cannot_be_sold_does_not_start() -> None:
    with pytest.raises(ValidationError):
        unsold("")

    @tool
    def peeks(query: str, runtime: ToolRuntime) -> str:
        """Looks into the runtime."""
        return query

    with pytest.raises(ConfigurationError, match="injects"):
        unsold().langchain(**PRICE)(peeks)
    with pytest.raises(ConfigurationError, match="Nothing can make an offer"):
        unsold(checkout=None)
