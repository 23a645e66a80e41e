"""Look-ups: what became of an attempt, by PayPal's own id, or by the mark that it carries. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from agentpay.clock import Clock
from agentpay.providers import paypal_errors as errors
from agentpay.providers import paypal_reading as reading
from agentpay.providers import paypal_requests as requests
from agentpay.providers.base import Finding, Found, NoAnswer, NotFound, Reference
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Pending, Succeeded, Unknown
from agentpay.providers.paypal_client import Answer, Client, Reply
from agentpay.providers.paypal_ids import Mark, reference, split
from agentpay.providers.paypal_money import read
from agentpay_policies.money import Money

_LISTED: Final = timedelta(days=30)
"""How far back PayPal's list of transactions is read: it gives at most 31 days at once."""

_PAGES: Final = 20
_STATUSES: Final = {"S": "paid", "P": "pending", "D": "declined", "V": "paid"}


@dataclass(frozen=True)
class Lookups:
    """Asks PayPal what became of attempts."""

    client: Client
    clock: Clock

    def find(self, asked: Reference) -> Finding:
        """What became of an attempt."""
        request, (thing, identifier) = asked.request, split(asked.reference)
        money = requests.asked(request) if "body" in request else None
        match thing, request.get("op"):
            case "order", op:
                return self._order(identifier, asked.key if op != "capture" else None, opened=op == "create")
            case "capture", _:
                return self._read(self.client.capture(identifier), lambda found: reading.capture(found, expected=money))
            case "refund", _ if money is not None:
                return self._read(
                    self.client.refunded(identifier),
                    lambda found: reading.refund(found, expected=money, key=asked.key),
                )
            case "payout", _ if money is not None:
                return self._read(
                    self.client.payout(identifier), lambda found: reading.payout(found, expected=money, key=asked.key)
                )
        return self._by_mark(asked, money)

    def order(self, order_id: str) -> Outcome | None:
        """How an order stands; None where it cannot be read."""
        found = self._order(order_id, None)
        return found.outcome if isinstance(found, Found) else None

    def payout(self, batch_id: str, money: Money, key: str) -> Outcome | None:
        """How a payout stands; None where it cannot be read."""
        found = self._read(self.client.payout(batch_id), lambda found: reading.payout(found, expected=money, key=key))
        return found.outcome if isinstance(found, Found) else None

    def _by_mark(self, asked: Reference, money: Money | None) -> Finding:
        """No id of PayPal's is known: the answer to the request was lost."""
        match asked.request.get("op"):
            case "create":
                return Found(NotSent("nobody knows the link of an order whose answer was lost, and only we capture it"))
            case "capture":
                return self._order(str(asked.request.get("order")), None)
            case "refund" if money is not None:
                return self._refund(str(asked.request.get("capture")), money, asked.key)
            case "charge" if money is not None:
                return self._transaction(asked.key, money)
        return NotFound()  # PayPal finds a payout by its own id only: the events that it keeps tell it

    def _order(self, order_id: str, key: str | None, *, opened: bool = False) -> Finding:
        answer = self.client.order(order_id)
        if opened and isinstance(answer, Reply) and answer.status == 404:
            ref = reference("order", order_id)
            return Found(Declined("order_expired", "PayPal has the order no more: its approval expired.", ref))
        return self._read(answer, lambda found: reading.order(found, key=key))

    def _refund(self, capture_id: str, money: Money, key: str) -> Finding:
        """A refund is listed in the order of its capture."""
        captured = self.client.capture(capture_id)
        order_id = _order_of(captured.body) if isinstance(captured, Reply) and captured.good else None
        if order_id is None:
            return _unread(captured)
        answer = self.client.order(order_id)
        if not (isinstance(answer, Reply) and answer.good):
            return _unread(answer)
        for one in reading.refunds_of(answer.body):
            mark = Mark.read(one.get("custom_id"))
            if mark is not None and mark.key == key:
                return Found(reading.refund(one, expected=money, key=key))
        return NotFound()

    def _transaction(self, key: str, money: Money) -> Finding:
        """A charge of a saved method, in the list of transactions."""
        found: Finding = NotFound()
        for page in range(1, _PAGES + 1):
            answer = self.client.transactions(self._query(money, page))
            if not (isinstance(answer, Reply) and answer.good):
                return _unread(answer)
            for one in _transactions(answer.body):
                mark = Mark.read(one.get("custom_field"))
                if mark is not None and mark.key == key and read(one.get("transaction_amount")) == money:
                    return Found(_listed(one))
            total = answer.body.get("total_pages")
            if not isinstance(total, int) or page >= total:
                return found
        return NoAnswer("PayPal lists too many transactions of this amount")

    def _query(self, money: Money, page: int) -> dict[str, object]:
        now = self.clock.now()
        cents = money.minor
        return {
            "start_date": (now - _LISTED).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "end_date": (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "transaction_currency": money.currency,
            "transaction_amount": f"{cents} TO {cents}",
            "fields": "transaction_info",
            "page_size": 500,
            "page": page,
        }

    def _read(self, answer: Answer, say: Any) -> Finding:
        if not (isinstance(answer, Reply) and answer.good):
            return _unread(answer)
        outcome = say(answer.body)
        return NoAnswer(outcome.evidence) if isinstance(outcome, Unknown) else Found(outcome)


def _unread(answer: Answer) -> Finding:
    if not isinstance(answer, Reply):
        return NoAnswer(answer.why)
    if answer.status == 404:
        return NotFound()
    problem = errors.problem(answer.status, answer.body)
    return NoAnswer(f"PayPal answered {problem.status} {problem.issue}")


def _order_of(capture: Mapping[str, Any]) -> str | None:
    """The order of a capture, by the ids that are related to it, or by its link."""
    related = capture.get("supplementary_data")
    ids = related.get("related_ids") if isinstance(related, Mapping) else None
    found = ids.get("order_id") if isinstance(ids, Mapping) else None
    links = capture.get("links")
    for link in links if isinstance(links, list) else []:
        if found is None and isinstance(link, Mapping) and "/v2/checkout/orders/" in str(link.get("href")):
            found = str(link["href"]).rpartition("/")[2]
    thing, order_id = split(f"order:{found}")
    return order_id if thing else None


def _transactions(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = body.get("transaction_details")
    for one in details if isinstance(details, list) else []:
        info = one.get("transaction_info") if isinstance(one, Mapping) else None
        if isinstance(info, Mapping):
            yield info


def _listed(transaction: Mapping[str, Any]) -> Outcome:
    """What PayPal's list says of a charge. One that was reversed since has been paid all the same."""
    ref = reference("capture", transaction.get("transaction_id"))
    status = _STATUSES.get(str(transaction.get("transaction_status")))
    if ref is None or status is None:
        return Unknown("PayPal's list makes no sense", ref)
    if status == "paid":
        return Succeeded(ref)
    return Pending(ref) if status == "pending" else Declined("capture_declined", "PayPal lists it as denied.", ref)
