"""Metering an agent's own run, for LangChain's `create_agent`: model tokens and tool calls, against a customer's plan.

from agentpay_tools.middleware import MeteringMiddleware

agent = create_agent(model, tools, middleware=[MeteringMiddleware(manager, customer="acme", tokens="llm_tokens")])

Units are reserved before a call and committed after it, so that runs side by side never pass a limit together. Needs
the extra `langgraph`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ModelRequest,
    ModelResponse,
    ToolCallRequest,
)
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from agentpay.errors import ConfigurationError, PaymentRequired, ReservationClosed
from agentpay.ids import Ids, RandomIds
from agentpay.manager.threads import Threads
from agentpay.plans.models import feature_name, units
from agentpay.usage.models import UsageRecord
from agentpay.usage.service import DEFAULT_LIFE, Reservation
from agentpay_policies.text import identifier
from agentpay_tools import texts

logger = logging.getLogger("agentpay.tools")

T = TypeVar("T")
CustomerFrom = Callable[[Any], str]
"""Finds the customer in the graph's context: what the host passes as `context=`, and nothing that a model says."""

TokensOf = int | Callable[[ModelRequest[Any]], int]

_COUNTED = "committed"


class Manager(Protocol):
    """What the middleware needs of `agentpay.PaymentManager`."""

    def reserve_usage(
        self,
        customer: str,
        feature: str,
        quantity: int = 1,
        *,
        idempotency_key: str,
        expires_in: timedelta = DEFAULT_LIFE,
    ) -> Reservation: ...

    def record_usage(self, customer: str, feature: str, quantity: int = 1, *, idempotency_key: str) -> UsageRecord: ...


