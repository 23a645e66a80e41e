"""A price on your own MCP or LangChain tools.

paid = PaidTools(manager, customer="acme", success_url="https://…", cancel_url="https://…")

@server.tool()
@paid.mcp(price="0.05 USD", top_up="5.00 USD")
def search(query: str) -> str: ...

An unpaid call is not run: it is answered with an offer and the address where the customer can pay, the same one until
it is paid. Units are held before a call and counted after it; a call that fails costs nothing.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from agentpay.billing.paid import Checkout, Selling, Services, Tariff, Unpaid, tariff
from agentpay.errors import AgentPayError, ConfigurationError, ValidationError
from agentpay.ids import RandomIds
from agentpay.manager.threads import Threads
from agentpay.plans.models import units as checked_units
from agentpay.usage.service import DEFAULT_LIFE, Reservation
from agentpay_policies.text import identifier, stripped
from agentpay_tools import texts

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

logger = logging.getLogger("agentpay.tools")

P = ParamSpec("P")
R = TypeVar("R")

CustomerFrom = Callable[[], str]
"""Finds the customer in what the host has authenticated: `lambda: get_access_token().subject`, say."""

UnitsOf = Callable[[Mapping[str, Any]], int]
"""How many units a call has, by its arguments."""

OFFER = "agentpay/offer"
"""Where an MCP answer carries the offer for programs: in `_meta`."""


class Manager(Services, Protocol):
    """What paid tools need of `agentpay.PaymentManager`."""


class PaidTools:
    """Sells calls of tools to one customer, or to whoever the host has authenticated.

    `customer` is an id from the server's configuration, or a function that finds it; no argument of a tool is looked
    at. `checkout` makes the payment that is offered; left out, it is the manager's `create_checkout`. A call may take
    `expires_in` at most.

    Raises:
        ConfigurationError: nothing can make an offer.
        ValidationError: the customer is none.
    """

    def __init__(
        self,
        manager: Manager,
        *,
        customer: str | CustomerFrom,
        success_url: str,
        cancel_url: str,
        checkout: Checkout | None = None,
        expires_in: timedelta = DEFAULT_LIFE,
    ) -> None:
        manager = getattr(manager, "sync", manager)  # an AsyncPaymentManager will do
        made: Checkout | None = checkout if checkout is not None else getattr(manager, "create_checkout", None)
        if made is None:
            raise ConfigurationError("Nothing can make an offer.", next_step="Give checkout=.")
        self._customer = customer if callable(customer) else identifier(customer, "customer")
        self._selling = Selling(
            manager, made, ids=RandomIds(), success_url=success_url, cancel_url=cancel_url, expires_in=expires_in
        )
        self._threads = Threads()

    def mcp(
        self,
        *,
        feature: str | None = None,
        plan: str | None = None,
        price: str | None = None,
        top_up: str | None = None,
        units: UnitsOf | None = None,
        name: str | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function, below `@server.tool()`.

        Either `feature`, which plans have, and the `plan` to offer; or a `price` such as "0.05 USD" and the `top_up` to
        offer. It is for a call, or for a unit where `units` says how many a call has.
        """

        def decorate(fn: Callable[P, R]) -> Callable[P, R]:
            sold = tariff(name or fn.__name__, feature=feature, plan=plan, price=price, top_up=top_up)
            return cast(Callable[P, R], _McpCall(self, sold, fn, units).decorated())

        return decorate

    def langchain(
        self,
        *,
        feature: str | None = None,
        plan: str | None = None,
        price: str | None = None,
        top_up: str | None = None,
        units: UnitsOf | None = None,
    ) -> Callable[[BaseTool], BaseTool]:
        """Decorate a LangChain tool, above `@tool`; the arguments are those of `mcp`."""
        from agentpay_tools.langchain.paid import PaidTool

        def decorate(inner: BaseTool) -> BaseTool:
            sold = tariff(inner.name, feature=feature, plan=plan, price=price, top_up=top_up)
            return PaidTool(inner, self, sold, units)

        return decorate

    def hold(self, sold: Tariff, arguments: Mapping[str, Any], units: UnitsOf | None) -> Reservation | Unpaid:
        """Hold what a call needs; for adapters. Nothing is raised: what went wrong is why it is unpaid."""
        try:
            customer = identifier(self._customer() if callable(self._customer) else self._customer, "customer")
            quantity = 1 if units is None else checked_units(units(arguments), "units", least=1)
            return self._selling.hold(sold, customer, quantity)
        except AgentPayError as error:
            return Unpaid(error, sold, None)
        except (LookupError, TypeError, AttributeError) as exc:
            logger.warning("whom or what to bill for %s could not be found: %s", sold.tool, type(exc).__name__)
            unknown = ValidationError("The host names no customer for this call, or it cannot be measured.")
            return Unpaid(unknown, sold, None)

    def take(self, held: Reservation) -> None:
        """Count a call that was run; for adapters."""
        self._selling.take(held)

    @property
    def threads(self) -> Threads:
        """Where awaited calls wait for the database."""
        return self._threads


