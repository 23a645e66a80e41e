"""LangChain's own standard tests, for every tool of the toolkit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from agentpay import BillingPeriod, Feature, PaymentPlan, PaymentType
from agentpay_policies.names import TOOL_NAMES
from agentpay_tools.langchain import AgentPayToolkit
from conftest import START
from support.bench import Bench
from support.databases import Databases
from unit.tools.fakes import GOOD

pytestmark = pytest.mark.anyio

PRO = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    billing_period=BillingPeriod.MONTHLY,
    features=["premium_api", Feature("api_calls", limit=1000)],
)


@pytest.fixture(scope="module")
def shop(databases: Databases) -> Iterator[Bench]:
    """One engine for all of them; each names things of its own, or reads."""
    from agentpay.clock import FixedClock

    made = Bench(databases.create("sqlite"), clock=FixedClock(START))
    made.manager.create_plan(PRO)
    yield made
    made.check()
    made.close()


class _Tools:
    name = ""

    @property
    def tool_constructor(self) -> BaseTool:
        return self._tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return dict(GOOD[self.name])  # type: ignore[index]

    @pytest.fixture(autouse=True)
    def _made(self, shop: Bench) -> None:
        (self._tool,) = AgentPayToolkit(shop.manager, agent="bot").get_tools([self.name])


def _classes() -> Iterator[tuple[str, type]]:
    """Two classes of tests a tool: LangChain's are made to be subclassed."""
    for name in TOOL_NAMES:
        title = "".join(part.title() for part in name.split("_"))
        yield f"Test{title}Unit", type(f"Test{title}Unit", (_Tools, ToolsUnitTests), {"name": name})
        yield (
            f"Test{title}Integration",
            type(f"Test{title}Integration", (_Tools, ToolsIntegrationTests), {"name": name}),
        )


globals().update(_classes())


def test_there_are_tests_for_every_tool() -> None:
    assert sum(name.startswith("Test") for name in globals()) >= 2 * len(TOOL_NAMES)
