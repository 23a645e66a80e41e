"""Turn usage into money: prices below a cent, a free tier, credits, bills that carry a remainder, and renewals.

    python examples/usage_billing.py [FOLDER]

It works on a database in FOLDER, or on one in a temporary folder that is removed. Its clock is its own: it begins on
31 January and is moved, so that a month passes in no time.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from agentpay import BillingPeriod, Feature, PaymentManager, PaymentPlan, PaymentType
from agentpay.clock import FixedClock
from agentpay.errors import CreditsExhausted

PLANS = (
    PaymentPlan(
        id="tokens",
        name="Tokens",
        payment_type=PaymentType.PAY_PER_USE,
        price_per_request="0.0035",
        currency="USD",
        group="tokens",
        features=["tokens"],
    ),
    PaymentPlan(
        id="trial",
        name="Trial",
        payment_type=PaymentType.FREEMIUM,
        free_requests=2,
        group="trial",
        features=["summary"],
    ),
    PaymentPlan(
        id="images",
        name="Images",
        payment_type=PaymentType.PAY_PER_USE,
        currency="USD",
        group="images",
        features=[Feature("image", price="0.25")],
    ),
    PaymentPlan(
        id="pro",
        name="Pro",
        payment_type=PaymentType.SUBSCRIPTION,
        price="10.00",
        currency="USD",
        billing_period=BillingPeriod.MONTHLY,
        group="pro",
        features=["search"],
    ),
)


def main(folder: Path) -> None:
    """Run the example on `folder/agentpay.db`."""
    clock = FixedClock(datetime(2026, 1, 31, 10, tzinfo=UTC))
    with PaymentManager(f"sqlite:///{folder / 'agentpay.db'}", provider="mock", clock=clock) as manager:
        for plan in PLANS:
            manager.create_plan(plan)
        bills(manager)
        free_tier(manager)
        prepaid(manager)
        renewals(manager, clock)


def bills(manager: PaymentManager) -> None:
    """Each event is priced exactly. A bill charges whole cents once, and the rest waits for the next bill."""
    manager.subscribe("ana", "tokens", idempotency_key="ana-tokens")
    for number in range(3):
        manager.record_usage("ana", "tokens", 1, idempotency_key=f"ana-{number}")
    (owed,) = manager.get_usage("ana").unbilled
    print(f"3 x 0.0035 = {owed}")
    bill = manager.bill_usage("ana", idempotency_key="ana-january")
    print(f"Billed {bill.amount} {bill.currency}, carried {bill.left}")
    manager.record_usage("ana", "tokens", 10, idempotency_key="ana-more")
    bill = manager.bill_usage("ana", idempotency_key="ana-february")
    print(f"10 more: billed {bill.amount} {bill.currency}, carried {bill.left}")


def free_tier(manager: PaymentManager) -> None:
    """A freemium plan serves everyone, subscribed or not, until it is used up."""
    for number in range(2):
        left = manager.record_usage("ben", "summary", idempotency_key=f"ben-{number}").remaining
        print(f"Free summary {number + 1}, {left} left")
    access = manager.check_access("ben", "summary")
    print(f"A third: {access.allowed} ({access.reason})")


def prepaid(manager: PaymentManager) -> None:
    """A feature with a price of its own is paid from credits, and never without."""
    manager.subscribe("cem", "images", idempotency_key="cem-images")
    grant = manager.grant_credits("cem", "0.60", "USD", idempotency_key="cem-gift")
    print(f"Credits: {grant.balance} {grant.currency}")
    for number in range(3):
        try:
            record = manager.record_usage("cem", "image", idempotency_key=f"cem-{number}")
        except CreditsExhausted as exhausted:
            print(f"Image {number + 1}: {exhausted.code}")
        else:
            print(f"Image {number + 1}: {record.cost} {record.currency} from credits")


def renewals(manager: PaymentManager, clock: FixedClock) -> None:
    """Each period is charged once, and an anchor on the 31st survives February."""
    manager.subscribe("dan", "pro", idempotency_key="dan-pro")
    for month, day in ((2, 28), (3, 31)):
        clock.set(datetime(2026, month, day, 11, tzinfo=UTC))
        report = manager.renew_due()
        subscription = manager.get_subscription("dan")
        print(f"{day:02}.{month:02}. renewed {report.renewed}, paid until {subscription.period_end:%d.%m.}")
    print(f"Paid by dan: {[str(payment.amount) for payment in manager.list_payments('dan')]}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
