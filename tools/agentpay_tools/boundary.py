"""The tool boundary: arguments in, ONE result out, whatever happens in between.

Nothing is raised from here, and nothing that is said about money is a guess: "No money moved by this call." stands
only where that is proved; else the payment is looked up by its key and the text says how it stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, get_args

import pydantic

from agentpay.errors import (
    AgentPayError,
    AlreadySubscribed,
    DuplicateSuspected,
    NotFound,
    PaymentDeclined,
    PaymentFailed,
    PolicyDenied,
    ProviderError,
    RefundRefused,
    Throttled,
    ValidationError,
)
from agentpay.payments.models import Payment, Refund
from agentpay_policies.codes import violation
from agentpay_policies.decisions import Violation
from agentpay_policies.names import ToolName
from agentpay_policies.text import escaped, stripped
from agentpay_tools import codes, outputs, texts
from agentpay_tools.arguments import Arguments
from agentpay_tools.handle import Handle
from agentpay_tools.spec import AnySpec

logger = logging.getLogger("agentpay.tools")

_MOST_FAULTS = 5
_LONGEST_MESSAGE = 1000
_REFUSALS = frozenset(get_args(outputs.Refusal))

_DID_NOT_MOVE = frozenset({"declined", "not_sent", "refused", "canceled"})
"""Where a payment stands by proof that no money moved: the provider said so, or was never asked."""


@dataclass(frozen=True)
class ToolResult:
    """What a tool answers: the body, which fits the tool's output schema, and the same as text for the model."""

    body: outputs.Output
    text: str
    is_error: bool

    def structured(self) -> dict[str, Any]:
        """The body as JSON, without what is absent."""
        return self.body.model_dump(mode="json", exclude_none=True)


Note = Callable[[ToolName, AgentPayError], AgentPayError]
"""Writes down that a call was refused before the engine saw it, and gives back what to answer: it may be throttled."""


def run(
    spec: AnySpec,
    handle: Handle,
    arguments: Mapping[str, object],
    *,
    listed: bool = True,
    note: Note | None = None,
) -> ToolResult:
    """Run one tool for one agent. Never raises.

    `note` is told of arguments that are refused here, so that they are audited and throttled as every refusal is.
    `listed` is whether the policy lists the tool for the agent. It decides nothing, for the engine denies (and audits)
    what is not listed; but an agent that may not call a tool is told that, not what its arguments should have been.
    """
    try:
        args = spec.arguments.model_validate(arguments)
    except pydantic.ValidationError as exc:
        return _refusal(spec, _noted(spec, _invalid(exc) if listed else _denied(spec), note), {})
    try:
        body, lines = spec.handler(handle, args)
        if body.status in _REFUSALS:
            raise RuntimeError(f"the engine answered {body.status} where it has to raise")
        return ToolResult(body, _text(lines), is_error=False)
    except AgentPayError as exc:
        if not listed and codes.code_of(exc).proof == "nothing_done" and not isinstance(exc, PolicyDenied | Throttled):
            return _refusal(spec, _denied(spec), {})  # what there is and what not is none of this agent's business
        return _refusal(spec, exc, _money(spec, handle, args, exc))
    except Exception as exc:  # the tool boundary: a crash is answered too, and never with its stack trace
        # The message of a crash may hold anything: it goes to the log, and the agent is told the code only.
        logger.exception("the tool %s crashed for agent %s", spec.name, stripped(handle.agent), exc_info=exc)
        crash = AgentPayError("Something in AgentPay went wrong; the operator's log has the details.")
        return _refusal(spec, crash, _money(spec, handle, args, crash))


def refused(spec: AnySpec, error: AgentPayError) -> ToolResult:
    """The refusal of a call that never reached the engine, as by a server that does not know for whom it speaks."""
    return _refusal(spec, error, {})


def _noted(spec: AnySpec, error: AgentPayError, note: Note | None) -> AgentPayError:
    if note is None:
        return error
    try:
        return note(spec.name, error)
    except AgentPayError:  # a database that is away does not change why the call was refused
        logger.exception("a refusal of %s could not be written down", spec.name)
        return error


def _text(lines: Sequence[str]) -> str:
    # Line by line, so that no text of a customer or a provider can begin a line of its own.
    return "\n".join(stripped(line) for line in lines)


def _denied(spec: AnySpec) -> PolicyDenied:
    found = violation("TOOL_NOT_ALLOWED", f"{spec.name} is not among your tools.")
    return PolicyDenied(found.message, violations=(found,), next_step=found.next_step)


# ---- wrong arguments


def _invalid(exc: pydantic.ValidationError) -> ValidationError:
    """Every fault by its field, with what would be right; the values are not repeated."""
    faults: dict[str, str] = {}
    for fault in exc.errors(include_url=False, include_input=False):
        # Arguments are flat: what stands below the field's name is a branch of an optional type.
        field = escaped(str(fault["loc"][0])[:60]) if fault["loc"] else ""
        faults.setdefault(field, _fix(fault["type"], fault["msg"], fault.get("ctx", {})))
    said = [f"{field}: {fix}" if field else fix for field, fix in list(faults.items())[:_MOST_FAULTS]]
    more = [f"and {len(faults) - _MOST_FAULTS} more"] if len(faults) > _MOST_FAULTS else []
    return ValidationError("; ".join(said + more) + ".", next_step="Correct the arguments and call again.")


