"""What a payment can be for."""

from __future__ import annotations

from agentpay.billing.purposes import BILL, RENEWAL, SUBSCRIPTION, purposes, renewal_id


def test_every_purpose_is_wired() -> None:
    assert set(purposes()) == {SUBSCRIPTION, RENEWAL, BILL}


def test_a_renewal_is_named_by_its_subscription_and_period() -> None:
    subscription, _, number = renewal_id("sub_1", 12).partition("/")
    assert (subscription, int(number)) == ("sub_1", 12)
