"""A chat model that plays a script: each step is a message, or a function of what the model would have read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

Step = AIMessage | Callable[[list[BaseMessage]], AIMessage]


class Scripted(GenericFakeChatModel):
    """Plays its steps in order. After the last it says `done`, so that no loop is endless."""

    _steps: list[Step] = PrivateAttr()
    _seen: list[list[BaseMessage]] = PrivateAttr()

    def __init__(self, *steps: Step) -> None:
        super().__init__(messages=iter(()))
        self._steps, self._seen = list(steps), []

    @property
    def seen(self) -> list[list[BaseMessage]]:
        """What the model was given, call by call."""
        return self._seen

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Scripted:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self._seen.append(list(messages))
        step = self._steps.pop(0) if self._steps else AIMessage("done")
        message = step(messages) if callable(step) else step
        return ChatResult(generations=[ChatGeneration(message=_numbered(message, len(self._seen)))])


def _numbered(message: AIMessage, number: int) -> AIMessage:
    """With ids of its own, as every model gives: LangGraph takes an id that it knows for the message that had it."""
    made = [{**call, "id": f"{call['id']}_{number}"} for call in message.tool_calls]
    return message.model_copy(update={"id": f"message_{number}", "tool_calls": made})


def calls(*wanted: tuple[str, dict[str, Any]], tokens: int | None = None) -> AIMessage:
    """A message in which the model calls tools, all at once: `calls(("charge", {…}), …)`."""
    made = [
        {"name": name, "args": args, "id": f"call_{number}", "type": "tool_call"}
        for number, (name, args) in enumerate(wanted)
    ]
    return _counted(AIMessage("", tool_calls=made), tokens)


def says(text: str, tokens: int | None = None) -> AIMessage:
    """A message in which the model only speaks."""
    return _counted(AIMessage(text), tokens)


def _counted(message: AIMessage, tokens: int | None) -> AIMessage:
    if tokens is None:
        return message
    usage = {"input_tokens": tokens // 2, "output_tokens": tokens - tokens // 2, "total_tokens": tokens}
    return message.model_copy(update={"usage_metadata": usage})


def agent_of(model: Scripted, tools: Sequence[Any], **options: Any) -> Any:
    """A graph of LangChain's `create_agent`, without its types, which name no one way to call it."""
    return create_agent(model, tools, **options)


def answers(messages: Iterable[BaseMessage]) -> list[ToolMessage]:
    """The tools' answers among messages."""
    return [message for message in messages if isinstance(message, ToolMessage)]


def codes(messages: Iterable[BaseMessage]) -> list[str]:
    """What each call of a tool ended in: the error's code with its violations, or the status."""
    return [code_in(message.artifact) for message in answers(messages)]


def code_in(body: Any) -> str:
    """What a body says: the first violation, else the error, else the status."""
    error = (body or {}).get("error")
    if error is None:
        return str((body or {}).get("status"))
    violations = error.get("violations")
    return str(violations[0]["code"] if violations else error["code"])
