"""The closed registry of codes: every class has a status, and every code makes a refusal that fits every schema."""

from __future__ import annotations

from collections.abc import Iterator

import jsonschema
import pytest

import agentpay.errors
from agentpay.errors import (
    AgentPayError,
    AlreadySubscribed,
    DuplicateSuspected,
    PaymentDeclined,
    PaymentFailed,
    RefundRefused,
    Throttled,
)
from agentpay_tools import CATALOG, AnySpec, run
from agentpay_tools.codes import CODES, code_of
from agentpay_tools.render import output_schema
from unit.tools.fakes import GOOD, LATER, FakeHandle

EXPECTED = {
    "INVALID_ARGUMENT": "invalid",
    "AMOUNT_INVALID": "invalid",
    "CURRENCY_UNKNOWN": "invalid",
    "CURRENCY_MISMATCH": "invalid",
    "PAYEE_INVALID": "invalid",
    "NOT_FOUND": "invalid",
    "PLAN_UNKNOWN": "invalid",
    "PROVIDER_UNKNOWN": "invalid",
    "PROVIDER_UNSUPPORTED": "invalid",
    "WEBHOOK_INVALID": "invalid",
    "POLICY_DENIED": "denied",
    "THROTTLED": "denied",
    "APPROVER_REFUSED": "denied",
    "APPROVER_LOCKED": "denied",
    "PAYMENT_REQUIRED": "denied",
    "USAGE_LIMIT_EXCEEDED": "denied",
    "SUBSCRIPTION_EXPIRED": "denied",
    "FEATURE_NOT_AVAILABLE": "denied",
    "CREDITS_EXHAUSTED": "denied",
    "CONFLICT": "conflict",
    "IDEMPOTENCY_CONFLICT": "conflict",
    "ALREADY_SUBSCRIBED": "conflict",
    "RESERVATION_CLOSED": "conflict",
    "REFUND_REFUSED": "conflict",
    "RECONCILE_FIRST": "conflict",
    "DUPLICATE_SUSPECTED": "duplicate",
    "PAYMENT_DECLINED": "declined",
    "PAYMENT_FAILED": "declined",
    "NOT_SENT": "not_sent",
    "PROVIDER_ERROR": "not_sent",
    "INTERNAL": "internal",
    "CONFIGURATION_INVALID": "internal",
    "POLICY_INVALID": "internal",
    "POLICY_NOT_ACTIVE": "internal",
    "MODE_MISMATCH": "internal",
    "APPROVER_SECRET_EXPOSED": "internal",
    "STORAGE_ERROR": "internal",
    "STORAGE_BUSY": "internal",
    "STORAGE_READ_ONLY": "internal",
    "STORAGE_FULL": "internal",
    "STORAGE_CORRUPT": "internal",
    "IMPORT_INVALID": "internal",
    "SCHEMA_OUTDATED": "internal",
    "SCHEMA_NEWER": "internal",
    "CLOCK_WENT_BACK": "internal",
    "NESTED_WRITE": "internal",
}


def classes(root: type[AgentPayError] = AgentPayError) -> Iterator[type[AgentPayError]]:
    """The error classes of the engine and the ground; other tests may define some of their own."""
    if root.__module__ in ("agentpay.errors", "agentpay_policies.errors"):
        yield root
    for child in root.__subclasses__():
        yield from classes(child)


def made(cls: type[AgentPayError]) -> AgentPayError:
    """One error of a class."""
    if issubclass(cls, DuplicateSuspected):
        return cls("It looks the same.", look_alike="pay_0")
    if issubclass(cls, AlreadySubscribed):
        return cls("There is one.", subscription_id="sub_0")
    if issubclass(cls, PaymentFailed | RefundRefused):
        return cls("No.", payment_id="pay_1")
    return cls("No.", retry_at=LATER) if issubclass(cls, Throttled) else cls("No.")


ALL = sorted(set(classes()), key=lambda cls: cls.code)
CLASSES = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)


def test_the_registry_holds_exactly_the_codes_that_there_are() -> None:
    assert set(CODES) == {cls.code for cls in ALL} == set(EXPECTED)
    exported = {getattr(agentpay.errors, name) for name in agentpay.errors.__all__}
    assert exported <= set(ALL)


@CLASSES
def test_each_code_has_its_status(cls: type[AgentPayError]) -> None:
    found = code_of(made(cls))
    assert found.code == cls.code
    assert found.status == EXPECTED[cls.code]


@CLASSES
@pytest.mark.parametrize("spec", CATALOG.values(), ids=lambda spec: spec.name)
def test_each_error_from_each_tool_fits_the_tools_own_schema(cls: type[AgentPayError], spec: AnySpec) -> None:
    result = run(spec, FakeHandle(script={spec.name: made(cls)}), GOOD[spec.name])
    body = result.structured()
    jsonschema.validate(body, output_schema(spec))
    assert result.is_error
    assert body["error"]["code"] == cls.code
    assert body["error"]["next_step"]
    assert body["status"] in (EXPECTED[cls.code], "internal")
    assert cls.code in result.text


@pytest.mark.parametrize("name", ["charge", "refund"])
@CLASSES
def test_tools_that_move_money_have_every_status(cls: type[AgentPayError], name: str) -> None:
    spec = CATALOG[name]
    result = run(spec, FakeHandle(script={spec.name: made(cls)}), GOOD[spec.name])
    assert result.body.status == EXPECTED[cls.code]


def test_an_error_of_a_plug_in_is_read_as_the_class_above_it() -> None:
    class NoFunds(PaymentDeclined):
        code = "PLUGIN_NO_FUNDS"

    assert code_of(NoFunds("No.", payment_id="pay_1")).code == "PAYMENT_DECLINED"