class MeteringMiddleware(AgentMiddleware[AgentState[Any], Any]):
    """Counts a run against a customer's entitlement or credits, and stops it where nothing is left.

    `tokens` is the feature that model tokens are counted under, `tool_calls` that of tool calls; either may be left
    out. The feature's plan decides: a limit, units that are billed, or a price that is paid from credits. Before a
    model call `tokens_per_call` are reserved (a number, or a function of the request): the most that a call may use.
    After it what the model reports is committed, and the rest given back; a model that reports nothing is counted with
    all of it.

    Where the reservation is refused, the model is not called: the run ends with a message that says why, and what would
    help. A tool call that is refused is answered with an error that the model can act on.

    Raises:
        ConfigurationError: nothing is to be counted.
        ValidationError: a name or a number is none.
    """

    def __init__(
        self,
        manager: Manager,
        *,
        customer: str | CustomerFrom,
        tokens: str | None = None,
        tool_calls: str | None = None,
        tokens_per_call: TokensOf = 8000,
        expires_in: timedelta = DEFAULT_LIFE,
        ids: Ids | None = None,
    ) -> None:
        super().__init__()
        if tokens is None and tool_calls is None:
            raise ConfigurationError("Nothing is to be counted.", next_step="Give tokens=, tool_calls=, or both.")
        self._manager: Manager = getattr(manager, "sync", manager)  # an AsyncPaymentManager will do
        self._customer = customer if callable(customer) else identifier(customer, "customer")
        self._tokens = None if tokens is None else feature_name(tokens)
        self._calls = None if tool_calls is None else feature_name(tool_calls)
        self._most = (
            tokens_per_call if callable(tokens_per_call) else units(tokens_per_call, "tokens_per_call", least=1)
        )
        self._life = expires_in
        self._ids = ids or RandomIds()
        self._threads = Threads()

    # ---- the model

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """Reserve, call the model, commit."""
        if self._tokens is None:
            return handler(request)
        try:
            held = self._hold_tokens(request)
        except PaymentRequired as out:
            return _stopped(out)
        done = False
        try:
            response = handler(request)
            done = True
        finally:
            if not done:
                held.release()
        self._commit_tokens(held, _used(response))
        return response

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage:
        """As `wrap_model_call`, beside the event loop."""
        if self._tokens is None:
            return await handler(request)
        try:
            held = await self._threads.run(lambda: self._hold_tokens(request))
        except PaymentRequired as out:
            return _stopped(out)
        done = False
        try:
            response = await handler(request)
            done = True
        finally:
            if not done:
                await self._threads.run(held.release)
        await self._threads.run(lambda: self._commit_tokens(held, _used(response)))
        return response

    def _hold_tokens(self, request: ModelRequest[Any]) -> Reservation:
        most = self._most(request) if callable(self._most) else self._most
        # Each call of a model costs, a repeated one too: so each has a key of its own.
        return self._hold(str(self._tokens), most, _context(request.runtime), self._ids.new("model"))

    def _commit_tokens(self, held: Reservation, used: int | None) -> None:
        if used == 0:
            held.release()
            return
        self._count(held, held.quantity if used is None else min(used, held.quantity))
        if used is not None and used > held.quantity:
            self._record(held, used - held.quantity, "over")

    def _count(self, held: Reservation, quantity: int) -> None:
        """Commit. What took longer than its units were held is recorded as any use is: it was done all the same."""
        try:
            held.commit(quantity)
        except ReservationClosed:
            self._record(held, quantity, "late")

    def _record(self, held: Reservation, quantity: int, why: str) -> None:
        try:
            self._manager.record_usage(held.customer, held.feature, quantity, idempotency_key=f"{held.id}/{why}")
        except PaymentRequired as out:
            logger.warning("%d %s (%s the reservation) were not recorded: %s", quantity, held.feature, why, out)

    # ---- the tools

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Reserve one call, run the tool, commit. What the tool answers does not matter: it was run."""
        if self._calls is None:
            return handler(request)
        try:
            held = self._hold_call(request)
        except PaymentRequired as out:
            return _refused(request, out)
        done = False
        try:
            answer = handler(request)
            done = True
        finally:
            if not done:  # an interrupt of the graph ends here too: the tool is called again when it is resumed
                _give_back(held)
        self._take(held)
        return answer

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """As `wrap_tool_call`, beside the event loop."""
        if self._calls is None:
            return await handler(request)
        try:
            held = await self._threads.run(lambda: self._hold_call(request))
        except PaymentRequired as out:
            return _refused(request, out)
        done = False
        try:
            answer = await handler(request)
            done = True
        finally:
            if not done:
                await self._threads.run(lambda: _give_back(held))
        await self._threads.run(lambda: self._take(held))
        return answer

    def _hold_call(self, request: ToolCallRequest) -> Reservation:
        return self._hold(str(self._calls), 1, _context(request.runtime), _call_key(request) or self._ids.new("tool"))

    def _take(self, held: Reservation) -> None:
        if held.state != _COUNTED:
            self._count(held, held.quantity)

    def _hold(self, feature: str, quantity: int, context: object, key: str) -> Reservation:
        customer = self._customer(context) if callable(self._customer) else self._customer
        return self._manager.reserve_usage(customer, feature, quantity, idempotency_key=key, expires_in=self._life)


def _context(runtime: object) -> object:
    return getattr(runtime, "context", None)


def _call_key(request: ToolCallRequest) -> str | None:
    """What names this call in this thread for ever, so that a step that the graph repeats is counted once.

    None where the graph keeps no state, and so repeats nothing; and where several calls of a message have one id, which
    would be counted as one. Ids of calls alone will not do: some models count from zero in every message.
    """
    thread = (getattr(request.runtime, "config", None) or {}).get("configurable", {}).get("thread_id")
    call_id = request.tool_call.get("id")
    messages = request.state.get("messages", []) if isinstance(request.state, dict) else []
    asked = next(
        (
            message
            for message in reversed(messages)
            if isinstance(message, AIMessage) and any(call["id"] == call_id for call in message.tool_calls)
        ),
        None,
    )
    if thread is None or asked is None or asked.id is None:
        return None
    if sum(call["id"] == call_id for call in asked.tool_calls) > 1:
        return None
    return hashlib.sha256(repr((str(thread), asked.id, call_id)).encode()).hexdigest()


def _give_back(held: Reservation) -> None:
    if held.state != _COUNTED:
        held.release()


def _used(response: ModelResponse[Any]) -> int | None:
    """The tokens that the model reports; None where it reports none."""
    reported = [
        message.usage_metadata["total_tokens"]
        for message in response.result
        if isinstance(message, AIMessage) and message.usage_metadata is not None
    ]
    return sum(reported) if reported else None


def _stopped(out: PaymentRequired) -> AIMessage:
    text = f"Stopped: {_said(out)} The model was not called."
    return AIMessage(text, additional_kwargs={"agentpay": _body(out)})


def _refused(request: ToolCallRequest, out: PaymentRequired) -> ToolMessage:
    return ToolMessage(
        f"{_said(out)} The tool was not run: go on without it.",
        name=request.tool_call["name"],
        tool_call_id=str(request.tool_call["id"]),
        status="error",
        artifact=_body(out),
    )


def _said(out: PaymentRequired) -> str:
    later = f"Not before {texts.moment(out.retry_at)}." if out.retry_at else None
    return texts.sentences(str(out), out.next_step, later)


def _body(out: PaymentRequired) -> dict[str, Any]:
    error = {"code": out.code, "message": out.message, "retryable": out.retryable, "next_step": out.next_step}
    if out.retry_at is not None:
        error["retry_at"] = texts.iso(out.retry_at)
    return {"status": "denied", "error": error}
