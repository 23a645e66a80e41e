"""Checking access: one snapshot, nothing written, the same decision that recording makes under lock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agentpay.access.models import Access, DeniedReason
from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.storage import Store, Tx
from agentpay.usage import burn, purse, standing
from agentpay.usage.burn import Level, Split
from agentpay.usage.offers import Absence, absence, serving
from agentpay.usage.standing import Over
from agentpay.usage.taking import Asked, asked

_NEXT: Final[dict[DeniedReason, str]] = {
    "no_plan": "Offer the customer a plan that has this feature: see list_plans, then subscribe.",
    "limit_reached": "Wait until resets_at, or offer the customer a larger plan.",
    "expired": "The customer's subscription has ended: offer to subscribe again.",
    "past_due": "The customer's subscription was not renewed: renew it.",
    "unknown_feature": "No plan has this feature: check its name, or create a plan that has it.",
    "credits_exhausted": "Grant or sell the customer more credits.",
}


def check(tx: Tx, wanted: Asked, *, default_plan: str | None = None) -> Access:
    """Whether the quantity could be used now. Reads only: a customer whom nobody knows is not made."""
    known = customers.known(tx, wanted.customer)
    now = tx.now()
    serves = serving(tx, known, wanted.feature, default_plan=default_plan, now=now)
    found = standing.allowances(serves.offers, wanted.feature, now)
    if not found:
        return _absent(absence(tx, known, wanted.feature, serves.held, now))
    levels, over = standing.read(tx, None if known is None else known.id, found, now)
    credits = _credits(tx, known, levels, over)
    return _answer(levels, burn.split(wanted.quantity, levels, credits=credits))


class AccessService:
    """Checks access in one store. `default_plan` is what a customer without a subscription gets."""

    def __init__(self, store: Store, *, default_plan: str | None = None) -> None:
        self._store = store
        self._default = default_plan

    def check(self, customer: str, feature: str, quantity: int = 1) -> Access:
        """Whether the customer may use so much of a feature now.

        Raises:
            ValidationError: an argument is none.
        """
        wanted = asked(customer, feature, quantity)
        return self._store.read(lambda tx: check(tx, wanted, default_plan=self._default))


def _credits(tx: Tx, customer: Customer | None, levels: Sequence[Level], over: Over) -> int:
    """The credits that bound what is paid in advance; not read where nothing is."""
    currency = burn.currency_of(levels)
    prepaid = any(level.allowance.kind == "credits" for level in levels)
    if customer is None or currency is None or not prepaid:
        return 0
    return purse.peek(tx, customer.id, currency, freed=over.nanos.get(currency, 0))


def _answer(levels: Sequence[Level], split: Split) -> Access:
    stands = burn.summary(levels)
    denied: DeniedReason = "credits_exhausted" if split.short_of_credits else "limit_reached"
    deciding = split.parts[-1].allowance if split.parts and not split.missing else levels[-1].allowance
    return Access(
        allowed=not split.missing,
        reason=denied if split.missing else deciding.kind,
        plan=deciding.pool.plan_id,
        used=stands.used,
        limit=stands.limit,
        remaining=stands.remaining,
        unlimited=stands.unlimited,
        resets_at=stands.resets_at,
        next_step=_NEXT[denied] if split.missing else "",
    )


def _absent(why: Absence) -> Access:
    return Access(
        allowed=False,
        reason=why,
        plan=None,
        used=0,
        limit=None,
        remaining=None,
        unlimited=False,
        resets_at=None,
        next_step=_NEXT[why],
    )