def offer_text(unpaid: Unpaid) -> str:
    """What the caller is told: why, what it costs, where to pay, what then."""
    payment = unpaid.payment
    if payment is None:
        return stripped(texts.sentences(str(unpaid.reason), unpaid.reason.next_step, "The tool was not run."))
    what = unpaid.tariff.plan if unpaid.tariff.price is None else "credit"
    sum_ = texts.figure(payment.amount, payment.currency)
    where = f"at {payment.url}" if payment.url else f"(payment {payment.id} is {payment.status})"
    return stripped(
        texts.sentences(
            f"PAYMENT REQUIRED: {unpaid.tariff.said}.",
            f"Offer: {what} for {sum_}, to be paid by the customer {where}.",
            "The tool was not run and costs nothing. Once it is paid, call again; until then the offer stays the same.",
        )
    )


def offer_body(unpaid: Unpaid) -> dict[str, Any]:
    """The same for programs."""
    reason, payment, sold = unpaid.reason, unpaid.payment, unpaid.tariff
    body: dict[str, Any] = {
        "status": "payment_required" if payment is not None else "refused",
        "tool": sold.tool,
        "error": {"code": reason.code, "message": reason.message, "next_step": reason.next_step},
    }
    if payment is not None:
        body["offer"] = {
            "plan": sold.plan if sold.price is None else None,
            "amount": format(payment.amount, "f"),
            "currency": payment.currency,
            "payment_id": payment.id,
            "payment_status": payment.status,
            "url": payment.url,
        }
    return cast(dict[str, Any], json.loads(json.dumps(body)))


class _McpCall:
    """A function of an MCP tool, with a price on it."""

    def __init__(self, paid: PaidTools, sold: Tariff, fn: Callable[..., Any], units: UnitsOf | None) -> None:
        self._paid, self._sold, self._fn, self._units = paid, sold, fn, units
        self._signature = inspect.signature(fn)

    def decorated(self) -> Callable[..., Any]:
        return self._awaited() if inspect.iscoroutinefunction(self._fn) else self._plain()

    def _hold(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reservation | Unpaid:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return self._paid.hold(self._sold, bound.arguments, self._units)

    def _plain(self) -> Callable[..., Any]:
        fn = self._fn

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            held = self._hold(args, kwargs)
            if isinstance(held, Unpaid):
                return _mcp_answer(held)
            done = False
            try:
                result = fn(*args, **kwargs)
                done = True
            finally:
                if not done:
                    held.release()
            self._paid.take(held)
            return result

        return call

    def _awaited(self) -> Callable[..., Awaitable[Any]]:
        fn, threads = self._fn, self._paid.threads

        @functools.wraps(fn)
        async def call(*args: Any, **kwargs: Any) -> Any:
            held = await threads.run(lambda: self._hold(args, kwargs))
            if isinstance(held, Unpaid):
                return _mcp_answer(held)
            done = False
            try:
                result = await fn(*args, **kwargs)
                done = True
            finally:
                if not done:
                    await threads.run(held.release)
            await threads.run(lambda: self._paid.take(held))
            return result

        return call


def _mcp_answer(unpaid: Unpaid) -> Any:
    # The offer stands in `_meta`: as structured content it would have to fit the tool's own schema.
    from mcp.types import CallToolResult, TextContent

    text = TextContent(type="text", text=offer_text(unpaid))
    return CallToolResult(content=[text], is_error=True, _meta={OFFER: offer_body(unpaid)})
