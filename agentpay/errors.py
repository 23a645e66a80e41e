"""Every error of the engine; the root, money and policy errors come from the ground floor.

AgentPayError
├── ValidationError                   INVALID_ARGUMENT
│   ├── MoneyError                    AMOUNT_INVALID
│   │   ├── CurrencyUnknown           CURRENCY_UNKNOWN
│   │   └── CurrencyMismatch          CURRENCY_MISMATCH
│   ├── PayeeInvalid                  PAYEE_INVALID
│   └── WebhookInvalid                WEBHOOK_INVALID
├── ConfigurationError                CONFIGURATION_INVALID
│   ├── PolicyError                   POLICY_INVALID
│   ├── PolicyNotActive               POLICY_NOT_ACTIVE
│   ├── ProviderUnknown               PROVIDER_UNKNOWN
│   ├── ModeMismatch                  MODE_MISMATCH
│   └── ApproverSecretExposed         APPROVER_SECRET_EXPOSED
├── NotFound                          NOT_FOUND
│   └── PlanUnknown                   PLAN_UNKNOWN
├── Conflict                          CONFLICT
│   ├── IdempotencyConflict           IDEMPOTENCY_CONFLICT
│   ├── DuplicateSuspected            DUPLICATE_SUSPECTED
│   ├── AlreadySubscribed             ALREADY_SUBSCRIBED
│   ├── ReconcileFirst                RECONCILE_FIRST
│   └── ReservationClosed             RESERVATION_CLOSED
├── Throttled                         THROTTLED
├── PaymentRequired                   PAYMENT_REQUIRED
│   ├── UsageLimitExceeded            USAGE_LIMIT_EXCEEDED
│   ├── SubscriptionExpired           SUBSCRIPTION_EXPIRED
│   ├── FeatureNotAvailable           FEATURE_NOT_AVAILABLE
│   └── CreditsExhausted              CREDITS_EXHAUSTED
├── PaymentFailed                     PAYMENT_FAILED
│   └── PaymentDeclined               PAYMENT_DECLINED
├── RefundRefused                     REFUND_REFUSED
├── PolicyDenied                      POLICY_DENIED
├── ApproverRefused                   APPROVER_REFUSED
│   └── ApproverLocked                APPROVER_LOCKED
├── ProviderError                     PROVIDER_ERROR
│   ├── ProviderUnsupported           PROVIDER_UNSUPPORTED
│   └── NotSent                       NOT_SENT
└── StorageError                      STORAGE_ERROR
    ├── StorageBusy                   STORAGE_BUSY
    ├── StorageReadOnly               STORAGE_READ_ONLY
    ├── StorageFull                   STORAGE_FULL
    ├── StorageCorrupt                STORAGE_CORRUPT
    ├── ImportInvalid                 IMPORT_INVALID
    ├── SchemaOutdated                SCHEMA_OUTDATED
    ├── SchemaNewer                   SCHEMA_NEWER
    ├── ClockWentBack                 CLOCK_WENT_BACK
    └── NestedWrite                   NESTED_WRITE
"""

from __future__ import annotations

from datetime import datetime

from agentpay_policies.errors import (
    AgentPayError,
    ConfigurationError,
    CurrencyMismatch,
    CurrencyUnknown,
    MoneyError,
    PayeeInvalid,
    PolicyDenied,
    PolicyError,
    ValidationError,
)

__all__ = [
    "AgentPayError",
    "AlreadySubscribed",
    "ApproverLocked",
    "ApproverRefused",
    "ApproverSecretExposed",
    "ClockWentBack",
    "ConfigurationError",
    "Conflict",
    "CreditsExhausted",
    "CurrencyMismatch",
    "CurrencyUnknown",
    "DuplicateSuspected",
    "FeatureNotAvailable",
    "IdempotencyConflict",
    "ImportInvalid",
    "ModeMismatch",
    "MoneyError",
    "NestedWrite",
    "NotFound",
    "NotSent",
    "PayeeInvalid",
    "PaymentDeclined",
    "PaymentFailed",
    "PaymentRequired",
    "PlanUnknown",
    "PolicyDenied",
    "PolicyError",
    "PolicyNotActive",
    "ProviderError",
    "ProviderUnknown",
    "ProviderUnsupported",
    "ReconcileFirst",
    "RefundRefused",
    "ReservationClosed",
    "SchemaNewer",
    "SchemaOutdated",
    "StorageBusy",
    "StorageCorrupt",
    "StorageError",
    "StorageFull",
    "StorageReadOnly",
    "SubscriptionExpired",
    "Throttled",
    "UsageLimitExceeded",
    "ValidationError",
    "WebhookInvalid",
]


