"""The toolkit: the catalog's tools for one agent, or for several that the host can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, cast

from langchain_core.tools import BaseTool
from langchain_core.tools.base import BaseToolkit
from pydantic import PrivateAttr

from agentpay.errors import ApproverSecretExposed, ConfigurationError, ValidationError
from agentpay.manager.threads import MOST, Threads
from agentpay_policies.text import escaped
from agentpay_tools.catalog import CATALOG
from agentpay_tools.langchain import tool
from agentpay_tools.langchain.identity import AgentFrom, identity
from agentpay_tools.langchain.pausing import need_langgraph
from agentpay_tools.langchain.tool import AgentPayTool, Desk

if TYPE_CHECKING:
    from agentpay.manager import PaymentManager
    from agentpay.manager.asynchronous import AsyncPaymentManager
    from agentpay_policies.policy import Policy


class Manager(tool.Manager, Protocol):
    """What the toolkit needs of `agentpay.PaymentManager`."""

    def policy_document(self) -> Policy | None: ...

    def agents(self) -> tuple[str, ...]: ...


class AgentPayToolkit(BaseToolkit):
    """The AgentPay tools of an agent, for LangChain and LangGraph.

    >>> toolkit = AgentPayToolkit(manager, agent="support-bot")
    >>> agent = create_agent(model, toolkit.get_tools())

    Who the agent is stands here, and is no argument of any tool. For several agents in one process give `agents=[…]`
    and `agent_from=`, a function of the run's config and the graph's context; what it names must be among `agents`.
    `interrupt=True` interrupts the graph where a person has to approve; see docs/langchain.md. Awaited calls run in
    `threads` threads of its own.

    Raises:
        ConfigurationError: there is no manager, no active policy, or no agent, or the policy names no such agent.
    """

    _desk: Desk = PrivateAttr()
    _opened: PaymentManager | None = PrivateAttr(default=None)

    def __init__(
        self,
        manager: Manager | AsyncPaymentManager | None = None,
        *,
        agent: str | None = None,
        agents: Sequence[str] | None = None,
        agent_from: AgentFrom | None = None,
        interrupt: bool = False,
        threads: int = MOST,
    ) -> None:
        super().__init__()
        asynchronous: Manager | None = getattr(manager, "sync", None)
        engine = asynchronous or cast("Manager | None", manager)  # the tools have threads of their own
        if engine is None or not hasattr(engine, "for_agent"):
            raise ConfigurationError(
                "The toolkit needs an open PaymentManager.",
                next_step="Give it one, or open one by the settings: AgentPayToolkit.from_settings().",
            )
        if interrupt:
            need_langgraph()
        who = identity(agent, agents, agent_from)
        _check_policy(engine, who.agents)
        self._desk = Desk(engine, who, Threads(threads), interrupt)

    @classmethod
    def from_settings(
        cls,
        *,
        agent: str | None = None,
        agents: Sequence[str] | None = None,
        agent_from: AgentFrom | None = None,
        interrupt: bool = False,
        threads: int = MOST,
    ) -> Self:
        """The toolkit on a manager of its own, by AGENTPAY_DATABASE_URL, AGENTPAY_POLICY and the other settings.

        Without `agent` and `agents` it serves AGENTPAY_AGENT. Close it, or use it in a `with`.

        Raises:
            ApproverSecretExposed: an approver's secret is among the settings, where the agent's process could read it.
            ConfigurationError: as the class.
        """
        from agentpay.manager import PaymentManager
        from agentpay.settings import load_settings

        settings = load_settings()
        if settings.approver_secret is not None:
            raise ApproverSecretExposed("AGENTPAY_APPROVER_SECRET is set where an agent's tools would run.")
        if agents is None:
            agent = agent if agent is not None else settings.agent
        with ExitStack() as undo:
            manager = undo.enter_context(PaymentManager())
            made = cls(manager, agent=agent, agents=agents, agent_from=agent_from, interrupt=interrupt, threads=threads)
            made._opened = manager
            undo.pop_all()
        return made

    def get_tools(self, names: Sequence[str] | None = None) -> list[BaseTool]:
        """The tools that the active policy lists for the agents, in the catalog's order; or exactly those named.

        A tool that the policy does not list is denied when it is called, whether it is among these or not.

        Raises:
            ValidationError: there is no such tool.
        """
        if names is None:
            listed = frozenset[str]().union(*(self._desk.manager.tools_for(one) for one in self._desk.identity.agents))
            return [AgentPayTool(spec, self._desk) for spec in CATALOG.values() if spec.name in listed]
        if isinstance(names, str):
            raise ValidationError("Give the names of tools as a list.")
        unknown = [name for name in names if name not in CATALOG]
        if unknown:
            raise ValidationError(
                f"There is no tool {escaped(str(unknown[0]))[:60]}.", next_step=f"The tools are: {', '.join(CATALOG)}."
            )
        return [AgentPayTool(CATALOG[name], self._desk) for name in dict.fromkeys(names)]

    def close(self) -> None:
        """Wait for the calls that have begun; close the manager, where `from_settings` opened it."""
        self._desk.threads.close()
        if self._opened is not None:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_policy(manager: Manager, agents: Sequence[str]) -> None:
    """Refuse to start where every call would be denied.

    Raises:
        ConfigurationError: no policy is active, or it names no such agent.
    """
    policy = manager.policy_document()
    if policy is None:
        raise ConfigurationError(
            "No spending policy is active, so every spending call would be denied.",
            next_step="Give PaymentManager(policy=…), or make a file the active one: agentpay policy apply FILE",
        )
    if unknown := [agent for agent in agents if policy.agent(agent) is None]:  # a pattern may be for it
        raise ConfigurationError(
            f"The active policy names no agent {escaped(unknown[0])[:60]}.",
            next_step=f"It names: {', '.join(manager.agents()) or 'none'}.",
        )
