"""What each tool takes. Strict, nothing extra, and only str, int, bool and Literal.

Strict, because a lenient reader makes 5.00 of "5.00" and True of 1; nothing extra, because an argument that is
silently dropped (`max_amount`, say) is a promise that is silently broken. Lengths are bounded here so that a 10 kB id
is refused by its field's name. What only the engine can know (decimals of a currency, a payee's checksum) it checks.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from agentpay.plans.models import MAX_UNITS
from agentpay_policies.money import AMOUNT_PATTERN

MAX_PAGE = 100


def _sized(longest: int) -> AfterValidator:
    """The bounds of a text. They do not stand in the schema, where thirty repetitions would cost every conversation."""

    def check(text: str) -> str:
        if not text.strip() or len(text) > longest:
            raise ValueError(
                f"give 1 to {longest} characters, not {len(text)}" if text.strip() else "must not be empty"
            )
        return text

    return AfterValidator(check)


Name = Annotated[str, _sized(200)]
FreeText = Annotated[str, _sized(500)]
PayeeText = Annotated[str, _sized(320)]
DecimalText = Annotated[str, Field(pattern=AMOUNT_PATTERN)]
CurrencyCode = Annotated[str, _sized(10)]
Quantity = Annotated[int, Field(ge=1, le=MAX_UNITS)]
Absent = SkipJsonSchema[None]
"""An optional argument may be left out, or null, but its schema offers no null: models fill in what a schema offers."""

KEY = "One for each purpose. Repeat with the same key: a new one pays again."
AMOUNT = 'Decimal string: "12.50".'
CURRENCY = "Upper case: USD, EUR, USDT."


class Arguments(BaseModel):
    """The base of all argument models."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CheckAccess(Arguments):
    """Arguments of check_access."""

    customer: Name
    feature: Name
    quantity: Quantity = 1


class Charge(Arguments):
    """Arguments of charge."""

    customer: Name
    amount: DecimalText = Field(description=AMOUNT)
    currency: CurrencyCode = Field(description=CURRENCY)
    description: FreeText = Field(description="What it is for. The payee does not see it.")
    idempotency_key: Name = Field(description=KEY)
    payee: PayeeText = Field(
        default="self",
        description="self (the operator), stripe:acct_…, paypal:<merchant id or e-mail>, eip155:<chain>:<address>",
    )
    provider: Name | Absent = None
    method: Name | Absent = None
    distinct_from: Name | Absent = Field(
        default=None, description="After DUPLICATE_SUSPECTED, if you mean a second payment: the earlier one's id."
    )


class Subscribe(Arguments):
    """Arguments of subscribe."""

    customer: Name
    plan: Name
    idempotency_key: Name = Field(description=KEY)
    provider: Name | Absent = None


class RecordUsage(Arguments):
    """Arguments of record_usage."""

    customer: Name
    feature: Name
    quantity: Quantity = 1
    cost: DecimalText | Absent = Field(default=None, description='Up to 9 decimals: "0.0015".')
    currency: CurrencyCode | Absent = None
    idempotency_key: Name = Field(description="One for each use. A repeat with the same key counts once.")


class Refund(Arguments):
    """Arguments of refund."""

    payment_id: Name
    amount: DecimalText | Absent = Field(default=None, description=AMOUNT + " Left out: all that is left.")
    reason: FreeText
    idempotency_key: Name = Field(description=KEY)


class CancelSubscription(Arguments):
    """Arguments of cancel_subscription."""

    customer: Name
    plan: Name | Absent = Field(default=None, description="Needed only if the customer has several.")
    at_period_end: bool = Field(default=True, description="false ends access at once.")
    idempotency_key: Name | Absent = None


class GetPayment(Arguments):
    """Arguments of get_payment: exactly one of the two ways to name a payment."""

    payment_id: Name | Absent = None
    idempotency_key: Name | Absent = None
    operation: Literal["charge", "subscribe", "refund"] = Field(
        default="charge", description="Under which the key was used."
    )

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.payment_id is None) == (self.idempotency_key is None):
            raise ValueError("give either payment_id or idempotency_key")
        return self


class GetApproval(Arguments):
    """Arguments of get_approval."""

    approval_id: Name


class GetSubscription(Arguments):
    """Arguments of get_subscription."""

    customer: Name
    plan: Name | Absent = None


class ListPayments(Arguments):
    """Arguments of list_payments."""

    customer: Name
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 20
    cursor: Name | Absent = Field(default=None, description="next_cursor of the page before.")


class ListPlans(Arguments):
    """list_plans takes no arguments."""


class GetBudget(Arguments):
    """Arguments of get_budget."""

    currency: CurrencyCode | Absent = None
    customer: Name | Absent = None
