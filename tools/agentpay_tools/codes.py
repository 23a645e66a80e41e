"""The closed registry: every error code, the status with which a tool refuses for it, and what it proves about money.

A test walks every class of `agentpay.errors`, so that none is missing. An error of a plug-in, which has a code of its
own, is read as the nearest class above it that stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from agentpay_policies.errors import AgentPayError
from agentpay_tools.outputs import Refusal

Proof = Literal["nothing_done", "outcome", "none"]
"""What a code says about money: the call was refused before a payment existed; the payment's outcome is proved to have
moved none; or nothing, so that the payment must be looked up before anybody speaks."""


@dataclass(frozen=True)
class Code:
    """An error code as the tools answer it."""

    code: str
    status: Refusal
    proof: Proof


def _codes(status: Refusal, proof: Proof, *codes: str) -> dict[str, Code]:
    return {code: Code(code, status, proof) for code in codes}


CODES: Final[Mapping[str, Code]] = MappingProxyType(
    {
        **_codes("invalid", "nothing_done", "INVALID_ARGUMENT", "AMOUNT_INVALID", "CURRENCY_UNKNOWN"),
        **_codes("invalid", "nothing_done", "CURRENCY_MISMATCH", "PAYEE_INVALID", "NOT_FOUND", "PLAN_UNKNOWN"),
        **_codes("invalid", "nothing_done", "PROVIDER_UNKNOWN", "PROVIDER_UNSUPPORTED", "WEBHOOK_INVALID"),
        **_codes("denied", "nothing_done", "POLICY_DENIED", "THROTTLED", "APPROVER_REFUSED", "APPROVER_LOCKED"),
        **_codes("denied", "nothing_done", "PAYMENT_REQUIRED", "USAGE_LIMIT_EXCEEDED", "SUBSCRIPTION_EXPIRED"),
        **_codes("denied", "nothing_done", "FEATURE_NOT_AVAILABLE", "CREDITS_EXHAUSTED"),
        **_codes("conflict", "nothing_done", "CONFLICT", "IDEMPOTENCY_CONFLICT", "ALREADY_SUBSCRIBED"),
        **_codes("conflict", "nothing_done", "RESERVATION_CLOSED", "REFUND_REFUSED", "RECONCILE_FIRST"),
        **_codes("duplicate", "nothing_done", "DUPLICATE_SUSPECTED"),
        **_codes("declined", "outcome", "PAYMENT_DECLINED"),
        **_codes("declined", "none", "PAYMENT_FAILED"),
        **_codes("not_sent", "outcome", "NOT_SENT"),
        **_codes("not_sent", "none", "PROVIDER_ERROR"),
        # A storage error may come after the provider was called: it says nothing about the money.
        **_codes("internal", "none", "INTERNAL", "CONFIGURATION_INVALID", "POLICY_INVALID", "POLICY_NOT_ACTIVE"),
        **_codes("internal", "none", "MODE_MISMATCH", "APPROVER_SECRET_EXPOSED", "STORAGE_ERROR", "STORAGE_BUSY"),
        **_codes("internal", "none", "STORAGE_READ_ONLY", "STORAGE_FULL", "STORAGE_CORRUPT", "SCHEMA_OUTDATED"),
        **_codes("internal", "none", "SCHEMA_NEWER", "CLOCK_WENT_BACK", "NESTED_WRITE", "IMPORT_INVALID"),
    }
)


def code_of(error: AgentPayError) -> Code:
    """The registry's entry for an error; for a class of a plug-in, that of the nearest class above it."""
    for cls in type(error).__mro__:
        if issubclass(cls, AgentPayError) and (found := CODES.get(cls.code)) is not None:
            return found
    return CODES["INTERNAL"]
