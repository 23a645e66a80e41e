"""What stands before the demo begins: a database, a plan, a policy, an approver, and how the server is started."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentpay.ids import RandomIds
from agentpay.manager import PaymentManager
from agentpay.plans.models import BillingPeriod, PaymentPlan, PaymentType
from agentpay_servers.demo.stages import Stage
from agentpay_servers.mcp_config import client_config

AGENT: Final = "support-bot"
"""The agent that the starter policy names."""

APPROVER: Final = "owner"
"""The approver whom the starter policy asks."""

POLICY: Final = "starter"
PLAN: Final = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    currency="USD",
    billing_period=BillingPeriod.MONTHLY,
    requests_per_period=1000,
    features=["premium_api"],
)


@dataclass(frozen=True)
class Scene:
    """The operator's side: the manager, the approver's secret, and the JSON that an MCP client is given."""

    url: str
    manager: PaymentManager
    secret: str
    config: Mapping[str, Any]
    stage: Stage

    def close(self) -> None:
        """Let go of the database, and of the provider."""
        self.manager.close()
        self.stage.close()


def prepare(folder: Path, stage: Stage) -> Scene:
    """Make everything in a folder, as an operator would. The stage is closed with it."""
    url = f"sqlite:///{folder / 'agentpay.db'}"
    secret = RandomIds().secret()
    with ExitStack() as undo:
        undo.callback(stage.close)
        manager = PaymentManager(url, provider=stage.provider, policy=POLICY)
        undo.callback(manager.close)
        manager.create_plan(PLAN)
        manager.enrol_approver(APPROVER, secret)
        config = client_config(AGENT, database_url=url, policy=POLICY, providers=[stage.name])
        stage.set(manager)
        undo.pop_all()
    return Scene(url, manager, secret, config, stage)
