"""Sell access to a feature: a plan, a subscription, usage, a one-time charge and a part of it back.

    python examples/basic.py [FOLDER]

It works on a database in FOLDER, or on one in a temporary folder that is removed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from agentpay import BillingPeriod, PaymentDeclined, PaymentManager, PaymentPlan, PaymentType

PRO = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    currency="USD",
    billing_period=BillingPeriod.MONTHLY,
    requests_per_period=100,
    features=["premium_api"],
)


def main(folder: Path) -> None:
    """Run the example on `folder/agentpay.db`."""
    with PaymentManager(f"sqlite:///{folder / 'agentpay.db'}", provider="mock") as manager:
        manager.create_plan(PRO)
        sell_a_subscription(manager)
        charge_once(manager)
        print("\nAll payments of alice:")
        for payment in manager.list_payments("alice"):
            print(f"  {payment.amount} {payment.currency}  {payment.status}, refunded {payment.refunded}")


def sell_a_subscription(manager: PaymentManager) -> None:
    """Access comes with the plan, and each use is counted."""
    before = manager.check_access("alice", "premium_api")
    print(f"Access before: {before.allowed} ({before.reason})")

    subscription = manager.subscribe("alice", "pro", idempotency_key="subscribe-alice-pro")
    print(f"Subscribed to {subscription.plan}: {subscription.status}")

    if manager.check_access("alice", "premium_api"):  # an Access is true when it is allowed
        record = manager.record_usage("alice", "premium_api", 3, idempotency_key="request-1")
        print(f"Used {record.quantity}, {record.remaining} left")


def charge_once(manager: PaymentManager) -> None:
    """A key names one operation for ever: a repeat answers with what stands, and pays nothing."""
    payment = manager.charge("alice", "5.00", "USD", description="AI analysis", idempotency_key="order-42")
    again = manager.charge("alice", "5.00", "USD", description="AI analysis", idempotency_key="order-42")
    print(f"Charged {payment.amount} {payment.currency}; the repeat is the same payment: {again.id == payment.id}")

    refund = manager.refund(payment.id, "2.00", reason="partial", idempotency_key="order-42-refund")
    print(f"Refunded {refund.amount} {refund.currency}: {refund.status}")

    try:
        manager.charge("alice", "13.01", "USD", idempotency_key="order-43")  # the mock declines this amount
    except PaymentDeclined as declined:
        print(f"Declined: {declined.decline_code}. {declined.next_step}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
