"""What became of an attempt at Stripe: by the id of what it made, or by our key among what was made at that time.

Lists are what Stripe names for reading what was just written (its search is not: it lags). That a look-up finds nothing
would prove enough even if a list lagged. Nobody can confirm an intent, or open a page, whose id came back to nobody;
and of refunds the list is held against what the charge itself, read by its id, says was refunded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

import stripe

from agentpay.providers.base import Finding, Found, NoAnswer, NotFound, Reference
from agentpay.providers.outcomes import NotSent, RequiresAction
from agentpay.providers.stripe_errors import Fault
from agentpay.providers.stripe_requests import KEY
from agentpay.providers.stripe_states import of_intent, of_page, of_refund
from agentpay.providers.stripe_wire import Object, TooMany, Wire, fault_of

_AROUND: Final = timedelta(hours=1)
"""How far our clock and Stripe's may be apart for what was made to be found by the time of its attempt."""


@dataclass(frozen=True)
class Lookup:
    """Finds attempts. Reads only."""

    wire: Wire

    def find(self, reference: Reference) -> Finding:
        """What became of an attempt."""
        try:
            return self._find(reference)
        except stripe.StripeError as error:
            return NoAnswer(fault_of(error).evidence)
        except TooMany:
            return NoAnswer("Stripe has more of them than are read.")

    def _find(self, reference: Reference) -> Finding:
        op = str(reference.request["op"])
        if op == "refund":
            return self._refund(reference)
        if op == "page":
            return self._page(reference)
        known = reference.request.get("intent") or (reference.reference if _is_intent(reference.reference) else None)
        if known is not None:
            return _found(self.wire.intent(str(known)), begun_only=op == "create")
        mine = _by_key(self.wire.intents(_made_then(reference)), reference.key)
        return NotFound() if mine is None else _found(mine, begun_only=op == "create")

    def _page(self, reference: Reference) -> Finding:
        known = reference.reference
        if known is not None and known.startswith("cs_"):
            return _of(self.wire.page(known))
        filters = _made_then(reference)
        if _is_intent(known):  # it was paid: the page is found by what paid it
            filters = {"payment_intent": known}
        mine = _by_key(self.wire.pages(filters), reference.key)
        return NotFound() if mine is None else Found(of_page(mine))

    def _refund(self, reference: Reference) -> Finding:
        if reference.reference is not None:
            known = self.wire.refund(reference.reference)
            return NoAnswer(known.evidence) if isinstance(known, Fault) else Found(of_refund(known))
        charged = str(_params(reference)["payment_intent"])
        refunds = list(self.wire.refunds(charged))
        mine = _by_key(iter(refunds), reference.key)
        if mine is not None:
            return Found(of_refund(mine))
        return (
            NotFound()
            if self._listed_all(charged, refunds)
            else NoAnswer("The list of refunds lags behind the charge, or the charge cannot be read.")
        )

    def _listed_all(self, charged: str, refunds: list[Object]) -> bool:
        """Whether a list of refunds is all that the charge, read by its id, says was refunded. A charge that is not
        there is another account's, of which no list says anything."""
        intent = self.wire.intent(charged)
        if isinstance(intent, Fault):
            return False
        charge = intent.get("latest_charge") or {}
        counted = sum(int(one["amount"]) for one in refunds if one["status"] not in ("failed", "canceled"))
        return int(charge.get("amount_refunded", 0)) <= counted


def _found(intent: Object | Fault, *, begun_only: bool) -> Finding:
    if isinstance(intent, Fault):
        return NoAnswer(intent.evidence)
    outcome = of_intent(intent)
    if begun_only and isinstance(outcome, RequiresAction) and outcome.url is None:
        return Found(NotSent("The intent was made and never confirmed; nobody else can pay it."))
    return Found(outcome)


def _of(page: Object | Fault) -> Finding:
    return NoAnswer(page.evidence) if isinstance(page, Fault) else Found(of_page(page))


def _by_key(objects: Iterator[Object], key: str) -> Object | None:
    return next((one for one in objects if (one.get("metadata") or {}).get(KEY) == key), None)


def _made_then(reference: Reference) -> dict[str, object]:
    """The filter for what an attempt can have made: around its time, of its customer."""
    filters: dict[str, object] = {}
    customer = _params(reference).get("customer")
    if customer is not None:
        filters["customer"] = customer
    if reference.sent_at is not None:
        earliest, latest = reference.sent_at - _AROUND, reference.sent_at + _AROUND
        filters["created"] = {"gte": int(earliest.timestamp()), "lte": int(latest.timestamp())}
    return filters


def _params(reference: Reference) -> dict[str, Any]:
    return cast(dict[str, Any], reference.request["params"])


def _is_intent(reference: str | None) -> bool:
    return reference is not None and reference.startswith("pi_")