class PolicyNotActive(ConfigurationError):
    """The policy that was given is not the one by which this database decides."""

    code = "POLICY_NOT_ACTIVE"
    default_next_step = "Review the file and make it the active one with: agentpay policy apply FILE"


class WebhookInvalid(ValidationError):
    """A webhook that is not from the provider's account, is too old, or cannot be read: nothing of it is believed."""

    code = "WEBHOOK_INVALID"
    default_next_step = "Check the webhook's secret and the address that the provider was given; nothing was stored."


class ProviderUnknown(ConfigurationError):
    """No provider of that name is enabled, or none is installed."""

    code = "PROVIDER_UNKNOWN"
    default_next_step = "Enable the provider in AGENTPAY_PROVIDERS, or use one that is."


class ModeMismatch(ConfigurationError):
    """Test and live, or two accounts of one provider, would meet in one database."""

    code = "MODE_MISMATCH"
    default_next_step = "Use a database of its own for each mode and provider account."


class ApproverSecretExposed(ConfigurationError):
    """An agent's server was started with an approver's secret in its environment."""

    code = "APPROVER_SECRET_EXPOSED"
    default_next_step = "Remove AGENTPAY_APPROVER_SECRET from the environment of the agent's server."


class NotFound(AgentPayError):
    """There is no such thing, or it is not yours to see. Nothing was done."""

    code = "NOT_FOUND"
    default_next_step = "Check the id."


class PlanUnknown(NotFound):
    """There is no plan of that id."""

    code = "PLAN_UNKNOWN"
    default_next_step = "Use a plan that list_plans names."


class Conflict(AgentPayError):
    """What was asked contradicts what already stands. Nothing was done."""

    code = "CONFLICT"
    default_next_step = "Read the present state and decide by it."


class IdempotencyConflict(Conflict):
    """The key already names another operation, and always will."""

    code = "IDEMPOTENCY_CONFLICT"
    default_next_step = "Use a new key for a new operation; repeat an old one with exactly its first arguments."


class DuplicateSuspected(Conflict):
    """A payment that looks the same was made a moment ago under another key."""

    code = "DUPLICATE_SUSPECTED"
    default_next_step = (
        "If the earlier payment is the one you meant, use it. If you really mean a second one, pass its id as "
        "distinct_from."
    )

    def __init__(self, message: str, *, look_alike: str) -> None:
        super().__init__(message)
        self.look_alike = look_alike


class AlreadySubscribed(Conflict):
    """The customer has that plan already, or a payment for one of its group is under way. Nothing was charged."""

    code = "ALREADY_SUBSCRIBED"
    default_next_step = "Nothing is needed: read it with get_subscription."

    def __init__(self, message: str, *, subscription_id: str) -> None:
        super().__init__(message)
        self.subscription_id = subscription_id


class ReconcileFirst(Conflict):
    """The database is a restored or imported copy, and what it holds as open was not looked up since."""

    code = "RECONCILE_FIRST"
    default_next_step = "Run agentpay reconcile, compare the newest payments with the provider's own, then resume."


class ReservationClosed(Conflict):
    """The reservation was committed, released or has expired."""

    code = "RESERVATION_CLOSED"
    default_next_step = "Reserve again."


class Throttled(AgentPayError):
    """The agent makes more calls a minute than it may. Known keys are free."""

    code = "THROTTLED"
    retryable = True
    default_next_step = "Wait until retry_at, and look for the loop that makes so many calls."


class PaymentRequired(AgentPayError):
    """The customer has to pay, or to pay more, before this is possible."""

    code = "PAYMENT_REQUIRED"
    default_next_step = "Offer the customer a plan: see list_plans, then subscribe."

    def __init__(
        self,
        message: str,
        *,
        customer: str = "",
        feature: str = "",
        next_step: str | None = None,
        retry_at: datetime | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step, retry_at=retry_at)
        self.customer = customer
        self.feature = feature


class UsageLimitExceeded(PaymentRequired):
    """The quantity does not fit into what is left of the limit. Nothing was recorded."""

    code = "USAGE_LIMIT_EXCEEDED"
    default_next_step = "Wait until the limit resets, or offer the customer a larger plan."


class SubscriptionExpired(PaymentRequired):
    """The customer had a subscription to this, and it has ended."""

    code = "SUBSCRIPTION_EXPIRED"
    default_next_step = "Offer the customer to subscribe again."


class FeatureNotAvailable(PaymentRequired):
    """No plan of the customer has that feature."""

    code = "FEATURE_NOT_AVAILABLE"