def _fix(kind: str, message: str, context: Mapping[str, object]) -> str:
    match kind:
        case "extra_forbidden":
            return "this tool has no such argument; leave it out"
        case "missing":
            return "is missing"
        case "string_type":
            return 'give it as a string, in quotes, such as "12.50" for an amount'
        case "string_pattern_mismatch":
            return 'give a plain decimal string such as "12.50": digits and at most one point, no sign'
        case "int_type" | "bool_type":
            return f"give a JSON {'integer' if kind == 'int_type' else 'true or false'}, without quotes"
        case "value_error":
            return str(context["error"])
        case _:
            return f"{message[:1].lower()}{message[1:]}"


# ---- refusals


def _refusal(spec: AnySpec, error: AgentPayError, money: Mapping[str, str]) -> ToolResult:
    """The refusal that an error means. `money` holds what is known of the money: `text`, and ids if any."""
    code = codes.code_of(error)
    violations = error.violations if isinstance(error, PolicyDenied) else ()
    message = error.message[:_LONGEST_MESSAGE]
    details = _details(spec, error)
    body = {
        "status": code.status if code.status in _statuses(spec) else "internal",
        "error": {
            "code": code.code,
            "message": message,
            "retryable": error.retryable,
            "next_step": error.next_step,
            "retry_at": error.retry_at,
            "violations": [_violation(each) for each in violations] or None,
        },
        **details,
        **_known(spec, **{name: value for name, value in money.items() if name != "text"}),
    }
    said = " ".join(_reason(each) for each in violations) or message  # the message names the first reason only
    lines = texts.sentences(
        f"{code.code}: {said}",
        _ids(details, said + error.next_step + money.get("text", "")),
        error.next_step,
        f"Not before {texts.moment(error.retry_at)}." if error.retry_at else None,
        money.get("text", texts.NO_MONEY_MOVED),
    )
    return ToolResult(spec.output.model_validate(body), _text([lines]), is_error=True)


@cache
def _statuses(spec: AnySpec) -> frozenset[str]:
    return frozenset(get_args(spec.output.model_fields["status"].annotation))


def _known(spec: AnySpec, **values: str | None) -> dict[str, str]:
    """The values that there are, for the fields that this tool's output has."""
    return {name: value for name, value in values.items() if value is not None and name in spec.output.model_fields}


def _details(spec: AnySpec, error: AgentPayError) -> dict[str, str]:
    match error:
        case DuplicateSuspected():
            return _known(spec, look_alike=error.look_alike)
        case AlreadySubscribed():
            return _known(spec, subscription_id=error.subscription_id)
        case PaymentDeclined():
            return _known(spec, **_made(spec, error.payment_id), decline_code=error.decline_code)
        case RefundRefused():
            return _known(spec, payment_id=error.payment_id)
        case PolicyDenied() | ProviderError() | PaymentFailed():
            return _known(spec, **_made(spec, error.payment_id))
        case _:
            return {}


def _ids(details: Mapping[str, str], said: str) -> str | None:
    """The ids that the text does not name yet: a model may see the text only."""
    missing = texts.pairs(**{name: value for name, value in details.items() if value not in said})
    return f"({missing})" if missing else None


def _made(spec: AnySpec, row_id: str | None) -> dict[str, str | None]:
    """The id of the row that the call made: of a payment, or of a refund where the tool refunds."""
    return {"refund_id" if spec.money == "refund" else "payment_id": row_id}


def _violation(found: Violation) -> dict[str, str]:
    """A violation as texts, without the fields that are empty."""
    said: dict[str, str] = {}
    for field in fields(found):
        value = getattr(found, field.name)
        if isinstance(value, datetime):
            said[field.name] = texts.iso(value)
        elif value:
            said[field.name] = str(value)
    return said


def _reason(found: Violation) -> str:
    facts = texts.pairs(limit=found.limit, remaining=found.remaining)
    return f"{found.code}: {found.message}{f' ({facts})' if facts else ''}"


# ---- what is known of the money


def _money(spec: AnySpec, handle: Handle, args: Arguments, error: AgentPayError) -> dict[str, str]:
    """What may be said of money after a refusal: proved by the code, or read from the payment."""
    proof = codes.code_of(error).proof
    payment_id = error.payment_id if isinstance(error, PolicyDenied | ProviderError | PaymentFailed) else None
    if proof == "outcome" or (proof == "nothing_done" and payment_id is None):
        return {}
    if spec.money is None:
        return {} if spec.hints.read_only else {"text": f"It may have been done all the same. {texts.NO_MONEY_MOVED}"}
    key = str(getattr(args, "idempotency_key"))  # noqa: B009 - every tool that moves money has one; a test holds it
    try:
        found = _row(spec, handle, payment_id, key)
    except NotFound:
        return {}
    except Exception:  # the tool boundary: where the look-up fails too, nothing is known
        logger.exception("the payment of a refused %s could not be looked up", spec.name)
        how = f"get_payment with this idempotency_key and operation {spec.money}"
        return {"text": f"It is not known whether money moved. Before you pay again, read {how}."}
    return _stands(found)


def _row(spec: AnySpec, handle: Handle, payment_id: str | None, key: str) -> Payment | Refund:
    if payment_id is not None and spec.money != "refund":
        return handle.get_payment(payment_id)
    return handle.get_payment(idempotency_key=key, operation=spec.money or "charge")


def _stands(found: Payment | Refund) -> dict[str, str]:
    if isinstance(found, Refund):
        ids = {"refund_id": found.id, "payment_id": found.payment_id}
        what, never = f"refund {found.id} of payment {found.payment_id}", "do not refund again."
    else:
        ids = {"payment_id": found.id}
        what, never = f"payment {found.id}", "do not pay again."
    if found.status in _DID_NOT_MOVE:
        return {**ids, "text": f"Looked up: {what} is {found.status}. {texts.NO_MONEY_MOVED}"}
    return {**ids, "text": f"Looked up: {what} is {found.status}; {never}"}
