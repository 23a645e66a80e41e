"""How a charge runs at Stripe: at most one thing that can be paid at any time.

    create an intent, not payable yet → look up the customer's saved method → confirm the intent with it
        none saved, or the bank wants the customer → cancel the intent → only then a checkout page, or a decline

Each request but the first is recorded before it is sent. Until it is confirmed nobody can pay an intent: its secret
goes to nobody. So of a charge that ended before the confirmation it is proved that nothing was sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentpay.clock import Clock
from agentpay.providers import stripe_requests as requests
from agentpay.providers.base import ReturnUrls, Steps
from agentpay.providers.outcomes import Declined, NotSent, Outcome, RequiresAction, Unknown
from agentpay.providers.stripe_errors import AUTHENTICATION, EXPIRED, NO_METHOD, Fault, declined, outcome_of
from agentpay.providers.stripe_settings import StripeConfig
from agentpay.providers.stripe_states import (
    UNFINISHED,
    is_as_asked,
    is_unpaid,
    made_by,
    of_intent,
    of_page,
    of_refund,
    refusal_of,
)
from agentpay.providers.stripe_wire import Object, Wire


@dataclass(frozen=True)
class NoMethod:
    """There is no method to charge; `why` is our code for it."""

    why: str


@dataclass(frozen=True)
class Flow:
    """Sends what a charge, a page or a refund takes."""

    wire: Wire
    config: StripeConfig
    clock: Clock

    def charge(self, steps: Steps) -> Outcome:
        """Send the first request of a charge, and what has to follow it."""
        if steps.request["op"] == "page":
            return self.page(steps)
        answer = self.wire.send(steps)
        if isinstance(answer, Fault):
            return outcome_of(answer)
        if steps.request["op"] == "crypto":
            return of_intent(answer)
        return self._pay(answer, steps, begun=False)

    def resume(self, reference: str, steps: Steps) -> Outcome:
        """Go on with an intent that was begun and not paid. The first request only marks it, and reads how it stands:
        that it was refused, as by another account, which knows no such intent, says nothing of the intent."""
        answer = self.wire.send(steps)
        if isinstance(answer, Fault):
            outcome = outcome_of(answer, reference)
            return Unknown(answer.evidence, reference) if isinstance(outcome, Declined) else outcome
        return self._pay(answer, steps, begun=True)

    def page(self, steps: Steps) -> Outcome:
        """Make a checkout page."""
        answer = self.wire.send(steps)
        return outcome_of(answer) if isinstance(answer, Fault) else of_page(answer)

    def refund(self, steps: Steps) -> Outcome:
        """Give money back."""
        answer = self.wire.send(steps)
        return outcome_of(answer) if isinstance(answer, Fault) else of_refund(answer)

    def _pay(self, intent: Object, steps: Steps, *, begun: bool) -> Outcome:
        """Pay an intent with the saved method. `begun`: it was begun by an earlier call, and may stand otherwise."""
        if not is_unpaid(intent) or made_by(intent) != "create" or not is_as_asked(intent):
            return of_intent(intent)
        reference, refused = str(intent["id"]), refusal_of(intent)
        if refused == AUTHENTICATION:
            return self._instead(intent, steps, AUTHENTICATION)
        if refused is not None:
            return declined(refused, reference)
        method = self._saved_method(str(intent["customer"]))
        if isinstance(method, Fault):
            waits = RequiresAction(reference, instructions=UNFINISHED)
            return waits if begun else NotSent("The intent was never confirmed: the saved method could not be read.")
        if isinstance(method, NoMethod):
            return self._instead(intent, steps, method.why)
        return self._confirm(intent, method, steps)

    def _confirm(self, intent: Object, method: str, steps: Steps) -> Outcome:
        reference = str(intent["id"])
        steps.record("confirm", requests.confirm(reference, method), reference=reference)
        answer = self.wire.send(steps)
        if not isinstance(answer, Fault):
            return of_intent(answer)
        outcome = outcome_of(answer, reference)
        if getattr(outcome, "code", None) == AUTHENTICATION:
            return self._instead(intent, steps, AUTHENTICATION)
        return outcome

    def _instead(self, intent: Object, steps: Steps, why: str) -> Outcome:
        """Cancel an intent that cannot be paid without its customer; with the proof of that, offer a page."""
        reference = str(intent["id"])
        steps.record("cancel", requests.cancel(reference), reference=reference)
        answer = self.wire.send(steps)
        if isinstance(answer, Fault):
            return Unknown(answer.evidence, reference)
        if answer["status"] != "canceled":
            return of_intent(answer)
        urls = self.config.urls
        if urls is None:
            return declined(why, reference)
        return self._offer(intent, urls, steps)

    def _offer(self, intent: Object, urls: ReturnUrls, steps: Steps) -> Outcome:
        page = requests.page_instead(intent, urls, self.config)
        steps.record("page", page, reference=str(intent["id"]))
        return self.page(steps)

    def _saved_method(self, customer: str) -> str | NoMethod | Fault:
        """The id of the method to charge: the customer's default, else the newest that has not expired."""
        found = self.wire.customer(customer)
        if isinstance(found, Fault):
            return found
        default = (found.get("invoice_settings") or {}).get("default_payment_method")
        listed: Object | Fault = {"data": []}
        if not (default and self._wanted(default) and not self._expired(default)):
            listed = self.wire.methods(customer)
        if isinstance(listed, Fault):
            return listed
        wanted = [method for method in (default, *listed["data"]) if method and self._wanted(method)]
        usable = [method for method in wanted if not self._expired(method)]
        if usable:
            return str(usable[0]["id"])
        return NoMethod(EXPIRED if wanted else NO_METHOD)

    def _wanted(self, method: Object) -> bool:
        """Whether a method is of a kind that may be used."""
        return not self.config.method_types or method["type"] in self.config.method_types

    def _expired(self, method: Object) -> bool:
        """Whether a card has expired: known before it is tried."""
        card = method.get("card")
        if not card:
            return False
        now = self.clock.now()
        return (int(card["exp_year"]), int(card["exp_month"])) < (now.year, now.month)
