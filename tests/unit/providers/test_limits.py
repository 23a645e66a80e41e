"""Capabilities are checked before a call, and the refusal names what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentpay.errors import ProviderUnsupported
from agentpay.providers.base import Capabilities
from agentpay.providers.limits import check, check_refund
from agentpay.providers.mock import MockProvider
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF, Payee

CAN = Capabilities(
    currencies=frozenset({"USD", "JPY"}),
    payees=frozenset({"self"}),
    methods=frozenset({"card"}),
    minimum={"USD": Money("0.50", "USD")},
    maximum={"USD": Money("100.00", "USD")},
)


class Limited(MockProvider):
    can = CAN

    def capabilities(self) -> Capabilities:
        return self.can


@pytest.fixture
def provider() -> Limited:
    return Limited("sqlite:////nowhere/never-opened.db")


@pytest.mark.parametrize(
    ("amount", "currency", "method"),
    [("0.50", "USD", None), ("100.00", "USD", "card"), ("1", "JPY", None)],
)
def test_what_is_within_passes(provider: Limited, amount: str, currency: str, method: str | None) -> None:
    check(provider, Money(amount, currency), SELF, method)


@pytest.mark.parametrize(
    ("amount", "currency", "payee", "method", "named"),
    [
        ("1.00", "EUR", "self", None, "EUR; it takes JPY, USD"),
        ("1.00", "USD", "stripe:acct_1", None, "cannot pay stripe:acct_1; it can pay self"),
        ("1.00", "USD", "self", "crypto\u202e", r"no method 'crypto\\u202e'; it has card"),
        ("0.49", "USD", "self", None, "0.49 USD is below the least that mock takes, 0.50 USD"),
        ("100.01", "USD", "self", None, "100.01 USD is above the most that mock takes, 100.00 USD"),
    ],
)
def test_what_is_beyond_is_named(
    provider: Limited, amount: str, currency: str, payee: str, method: str | None, named: str
) -> None:
    with pytest.raises(ProviderUnsupported, match=named):
        check(provider, Money(amount, currency), Payee.parse(payee), method)


def test_methods_may_be_none_at_all(provider: Limited) -> None:
    provider.can = replace(CAN, methods=frozenset())
    with pytest.raises(ProviderUnsupported, match="none by name"):
        check(provider, Money("1.00", "USD"), SELF, "card")


def test_refunds_may_be_unknown_to_a_provider(provider: Limited) -> None:
    check_refund(provider, partial=True)
    provider.can = replace(CAN, partial_refunds=False)
    check_refund(provider, partial=False)
    with pytest.raises(ProviderUnsupported, match="as a whole only"):
        check_refund(provider, partial=True)
    provider.can = replace(CAN, refunds=False, partial_refunds=False)
    with pytest.raises(ProviderUnsupported, match="no refunds"):
        check_refund(provider, partial=False)
