"""A LangChain tool with a price on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import PrivateAttr

from agentpay.billing.paid import Tariff, Unpaid
from agentpay.errors import ConfigurationError
from agentpay.usage.service import Reservation
from agentpay_tools.paid import PaidTools, UnitsOf, offer_body, offer_text

Answer = tuple[Any, Any]


class PaidTool(BaseTool):
    """Runs another tool where its call is paid for; `PaidTools.langchain` makes them.

    An unpaid call is answered with an error message whose artifact is the offer. What the inner tool answers with an
    error, or raises, costs nothing.

    Raises:
        ConfigurationError: the tool takes arguments that LangChain injects; put the price on what it calls.
    """

    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    _inner: BaseTool = PrivateAttr()
    _paid: PaidTools = PrivateAttr()
    _sold: Tariff = PrivateAttr()
    _units: UnitsOf | None = PrivateAttr()

    def __init__(self, inner: BaseTool, paid: PaidTools, sold: Tariff, units: UnitsOf | None) -> None:
        if getattr(inner, "_injected_args_keys", None):
            raise ConfigurationError(f"The tool {inner.name} takes arguments that LangChain injects.")
        super().__init__(
            name=inner.name,
            description=inner.description,
            args_schema=inner.args_schema if inner.args_schema is not None else inner.get_input_schema(),
            metadata=inner.metadata,
            tags=inner.tags,
            return_direct=inner.return_direct,
            handle_tool_error=inner.handle_tool_error,
            handle_validation_error=inner.handle_validation_error,
        )
        self._inner, self._paid, self._sold, self._units = inner, paid, sold, units

    def run(self, tool_input: str | dict[str, Any], *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        """Run the tool, or answer with an offer."""
        try:
            return super().run(tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        except _Answered as exc:
            return self._message(exc, tool_call_id)

    async def arun(
        self, tool_input: str | dict[str, Any], *args: Any, tool_call_id: str | None = None, **kwargs: Any
    ) -> Any:
        """As `run`."""
        try:
            return await super().arun(tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        except _Answered as exc:
            return self._message(exc, tool_call_id)

    def _run(self, *args: Any, config: RunnableConfig, **arguments: Any) -> Answer:
        given = _named(self, args, arguments)
        held = self._paid.hold(self._sold, given, self._units)
        if isinstance(held, Unpaid):
            raise _Answered(offer_text(held), offer_body(held))
        done = False
        try:
            answer = self._inner.invoke(_as_call(self.name, given), config)
            done = _went_well(answer)
        finally:
            if not done:
                held.release()
        return self._ended(answer, held, done)

    async def _arun(self, *args: Any, config: RunnableConfig, **arguments: Any) -> Answer:
        given, threads = _named(self, args, arguments), self._paid.threads
        held = await threads.run(lambda: self._paid.hold(self._sold, given, self._units))
        if isinstance(held, Unpaid):
            raise _Answered(offer_text(held), offer_body(held))
        done = False
        try:
            answer = await self._inner.ainvoke(_as_call(self.name, given), config)
            done = _went_well(answer)
        finally:
            if not done:
                await threads.run(held.release)
        return await threads.run(lambda: self._ended(answer, held, done))

    def _ended(self, answer: Any, held: Reservation, done: bool) -> Answer:
        if not done:
            raise _Answered(answer.content, answer.artifact)
        self._paid.take(held)
        return (answer.content, answer.artifact) if isinstance(answer, ToolMessage) else (answer, None)

    def _message(self, answered: _Answered, tool_call_id: str | None) -> Any:
        if tool_call_id is None:
            return answered.content
        return ToolMessage(
            answered.content, name=self.name, tool_call_id=tool_call_id, status="error", artifact=answered.artifact
        )


class _Answered(Exception):
    """Carries an answer that is an error through LangChain; it never leaves the tool."""

    def __init__(self, content: Any, artifact: Any) -> None:
        super().__init__(str(content))
        self.content, self.artifact = content, artifact


def _named(tool: BaseTool, args: tuple[Any, ...], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name: LangChain passes a bare string as a positional one."""
    return {**dict(zip(tool.args, args, strict=False)), **arguments}


def _as_call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_call", "id": "paid", "name": name, "args": arguments}


def _went_well(answer: Any) -> bool:
    return not (isinstance(answer, ToolMessage) and answer.status == "error")
