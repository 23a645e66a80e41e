"""Posting: an event's entries, once, with the running balances of the accounts that must not be overdrawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentpay.errors import CreditsExhausted
from agentpay.ids import Ids
from agentpay.ledger import postings, queries
from agentpay.ledger.postings import CREDIT_PREFIX, Entry, constrained, customer_credit
from agentpay.storage.transaction import Tx
from agentpay_policies.money import format_minor

_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True)
class Balance:
    """What stands on an account in one currency: the sum of its entries, in minor units."""

    account: str
    currency: str
    balance_minor: int


def post(tx: Tx, *, event: str, object_id: str, entries: Sequence[Entry], at: datetime, ids: Ids) -> bool:
    """Post an event. False, and nothing written, where this event of this object was posted already.

    Accounts come last in the order of locks: call it after everything else is locked.

    Raises:
        CreditsExhausted: the entries take more credits than the customer has. Raised before anything else would fail,
            but the write is void: who wants to refuse in words reads `lock_credit` first.
        ValueError: the entries are none, have an amount of 0 or one that is no integer, or do not add up to nothing.
    """
    _check(entries)
    transaction_id = ids.new("ltx")
    if not queries.claim_event(tx, transaction_id, event, object_id, at):
        return False
    for account, change in sorted(_changes(entries).items()):
        balance = queries.lock_balance(tx, account) + change
        _check_balance(account, balance, change)
        queries.set_balance(tx, account, balance)
    queries.insert_entries(tx, transaction_id, entries)
    return True


def is_posted(tx: Tx, *, event: str, object_id: str) -> bool:
    """Whether an event of an object was posted already."""
    return queries.has_event(tx, event, object_id)


def post_reversal(tx: Tx, *, of: str, event: str, object_id: str, at: datetime, ids: Ids) -> bool:
    """Post an event that undoes another one of the same object, entry by entry. False where it was posted already, or
    where there is nothing to undo."""
    entries = postings.reversal(queries.entries_of(tx, of, object_id))
    return bool(entries) and post(tx, event=event, object_id=object_id, entries=entries, at=at, ids=ids)


def credit_available(tx: Tx, customer_id: str, currency: str) -> int:
    """The credits that a customer has, in minor units, as they stand now; for showing, and on SQLite for deciding."""
    return -queries.running_balance(tx, (customer_credit(customer_id), currency))


def credits_available(tx: Tx, customer_id: str) -> dict[str, int]:
    """The credits that a customer has, in minor units, by currency; for showing."""
    rows = queries.running_balances(tx, customer_credit(customer_id))
    return {row.currency: -row.balance_minor for row in rows}


def lock_credit(tx: Tx, customer_id: str, currency: str) -> int:
    """The same, with the account locked until the end of the write: what is decided by it stays true."""
    return -queries.lock_balance(tx, (customer_credit(customer_id), currency))


def balance(tx: Tx, account: str, currency: str) -> int:
    """What stands on any account, in minor units, from its entries; a debit is positive."""
    return queries.entry_sum(tx, (account, currency))


def balances(tx: Tx) -> list[Balance]:
    """Every account that was ever posted to, by name and currency, from the entries."""
    return [Balance(row.account, row.currency, int(row.minor)) for row in queries.entry_sums(tx)]


def _check(entries: Sequence[Entry]) -> None:
    if not entries:
        raise ValueError("a posting has entries")
    sums: Counter[str] = Counter()
    for entry in entries:
        if type(entry.amount_minor) is not int or entry.amount_minor == 0:
            raise ValueError(f"an entry on {entry.account} has the amount {entry.amount_minor!r}")
        sums[entry.currency] += entry.amount_minor
    for currency, total in sums.items():
        if total:
            raise ValueError(f"the entries in {currency} add up to {total}, not to nothing")


def _changes(entries: Sequence[Entry]) -> dict[queries.Account, int]:
    changes: Counter[queries.Account] = Counter()
    for entry in entries:
        if constrained(entry.account):
            changes[entry.account, entry.currency] += entry.amount_minor
    return changes


def _check_balance(account: queries.Account, balance: int, change: int) -> None:
    name, currency = account
    if abs(balance) > _LARGEST:
        raise ValueError(f"the balance of {name} would not fit into the database")
    if name.startswith(CREDIT_PREFIX) and balance > 0:
        have, needed = format_minor(change - balance, currency), format_minor(change, currency)
        raise CreditsExhausted(f"{needed} {currency} of credits are needed, and {have} are left.")
