"""What a provider says that it can do, checked before it is called: a refusal here costs nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agentpay.errors import ProviderUnsupported
from agentpay.providers.base import PaymentProvider
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee


def check(provider: PaymentProvider, money: Money, payee: Payee, method: str | None = None) -> None:
    """Check a charge or send against the provider's capabilities.

    Raises:
        ProviderUnsupported: the currency, the kind of payee, the method, or the amount; the message names which.
    """
    can = provider.capabilities()
    if can.currencies != "any" and money.currency not in can.currencies:
        raise ProviderUnsupported(f"{provider.name} does not take {money.currency}; it takes {_list(can.currencies)}.")
    if payee.kind not in can.payees:
        raise ProviderUnsupported(f"{provider.name} cannot pay {payee}; it can pay {_list(can.payees)}.")
    if can.chains is not None and payee.chain is not None and payee.chain not in can.chains:
        raise ProviderUnsupported(f"{provider.name} cannot pay {payee}: it is on chain {_list(map(str, can.chains))}.")
    if method is not None and method not in can.methods:
        methods = _list(can.methods) or "none by name"
        raise ProviderUnsupported(f"{provider.name} has no method {method[:60]!a}; it has {methods}.")
    least, most = can.minimum.get(money.currency), can.maximum.get(money.currency)
    if least is not None and money < least:
        raise ProviderUnsupported(f"{money} is below the least that {provider.name} takes, {least}.")
    if most is not None and money > most:
        raise ProviderUnsupported(f"{money} is above the most that {provider.name} takes, {most}.")


def check_checkout(provider: PaymentProvider) -> None:
    """Check that the provider has a page on which a customer pays.

    Raises:
        ProviderUnsupported: it has none.
    """
    if not provider.capabilities().checkout:
        raise ProviderUnsupported(f"{provider.name} has no checkout page.")


def check_setup(provider: PaymentProvider, method: str | None = None) -> None:
    """Check that the provider keeps methods of customers, and knows the one that is named.

    Raises:
        ProviderUnsupported: it keeps none, or not that one.
    """
    can = provider.capabilities()
    if not can.saved_methods:
        raise ProviderUnsupported(f"{provider.name} keeps no payment methods.")
    if method is not None and method not in can.methods:
        raise ProviderUnsupported(f"{provider.name} has no method {method[:60]!a}.")


def fitting(provider: PaymentProvider, memo: str | None) -> str | None:
    """As much of a memo as the provider carries to the payee; None where it carries none."""
    return (memo or "")[: provider.capabilities().longest_memo].rstrip() or None


def check_refund(provider: PaymentProvider, *, partial: bool) -> None:
    """Check a refund against the provider's capabilities. `partial`: less than all that was captured.

    Raises:
        ProviderUnsupported: it gives no refunds, or no partial ones.
    """
    can = provider.capabilities()
    if not can.refunds:
        raise ProviderUnsupported(f"{provider.name} gives no refunds.")
    if partial and not can.partial_refunds:
        raise ProviderUnsupported(f"{provider.name} refunds a payment as a whole only.")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