class CreditsExhausted(PaymentRequired):
    """The feature is paid from credits, and too few are left. Nothing was recorded."""

    code = "CREDITS_EXHAUSTED"
    default_next_step = "Grant or sell the customer more credits."


class PaymentFailed(AgentPayError):
    """A payment ended without moving money."""

    code = "PAYMENT_FAILED"
    default_next_step = "Ask the customer for another way to pay, then use a new idempotency key."

    def __init__(self, message: str, *, payment_id: str, next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.payment_id = payment_id


class PaymentDeclined(PaymentFailed):
    """The provider, or the customer's bank, said no. No money moved."""

    code = "PAYMENT_DECLINED"

    def __init__(
        self, message: str, *, payment_id: str, decline_code: str = "generic_decline", next_step: str | None = None
    ) -> None:
        super().__init__(message, payment_id=payment_id, next_step=next_step)
        self.decline_code = decline_code


class RefundRefused(AgentPayError):
    """The refund is not possible: more than is left, not yet paid, or money that was sent. Nothing was done."""

    code = "REFUND_REFUSED"
    default_next_step = "Read the payment: it says what was captured and what is refunded already."

    def __init__(self, message: str, *, payment_id: str) -> None:
        super().__init__(message)
        self.payment_id = payment_id


class ApproverRefused(AgentPayError):
    """No approver of that name and secret, or not one whom this approval asks."""

    code = "APPROVER_REFUSED"
    default_next_step = "Check the name and the secret, and that the policy names this approver."


class ApproverLocked(ApproverRefused):
    """Too many wrong secrets in a row."""

    code = "APPROVER_LOCKED"
    default_next_step = "Wait until retry_at, or have another approver rotate the secret."


class ProviderError(AgentPayError):
    """The provider did not do what was asked, or did not say. Look the payment up before anything is paid again."""

    code = "PROVIDER_ERROR"
    default_next_step = "Look at the provider's health, then repeat with the same key."

    def __init__(
        self,
        message: str,
        *,
        payment_id: str | None = None,
        next_step: str | None = None,
        retry_at: datetime | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step, retry_at=retry_at)
        self.payment_id = payment_id


class ProviderUnsupported(ProviderError):
    """The provider cannot do this: the currency, the amount, the payee, the method or the verb. It was not called."""

    code = "PROVIDER_UNSUPPORTED"
    default_next_step = "Choose another provider: capabilities names what each can do."


class NotSent(ProviderError):
    """It is proved that the request did not reach the provider. No money moved."""

    code = "NOT_SENT"
    retryable = True
    default_next_step = "Repeat with the same key."


class StorageError(AgentPayError):
    """The database did not answer as it should. What was not confirmed was not done."""

    code = "STORAGE_ERROR"
    default_next_step = "Look at the database, then repeat with the same key."


class StorageBusy(StorageError):
    """Another process holds the database for longer than we wait."""

    code = "STORAGE_BUSY"
    retryable = True
    default_next_step = "Repeat with the same key in a moment; find the process that holds the database."


class StorageReadOnly(StorageError):
    """The database, or its folder, cannot be written."""

    code = "STORAGE_READ_ONLY"
    default_next_step = "Make the file and its folder writable for this user."


class StorageFull(StorageError):
    """The disk is full. The write was undone as a whole."""

    code = "STORAGE_FULL"
    default_next_step = "Free disk space, then repeat with the same key."


class StorageCorrupt(StorageError):
    """The file is no database, or a damaged one."""

    code = "STORAGE_CORRUPT"
    default_next_step = "Stop writing to it and restore a backup; then run: agentpay doctor"


class ImportInvalid(StorageError):
    """The file is no whole export: a line is broken, missing or was changed. Nothing was imported."""

    code = "IMPORT_INVALID"
    default_next_step = "Import another copy of the file, or export again."

    def __init__(self, message: str, *, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class SchemaOutdated(StorageError):
    """The database is of an earlier version of AgentPay."""

    code = "SCHEMA_OUTDATED"
    default_next_step = "Back the database up, then run: agentpay db upgrade"


class SchemaNewer(StorageError):
    """The database is of a later version of AgentPay than this program."""

    code = "SCHEMA_NEWER"
    default_next_step = "Use the version of AgentPay that upgraded this database, or a later one."


class ClockWentBack(StorageError):
    """The machine's clock is behind what the database has seen by more than 5 seconds."""

    code = "CLOCK_WENT_BACK"
    default_next_step = "Set the clock right. If the past was the mistake, run: agentpay db accept-clock"


class NestedWrite(StorageError):
    """A write was begun inside a write: a mistake in the program, found before anything was done."""

    code = "NESTED_WRITE"
    default_next_step = "Report this: it is a fault of AgentPay or of a plug-in."
