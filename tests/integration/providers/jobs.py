"""What worker processes do to the mock's books."""

from __future__ import annotations

from agentpay.providers.base import Order, RefundOrder
from agentpay.providers.mock import MockProvider, from_settings
from agentpay.providers.outcomes import Outcome, name_of
from agentpay.testing import RecordingSteps
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF
from support.parallel import run_threads, values

THREADS = 5


def order(amount: str = "20.00", customer: str = "ana") -> Order:
    return Order("pay_1", customer, Money(amount, "USD"), SELF)


def charge(mock: MockProvider, key: str, what: Order | None = None) -> Outcome:
    what = what or order()
    return mock.charge(what, RecordingSteps(mock.prepare(what), key=key))


def refund(mock: MockProvider, reference: str, amount: str, key: str) -> Outcome:
    what = RefundOrder("ref_1", "pay_1", reference, Money(amount, "USD"), SELF)
    return mock.refund(what, RecordingSteps(mock.prepare_refund(what), key=key, name="refund"))


def charge_one_key(_index: int, database_url: str) -> list[Outcome]:
    """Five deliveries of one key at once, from books that nobody may have opened before."""
    mock = from_settings(database_url=database_url)
    outcomes: list[Outcome | Exception] = run_threads(THREADS, lambda _: charge(mock, "one-key"))
    mock.close()
    return values(outcomes)


def refund_in_parts(index: int, database_url: str, reference: str) -> list[str]:
    """Five refunds of 3.00 at once, each under its own key."""
    mock = from_settings(database_url=database_url)
    names = values(run_threads(THREADS, lambda n: str(name_of(refund(mock, reference, "3.00", f"{index}-{n}")))))
    mock.close()
    return names
