"""The names by which PayPal and we find each other's things: request ids, marks, references. Pure.

- A *request id* goes with every POST: PayPal answers a repeat of it with the first answer. It is made from the
  attempt's key, and short enough for all of PayPal's interfaces, of which the strictest takes 38 characters.
- A *mark* is what PayPal keeps with a purchase and a refund (`custom_id`) and gives back in every look-up and webhook:
  the attempt's key, whether the payer has to approve first, and the amount that was asked for.
- A *reference* is PayPal's own id, with the kind of thing that it names: `order:…`, `capture:…`, `refund:…`,
  `payout:…`, `dispute:…`.
- A *saved method* is what `link_customer` keeps: `paypal:<vault id>` or `venmo:<vault id>`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from agentpay.errors import AgentPayError
from agentpay.providers.paypal_money import value_of
from agentpay_policies.money import Money

Thing = Literal["order", "capture", "refund", "payout", "dispute"]
Wallet = Literal["paypal", "venmo"]
WALLETS: Final[frozenset[str]] = frozenset({"paypal", "venmo"})

_MARK: Final = re.compile(
    r"(?P<key>[A-Za-z0-9_-]{1,90})\.(?P<steps>[0-2])\.(?P<value>[0-9.]{1,20})\.(?P<currency>[A-Z]{3})\Z"
)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_REFERENCE: Final = re.compile(r"(?P<thing>order|capture|refund|payout|dispute):(?P<id>[A-Za-z0-9_-]{1,64})\Z")
_VAULTED: Final = re.compile(r"(?P<wallet>paypal|venmo):(?P<id>[A-Za-z0-9_-]{1,64})\Z")


def request_id(key: str) -> str:
    """The PayPal-Request-Id of an attempt: the same for the same key, another for every other."""
    return hashlib.sha256(f"agentpay.paypal\n{key}".encode("utf-8", "surrogatepass")).hexdigest()[:38]


@dataclass(frozen=True)
class Mark:
    """What PayPal keeps with a purchase or a refund of ours. `steps`: 1, or 2 where the payer approves first, and 0 of
    a refund: what a person refunds at PayPal may carry the mark of its charge."""

    key: str
    steps: int
    money: Money

    def __str__(self) -> str:
        return f"{self.key}.{self.steps}.{value_of(self.money)}.{self.money.currency}"

    @classmethod
    def read(cls, text: object) -> Mark | None:
        """The mark in a `custom_id`; None where it is none of ours."""
        found = _MARK.match(text) if isinstance(text, str) else None
        if found is None:
            return None
        try:
            return cls(found["key"], int(found["steps"]), Money(found["value"], found["currency"]))
        except AgentPayError:
            return None


def reference(thing: Thing, identifier: object) -> str | None:
    """PayPal's id as our reference; None where it is no id."""
    return f"{thing}:{identifier}" if isinstance(identifier, str) and _ID.match(identifier) else None


def split(text: str | None) -> tuple[Thing | None, str]:
    """A reference's thing and PayPal's id; (None, "") where it is no reference of ours."""
    found = _REFERENCE.match(text or "")
    return (None, "") if found is None else (cast(Thing, found["thing"]), found["id"])


def vaulted(customer: str) -> tuple[Wallet, str] | None:
    """The wallet and the vault id of a saved method; None where the customer has none."""
    found = _VAULTED.match(customer)
    return None if found is None else (cast(Wallet, found["wallet"]), found["id"])
