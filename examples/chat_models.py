"""The model of the examples with agents: a script, or a real one where there is a key for it.

With ANTHROPIC_API_KEY or OPENAI_API_KEY in the environment, and the package `langchain-anthropic` or `langchain-openai`
installed, the examples run with that provider's model; EXAMPLE_MODEL names another one, such as `openai:gpt-5`. Without
a key the model plays the steps that the example gives it: no network, and always the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

Step = Callable[[Sequence[BaseMessage]], AIMessage]
"""What the model answers to what it has read."""

MODELS = {"ANTHROPIC_API_KEY": "anthropic:claude-sonnet-4-5", "OPENAI_API_KEY": "openai:gpt-5-mini"}


def chat_model(*script: Step) -> BaseChatModel:
    """A real model where a key is present, else one that plays the script."""
    named = os.environ.get("EXAMPLE_MODEL") or next((MODELS[key] for key in MODELS if os.environ.get(key)), None)
    if named is None:
        return ScriptedModel(script)
    from langchain.chat_models import init_chat_model  # only here: it needs the package of that provider

    made: BaseChatModel = init_chat_model(named)
    return made


class ScriptedModel(GenericFakeChatModel):
    """Plays its steps in order, and says nothing more after the last."""

    _script: list[Step] = PrivateAttr()

    def __init__(self, script: Sequence[Step]) -> None:
        super().__init__(messages=iter(()))
        self._script = list(script)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> ScriptedModel:  # noqa: ARG002 - it knows its script
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:  # noqa: ARG002
        said = self._script.pop(0)(messages) if self._script else AIMessage("")
        return ChatResult(generations=[ChatGeneration(message=said)])


def calls(name: str, tokens: int = 400, **arguments: Any) -> Step:
    """A step that calls a tool. An argument may be a function of what the model has read."""

    def step(messages: Sequence[BaseMessage]) -> AIMessage:
        args = {key: value(messages) if callable(value) else value for key, value in arguments.items()}
        call = {"name": name, "args": args, "id": f"call-{len(messages)}", "type": "tool_call"}
        return AIMessage("", tool_calls=[call], usage_metadata=_usage(tokens))

    return step


def says(text: str, tokens: int = 400) -> Step:
    """A step that answers."""
    return lambda _messages: AIMessage(text, usage_metadata=_usage(tokens))


def _usage(tokens: int) -> Any:
    return {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}


def show(messages: Sequence[BaseMessage]) -> None:
    """Print what was said, called and answered, without ids and times, which differ from run to run."""
    for message in messages:
        if isinstance(message, ToolMessage):
            print(f"    -> {_short(str(message.content))}")
        elif isinstance(message, AIMessage):
            for call in message.tool_calls:
                given = ", ".join(f"{name}={value!r}" for name, value in call["args"].items())
                print(_short(f"  calls {call['name']}({given})"))
            if message.content:
                print(f"  says: {_short(str(message.content))}")
        else:
            print(f"user: {message.content}")


def _short(text: str) -> str:
    text = re.sub(r"([a-z]+_)?[0-9a-f]{16,}", lambda found: f"{found.group(1) or ''}…", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "<time>", text)
    return text if len(text) <= 110 else f"{text[:107]}..."
