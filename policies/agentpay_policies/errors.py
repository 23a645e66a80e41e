"""The root of the errors, and those of money, payees and the policy.

    AgentPayError
    ├── ValidationError              an argument is wrong; nothing was done
    │   ├── MoneyError               AMOUNT_INVALID
    │   │   ├── CurrencyUnknown      CURRENCY_UNKNOWN
    │   │   └── CurrencyMismatch     CURRENCY_MISMATCH
    │   └── PayeeInvalid             PAYEE_INVALID
    ├── ConfigurationError           the set-up is wrong; nothing was done
    │   └── PolicyError              POLICY_INVALID, with every fault of the file
    └── PolicyDenied                 POLICY_DENIED, with every violation

The engine adds its own branches: see `agentpay.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from agentpay_policies.decisions import Violation


class AgentPayError(Exception):
    """What every error of AgentPay has: a stable `code`, whether to try again, and what to do next.

    `message` says what happened. `next_step` says what the reader can do about it. `retryable` is true only where
    the same call, unchanged, may succeed later; `retry_at` then names the moment where it is known.
    """

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False
    default_next_step: ClassVar[str] = (
        "Report this with the code and the time; look the payment up before paying again."
    )

    def __init__(self, message: str, *, next_step: str | None = None, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step if next_step is not None else self.default_next_step
        self.retry_at = retry_at

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class ValidationError(AgentPayError, ValueError):
    """An argument is not what the verb takes. Nothing was done and no key was used."""

    code = "INVALID_ARGUMENT"
    default_next_step = "Correct the argument and call again."


class MoneyError(ValidationError):
    """The text is not an amount of that currency."""

    code = "AMOUNT_INVALID"
    default_next_step = (
        'Give the amount as a decimal string with no more decimals than its currency has, such as "12.50".'
    )


class CurrencyUnknown(MoneyError):
    """No ISO 4217 currency and no token that AgentPay knows."""

    code = "CURRENCY_UNKNOWN"
    default_next_step = "Use an ISO 4217 code such as USD, or one of USDT, USDC, USDG, USDP."


class CurrencyMismatch(MoneyError):
    """Two currencies were added or compared. There are no conversions."""

    code = "CURRENCY_MISMATCH"
    default_next_step = "Use the currency of the thing that you are changing."


class PayeeInvalid(ValidationError):
    """The text is none of the four forms of a payee."""

    code = "PAYEE_INVALID"
    default_next_step = (
        "Use self, stripe:acct_…, paypal:<merchant id or e-mail>, or eip155:<chain>:<address> with a right checksum."
    )


class ConfigurationError(AgentPayError):
    """The set-up is wrong: a setting, a file or a combination of them. Nothing was done."""

    code = "CONFIGURATION_INVALID"
    default_next_step = "Correct the setting that the message names and start again."


@dataclass(frozen=True)
class Fault:
    """One fault of a policy file: where (line, from 1; 0 where unknown; a pointer such as `agents.bot`), and what."""

    line: int
    pointer: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.pointer or 'the file'}: {self.message}"


class PolicyError(ConfigurationError):
    """The policy cannot be loaded. It changes nothing: what was active stays active."""

    code = "POLICY_INVALID"
    default_next_step = "Correct the faults and check the file with: agentpay policy check FILE"

    def __init__(self, message: str, *, faults: Sequence[Fault] = (), next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.faults = tuple(faults)


class PolicyDenied(AgentPayError):
    """The spending policy, or a person it asked, said no. No provider was called for it.

    `violations` holds every reason, each with its own code. `payment_id` is set where a payment row exists: one that
    was parked and whose approval was then denied or expired.
    """

    code = "POLICY_DENIED"
    default_next_step = "Do not repeat this call unchanged; ask the operator, or ask for less."

    def __init__(
        self,
        message: str,
        *,
        violations: Sequence[Violation] = (),
        payment_id: str | None = None,
        next_step: str | None = None,
        retry_at: datetime | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step, retry_at=retry_at)
        self.violations = tuple(violations)
        self.payment_id = payment_id
