"""One tool of the catalog as a LangChain tool.

A refusal is a `ToolMessage` with status "error" and the refusal's body as its artifact. LangChain's own ways lose one
or the other (`ToolException` drops the artifact, `handle_validation_error` the reason), so the arguments go to our
boundary unread, and `run` and `arun` make the message of what comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import PrivateAttr

from agentpay.errors import AgentPayError, PolicyDenied
from agentpay.manager.threads import Threads
from agentpay_tools import calls, render
from agentpay_tools.boundary import ToolResult, refused
from agentpay_tools.catalog import CATALOG
from agentpay_tools.langchain.identity import Identity
from agentpay_tools.langchain.pausing import Card, Cards, can_pause, card, pause
from agentpay_tools.outputs import Output
from agentpay_tools.spec import AnySpec

Answer = tuple[str, dict[str, Any]]
"""The text for the model, and the artifact."""


class Manager(calls.Manager, Cards, Protocol):
    """What the tools need of `agentpay.PaymentManager`."""


@dataclass(frozen=True)
class Desk:
    """What the tools of a toolkit share."""

    manager: Manager
    identity: Identity
    threads: Threads
    interrupt: bool


class AgentPayTool(BaseTool):
    """A tool of the catalog. `AgentPayToolkit` makes them.

    Invoked with a tool call it gives a `ToolMessage`: short text for the model, and as artifact the tool's structured
    answer, the same JSON as over MCP; with plain arguments it gives the text alone.
    """

    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    _spec: AnySpec = PrivateAttr()
    _desk: Desk = PrivateAttr()

    def __init__(self, spec: AnySpec, desk: Desk) -> None:
        super().__init__(
            name=spec.name,
            description=spec.description,
            args_schema=spec.arguments,
            metadata={"title": spec.title, **render.hints(spec.hints)},
        )
        self._spec, self._desk = spec, desk

    @property
    def tool_call_schema(self) -> dict[str, Any]:
        """What the model is shown: the very schema that MCP clients are."""
        return {**render.input_schema(self._spec), "title": self.name, "description": self.description}

    def run(self, tool_input: str | dict[str, Any], *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        """Run the tool; a refusal comes back as a message. Only what interrupts a graph is raised."""
        try:
            return super().run(tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        except _Refused as exc:
            return self._message(exc.result, tool_call_id)

    async def arun(
        self, tool_input: str | dict[str, Any], *args: Any, tool_call_id: str | None = None, **kwargs: Any
    ) -> Any:
        """As `run`. The engine runs in the toolkit's own threads, and finishes what it has begun."""
        try:
            return await super().arun(tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        except _Refused as exc:
            return self._message(exc.result, tool_call_id)

    def _to_args_and_kwargs(
        self,
        tool_input: str | dict[str, Any],
        tool_call_id: str | None,  # noqa: ARG002 - the base class passes it by this name
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        # Unread: LangChain would drop an unknown argument of a tool that has none, and say little of a wrong one.
        return (), {"arguments": tool_input}

    def _run(self, arguments: Mapping[str, object], config: RunnableConfig) -> Answer:
        result, waiting = self._call(arguments, config)
        while waiting is not None:
            pause(waiting)
            result, waiting = self._call(arguments, config)
        return _answer(result)

    async def _arun(self, arguments: Mapping[str, object], config: RunnableConfig) -> Answer:
        threads = self._desk.threads
        try:
            result, waiting = await threads.run(lambda: self._call(arguments, config))
            while waiting is not None:
                pause(waiting)
                result, waiting = await threads.run(lambda: self._call(arguments, config))
        except AgentPayError as error:  # the toolkit was closed
            result = refused(self._spec, error)
        return _answer(result)

    def _call(self, arguments: Mapping[str, object], config: RunnableConfig) -> tuple[ToolResult, Card | None]:
        """One call of the engine; and the card to wait with, where a person has to decide and the graph can wait."""
        desk = self._desk
        try:
            handle = desk.manager.for_agent(desk.identity.of(config))
        except PolicyDenied as error:
            return refused(self._spec, error), None
        result = calls.call(desk.manager, handle, self._spec, arguments)
        if result.body.status != "approval_required" or not (desk.interrupt and can_pause(config)):
            return result, None
        try:
            return result, card(desk.manager, str(getattr(result.body, "approval_id", None)))
        except AgentPayError:
            return result, None  # it is answered as approval_required: nothing is paid

    def _message(self, result: ToolResult, tool_call_id: str | None) -> ToolMessage | str:
        if tool_call_id is None:
            return result.text
        return ToolMessage(
            result.text, name=self.name, tool_call_id=tool_call_id, status="error", artifact=result.structured()
        )


class _Refused(Exception):
    """Carries a refusal through LangChain, so that tracers see an error; it never leaves the tool."""

    def __init__(self, result: ToolResult) -> None:
        super().__init__(result.text)
        self.result = result


def _answer(result: ToolResult) -> Answer:
    if result.is_error:
        raise _Refused(result)
    return result.text, result.structured()


def answer_of(message: ToolMessage) -> Output:
    """The typed answer, or refusal, that a message of one of these tools carries.

    The artifact itself is plain JSON, so that every checkpointer can keep it.

    Raises:
        LookupError: the message is of another tool.
    """
    spec = CATALOG[str(message.name)]
    return cast(Output, spec.output.model_validate(message.artifact))
