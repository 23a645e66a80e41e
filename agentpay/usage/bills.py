"""Usage becomes money: what is not billed yet, taken by a bill as whole minor units, the remainder carried.

Every function runs inside the write of the bill's payment. The carry's row is the lock of a customer and a currency.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Final

from agentpay.audit.log import record as audit
from agentpay.errors import Conflict, NotFound
from agentpay.principal import SYSTEM, Principal
from agentpay.storage.transaction import Tx
from agentpay.usage import bill_queries, queries
from agentpay_policies.money import NANO, nanos_per_minor, whole_minor

MOST_BILLED: Final = 8 * 10**18
"""The most that one bill takes, in 10⁻⁹: it is within a BIGINT. Above it the first events are billed first."""


def unbilled(tx: Tx, customer_id: str, currency: str | None = None) -> list[tuple[str, int]]:
    """What no bill has taken yet, remainders of earlier bills included: currency and 10⁻⁹ of it, where it is not 0."""
    sums: Counter[str] = Counter()
    for row in bill_queries.unbilled_events(tx, customer_id):
        sums[row.currency] += int(row.whole) * NANO + int(row.rest)
    for row in queries.carries(tx, customer_id):
        sums[row.currency] += row.bill_nanos
    return sorted((code, nanos) for code, nanos in sums.items() if nanos and currency in (None, code))


def billable(tx: Tx, customer_id: str, currency: str) -> int:
    """What one bill would take of it now: all, where that is not more than a bill can be."""
    total = dict(unbilled(tx, customer_id, currency)).get(currency, 0)
    if total <= MOST_BILLED:
        return total
    carried = sum(row.bill_nanos for row in queries.carries(tx, customer_id) if row.currency == currency)
    return int(carried) + bill_queries.first_events(tx, customer_id, currency, MOST_BILLED)[1]


def customers_to_bill(tx: Tx, limit: int, after: str = "") -> list[str]:
    """Our ids of customers who have unbilled events, in order, from behind one of them."""
    return bill_queries.customers_with_unbilled(tx, limit, after)


def claim_unbilled(
    tx: Tx, customer_id: str, currency: str, bill_id: str, now: datetime, *, principal: Principal = SYSTEM
) -> int:
    """Take everything that is not billed yet for a bill, and return how much: a whole number of minor units, in 10⁻⁹.

    What is below a minor unit is carried to the next bill. 0, and nothing is taken, where there is not one whole unit.
    Asking again for the same bill returns what it has.

    Raises:
        Conflict: the bill gave back what it had taken, or is another customer's or currency's.
    """
    carry = queries.lock_carry(tx, customer_id, currency)
    earlier = bill_queries.claim(tx, bill_id)
    if earlier is not None:
        if earlier.state == "released" or (earlier.customer_id, earlier.currency) != (customer_id, currency):
            raise Conflict(f"The bill {bill_id[:60]!r} stands for other usage.")
        return int(earlier.claimed_nanos)
    total = dict(unbilled(tx, customer_id, currency)).get(currency, 0)
    if total < nanos_per_minor(currency):
        return 0
    only = bill_queries.first_events(tx, customer_id, currency, MOST_BILLED)[0] if total > MOST_BILLED else None
    marked = bill_queries.claim_events(tx, customer_id, currency, bill_id, only)
    minor, rest = whole_minor(carry.bill_nanos + marked, currency)
    claimed = minor * nanos_per_minor(currency)
    queries.change_carry(tx, customer_id, currency, bill=rest - carry.bill_nanos)
    bill_queries.insert_claim(
        tx,
        bill_id=bill_id,
        customer_id=customer_id,
        currency=currency,
        claimed_nanos=claimed,
        events_nanos=marked,
        state="claimed",
        created_at=now,
        updated_at=now,
    )
    data = {"customer": customer_id, "currency": currency, "minor": str(minor)}
    audit(tx, principal=principal, action="usage.claimed", object_id=bill_id, data=data, at=now)
    return claimed


def release_claimed(tx: Tx, bill_id: str, *, principal: Principal = SYSTEM) -> bool:
    """The bill's payment ended without money: its usage is unbilled again. False where it was not claimed.

    Raises:
        NotFound: there is no such bill.
    """
    claim = bill_queries.claim(tx, bill_id)
    if claim is None:
        raise NotFound(f"There is no bill {bill_id[:60]!r}.")
    queries.lock_carry(tx, claim.customer_id, claim.currency)
    now = tx.now()
    if not bill_queries.end_claim(tx, bill_id, "released", now):
        return False
    bill_queries.free_events(tx, bill_id)
    queries.change_carry(tx, claim.customer_id, claim.currency, bill=claim.claimed_nanos - claim.events_nanos)
    audit(tx, principal=principal, action="usage.claim_released", object_id=bill_id, data={}, at=now)
    return True


def settle_claimed(tx: Tx, bill_id: str, *, principal: Principal = SYSTEM) -> bool:
    """The bill was paid: its usage stays billed. False where it was not claimed, or was given back before.

    Raises:
        NotFound: there is no such bill.
    """
    claim = bill_queries.claim(tx, bill_id)
    if claim is None:
        raise NotFound(f"There is no bill {bill_id[:60]!r}.")
    queries.lock_carry(tx, claim.customer_id, claim.currency)
    now = tx.now()
    if not bill_queries.end_claim(tx, bill_id, "settled", now):
        return False
    audit(tx, principal=principal, action="usage.claim_settled", object_id=bill_id, data={}, at=now)
    return True


def credit_next_bill(tx: Tx, customer_id: str, currency: str, nanos: int) -> None:
    """Money came for a bill whose usage was given back meanwhile: so much comes off the customer's next bill."""
    queries.lock_carry(tx, customer_id, currency)
    queries.change_carry(tx, customer_id, currency, bill=-nanos)
