"""AgentPay: a payment engine that AI products charge with and LLM agents spend through, behind a spending policy.

from agentpay import PaymentManager

manager = PaymentManager("sqlite:///agentpay.db", provider="mock", policy="starter")
bot = manager.for_agent("support-bot")
bot.charge("alice", "5.00", "USD", description="AI analysis", idempotency_key="order-42")
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from agentpay import errors
    from agentpay.access.models import Access
    from agentpay.billing.credits import CreditGrant
    from agentpay.billing.usage_bills import Bill
    from agentpay.errors import (
        AgentPayError,
        AlreadySubscribed,
        ConfigurationError,
        Conflict,
        CreditsExhausted,
        DuplicateSuspected,
        FeatureNotAvailable,
        IdempotencyConflict,
        NotFound,
        NotSent,
        PaymentDeclined,
        PaymentFailed,
        PaymentRequired,
        PolicyDenied,
        PolicyError,
        ProviderError,
        StorageError,
        SubscriptionExpired,
        Throttled,
        UsageLimitExceeded,
        ValidationError,
    )
    from agentpay.manager import AgentHandle, PaymentManager
    from agentpay.manager.asynchronous import AsyncAgentHandle, AsyncPaymentManager, AsyncReservation
    from agentpay.payments.models import Payment, Refund
    from agentpay.plans.models import BillingPeriod, Feature, PaymentPlan, PaymentType
    from agentpay.providers.registry import create_payment_provider
    from agentpay.spending.models import Approval
    from agentpay.storage import DatabaseStorage, FileStorage, MemoryStorage
    from agentpay.subscriptions.models import Subscription
    from agentpay.subscriptions.service import SubscriptionManager
    from agentpay.usage.decorators import paid_feature, subscription_required, usage_limit
    from agentpay.usage.models import UsageRecord
    from agentpay.usage.service import Reservation, UsageTracker
    from agentpay_policies.money import Money, Price
    from agentpay_policies.payees import Payee

__version__ = "0.1.0"

_FROM = {
    "agentpay.access.models": ("Access",),
    "agentpay.billing.credits": ("CreditGrant",),
    "agentpay.billing.usage_bills": ("Bill",),
    "agentpay.errors": (
        "AgentPayError",
        "AlreadySubscribed",
        "ConfigurationError",
        "Conflict",
        "CreditsExhausted",
        "DuplicateSuspected",
        "FeatureNotAvailable",
        "IdempotencyConflict",
        "NotFound",
        "NotSent",
        "PaymentDeclined",
        "PaymentFailed",
        "PaymentRequired",
        "PolicyDenied",
        "PolicyError",
        "ProviderError",
        "StorageError",
        "SubscriptionExpired",
        "Throttled",
        "UsageLimitExceeded",
        "ValidationError",
    ),
    "agentpay.manager": ("AgentHandle", "PaymentManager"),
    "agentpay.manager.asynchronous": ("AsyncAgentHandle", "AsyncPaymentManager", "AsyncReservation"),
    "agentpay.payments.models": ("Payment", "Refund"),
    "agentpay.plans.models": ("BillingPeriod", "Feature", "PaymentPlan", "PaymentType"),
    "agentpay.providers.registry": ("create_payment_provider",),
    "agentpay.spending.models": ("Approval",),
    "agentpay.storage": ("DatabaseStorage", "FileStorage", "MemoryStorage"),
    "agentpay.subscriptions.models": ("Subscription",),
    "agentpay.subscriptions.service": ("SubscriptionManager",),
    "agentpay.usage.decorators": ("paid_feature", "subscription_required", "usage_limit"),
    "agentpay.usage.models": ("UsageRecord",),
    "agentpay.usage.service": ("Reservation", "UsageTracker"),
    "agentpay_policies.money": ("Money", "Price"),
    "agentpay_policies.payees": ("Payee",),
}
"""Where each name comes from: imported when it is first asked for, so that a program that needs little loads little."""

_MODULE_OF = {name: module for module, names in _FROM.items() for name in names}

__all__ = [
    "Access",
    "AgentHandle",
    "AgentPayError",
    "AlreadySubscribed",
    "Approval",
    "AsyncAgentHandle",
    "AsyncPaymentManager",
    "AsyncReservation",
    "Bill",
    "BillingPeriod",
    "ConfigurationError",
    "Conflict",
    "CreditGrant",
    "CreditsExhausted",
    "DatabaseStorage",
    "DuplicateSuspected",
    "Feature",
    "FeatureNotAvailable",
    "FileStorage",
    "IdempotencyConflict",
    "MemoryStorage",
    "Money",
    "NotFound",
    "NotSent",
    "Payee",
    "Payment",
    "PaymentDeclined",
    "PaymentFailed",
    "PaymentManager",
    "PaymentPlan",
    "PaymentRequired",
    "PaymentType",
    "PolicyDenied",
    "PolicyError",
    "Price",
    "ProviderError",
    "Refund",
    "Reservation",
    "StorageError",
    "Subscription",
    "SubscriptionExpired",
    "SubscriptionManager",
    "Throttled",
    "UsageLimitExceeded",
    "UsageRecord",
    "UsageTracker",
    "ValidationError",
    "__version__",
    "create_payment_provider",
    "errors",
    "paid_feature",
    "subscription_required",
    "usage_limit",
]


def __getattr__(name: str) -> object:
    if name == "errors":
        return _import_module("agentpay.errors")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'agentpay' has no attribute {name!r}")
    found: object = getattr(_import_module(_MODULE_OF[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
