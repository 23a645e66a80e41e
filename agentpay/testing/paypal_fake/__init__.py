"""PayPal on a socket of one's own machine: a server with books, real idempotency, faults on demand and signed webhooks.

Both of PayPal's SDKs talk to it as to PayPal. It is for tests; nothing of it is PayPal's.

    with PayPalFake() as fake:
        manager = PaymentManager("memory://", provider=fake.provider())
        payment = manager.charge("ana", "10.00", "USD", idempotency_key="order-1")
        fake.approve(fake.newest_order())
        assert manager.continue_payment(payment.id).status == "succeeded"
"""

from agentpay.testing.paypal_fake.faults import Fault
from agentpay.testing.paypal_fake.records import Movement, Received
from agentpay.testing.paypal_fake.server import PayPalFake
from agentpay.testing.paypal_fake.signing import Delivery, Signing

__all__ = ["Delivery", "Fault", "Movement", "PayPalFake", "Received", "Signing"]
