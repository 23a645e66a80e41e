"""What each event posts: pure functions from an event to its entries. A debit is positive, a credit negative.

| event | debit | credit |
|---|---|---|
| a charge is captured for us | clearing:{provider account} | revenue |
| a charge is captured that buys credits | clearing:{provider account} | customer_credit:{id} |
| a charge is captured for a connected account | clearing:{provider account} | connected:{payee} |
| money is sent on a chain | payouts | wallet:{chain} |
| money is sent by a provider | payouts | clearing:{provider account} |
| a refund of a charge for us | refunds | clearing:{provider account} |
| a refund of bought credits | customer_credit:{id}, as far as unspent, then refunds | clearing:{provider account} |
| a refund of a connected account's charge | connected:{payee} | clearing:{provider account} |
| credits are given away | revenue | customer_credit:{id} |
| credits are used | customer_credit:{id} | revenue |
| money of a collected charge is disputed or reversed | disputes | clearing:{provider account} |
| money that was sent comes back | wallet:{chain}, or clearing:{provider account} | payouts |
| a dispute is won, a reversal restored, a refund comes back | as the event before it, the other way round | |
| money came that is no payment's | clearing:{provider account} | unallocated |
| a fraction came that tells payments apart | clearing:{provider account} | revenue |
| money that moved twice | as the movement, with unallocated in place of what it was for | |

Credits that are given away lower the revenue when they are given and raise it when they are used: nothing was earned.
A customer's credit is ours to owe: its balance is never above nothing. Holds are no entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from agentpay_policies.names import Direction
from agentpay_policies.payees import Payee

Purpose = Literal["sale", "credits"]

REVENUE: Final = "revenue"
PAYOUTS: Final = "payouts"
FEES: Final = "fees"
REFUNDS: Final = "refunds"
DISPUTES: Final = "disputes"
UNALLOCATED: Final = "unallocated"

CREDIT_PREFIX: Final = "customer_credit:"
WALLET_PREFIX: Final = "wallet:"
CLEARING_PREFIX: Final = "clearing:"


@dataclass(frozen=True)
class Entry:
    """One side of a posting, in minor units: a debit is positive, a credit negative."""

    account: str
    currency: str
    amount_minor: int


def clearing(provider_account: str) -> str:
    """What a provider holds for us."""
    return f"{CLEARING_PREFIX}{provider_account}"


def wallet(chain: int) -> str:
    """What we hold on a chain, by its CAIP-2 name: `wallet:eip155:1`."""
    return f"{WALLET_PREFIX}eip155:{chain}"


def customer_credit(customer_id: str) -> str:
    """What we owe a customer in prepaid credits."""
    return f"{CREDIT_PREFIX}{customer_id}"


def connected(payee: str) -> str:
    """What was collected for somebody else."""
    return f"connected:{payee}"


def constrained(account: str) -> bool:
    """Whether the account has a running balance: those that could be overdrawn."""
    return account.startswith((CREDIT_PREFIX, WALLET_PREFIX))


def charge_captured(
    *,
    direction: Direction,
    payee: str,
    provider_account: str,
    money_minor: int,
    currency: str,
    purpose: Purpose = "sale",
    customer_id: str | None = None,
) -> tuple[Entry, ...]:
    """A charge succeeded. `purpose="credits"` is a top-up, and needs the customer (our id).

    Raises:
        ValueError: credits that are not collected for us, or no customer for them; an amount of 0 or less.
    """
    to = Payee.parse(payee)
    if purpose == "credits":
        if customer_id is None or direction != "collect" or to.kind != "self":
            raise ValueError("credits are collected from a customer, for us")
        return _pair(clearing(provider_account), customer_credit(customer_id), money_minor, currency)
    if direction == "send":
        source = clearing(provider_account) if to.chain is None else wallet(to.chain)
        return _pair(PAYOUTS, source, money_minor, currency)
    earned = REVENUE if to.kind == "self" else connected(to.canonical)
    return _pair(clearing(provider_account), earned, money_minor, currency)


def refunded(
    *,
    payee: str,
    provider_account: str,
    money_minor: int,
    currency: str,
    purpose: Purpose = "sale",
    customer_id: str | None = None,
    credits_left_minor: int = 0,
) -> tuple[Entry, ...]:
    """A refund of a collected charge succeeded.

    A refund of a top-up takes back the credits that are left (`credits_left_minor`, read under lock); the rest of it,
    for credits that were used already, is a loss among the refunds.

    Raises:
        ValueError: credits without a customer, or not for us; an amount of 0 or less.
    """
    to = Payee.parse(payee)
    clear = clearing(provider_account)
    if purpose == "credits":
        if customer_id is None or to.kind != "self" or credits_left_minor < 0:
            raise ValueError("credits are refunded to a customer, by us")
        taken = min(_positive(money_minor), credits_left_minor)
        sides = (
            Entry(customer_credit(customer_id), currency, taken),
            Entry(REFUNDS, currency, money_minor - taken),
            Entry(clear, currency, -money_minor),
        )
        return tuple(entry for entry in sides if entry.amount_minor)
    return _pair(REFUNDS if to.kind == "self" else connected(to.canonical), clear, money_minor, currency)


def taken_back(
    *, direction: Direction, payee: str, provider_account: str, money_minor: int, currency: str
) -> tuple[Entry, ...]:
    """Money of a charge went back without a refund: disputed, or reversed. What it was for is left as it is: a person
    decides what becomes of that.

    Raises:
        ValueError: an amount of 0 or less.
    """
    if direction == "send":
        to = Payee.parse(payee)
        source = clearing(provider_account) if to.chain is None else wallet(to.chain)
        return _pair(source, PAYOUTS, money_minor, currency)
    return _pair(DISPUTES, clearing(provider_account), money_minor, currency)


def credits_granted(customer_id: str, minor: int, currency: str) -> tuple[Entry, ...]:
    """Credits were given to a customer without money."""
    return _pair(REVENUE, customer_credit(customer_id), minor, currency)


def credits_used(customer_id: str, minor: int, currency: str) -> tuple[Entry, ...]:
    """Usage was paid from credits."""
    return _pair(customer_credit(customer_id), REVENUE, minor, currency)


def stray(*, provider_account: str, money_minor: int, currency: str, kept: bool) -> tuple[Entry, ...]:
    """Money came that belongs to no payment: a person decides. `kept`: it is ours by what the payer was told before.

    Raises:
        ValueError: an amount of 0 or less.
    """
    return _pair(clearing(provider_account), REVENUE if kept else UNALLOCATED, money_minor, currency)


def unallocated(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The same movement of money, when it is not known for whom: a person decides later."""
    held = (CLEARING_PREFIX, WALLET_PREFIX)
    return tuple(
        entry if entry.account.startswith(held) else Entry(UNALLOCATED, entry.currency, entry.amount_minor)
        for entry in entries
    )


def reversal(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries that undo others."""
    return tuple(Entry(entry.account, entry.currency, -entry.amount_minor) for entry in entries)


def _pair(debit: str, credit: str, minor: int, currency: str) -> tuple[Entry, ...]:
    _positive(minor)
    return (Entry(debit, currency, minor), Entry(credit, currency, -minor))


def _positive(minor: int) -> int:
    if minor <= 0:
        raise ValueError(f"an amount is posted when it is more than nothing, not {minor}")
    return minor
