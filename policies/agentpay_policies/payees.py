"""Who receives money: four forms, parsed and compared as parsed, never by prefix.

| form | receives | direction |
|---|---|---|
| `self` | the operator's own account | collect |
| `stripe:acct_…` | a connected Stripe account | collect |
| `paypal:<merchant id>` | a PayPal merchant | collect |
| `paypal:<e-mail>` | a PayPal payout | send |
| `eip155:<chain>:<address>` | an Ethereum-style address (CAIP-10) | send |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from agentpay_policies.errors import PayeeInvalid
from agentpay_policies.lookalikes import folds_to_ascii, misleading
from agentpay_policies.names import Direction

PayeeKind = Literal["self", "stripe", "paypal_merchant", "paypal_email", "eip155"]

_STRIPE: Final = re.compile(r"acct_[A-Za-z0-9]{1,64}\Z")
_MERCHANT: Final = re.compile(r"[A-Z0-9]{13}\Z")
_LOCAL: Final = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_CHAIN: Final = re.compile(r"[1-9][0-9]{0,17}\Z")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}\Z")
_OTHER_DOTS: Final = "\u3002\uff0e\uff61"
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


@dataclass(frozen=True)
class Payee:
    """A payee in its canonical form. Two payees are the same when they are equal.

    >>> Payee.parse("paypal:Ana@Example.COM.").canonical
    'paypal:ana@example.com'
    """

    kind: PayeeKind
    canonical: str

    @classmethod
    def parse(cls, text: object) -> Payee:
        """Parse one of the four forms.

        Raises:
            PayeeInvalid: anything else: a URL, a port, spaces, a wrong checksum, look-alike or invisible characters.
        """
        if not isinstance(text, str) or not 0 < len(text) <= 320:
            raise PayeeInvalid("A payee is text of 1 to 320 characters.")
        if text == "self":
            return cls("self", "self")
        scheme, _, rest = text.partition(":")
        if scheme == "stripe" and _STRIPE.match(rest):
            return cls("stripe", f"stripe:{rest}")
        if scheme == "paypal" and _MERCHANT.match(rest):
            return cls("paypal_merchant", f"paypal:{rest}")
        if scheme == "paypal" and "@" in rest:
            return cls("paypal_email", f"paypal:{_email(rest)}")
        if scheme == "eip155":
            return cls("eip155", _caip10(rest))
        raise PayeeInvalid(f"{text[:80]!a} is not a payee.")

    @property
    def direction(self) -> Direction:
        """Whether paying it collects from the customer or sends the operator's own money."""
        return "send" if self.kind in ("paypal_email", "eip155") else "collect"

    @property
    def chain(self) -> int | None:
        """The chain id of an `eip155` payee."""
        return int(self.canonical.split(":")[1]) if self.kind == "eip155" else None

    @property
    def address(self) -> str | None:
        """The checksummed address of an `eip155` payee."""
        return self.canonical.split(":")[2] if self.kind == "eip155" else None

    def __str__(self) -> str:
        return self.canonical


SELF: Final = Payee("self", "self")


def _email(text: str) -> str:
    local, _, domain = text.partition("@")
    # Checked before it is lower-cased: some letters that are not ASCII become ASCII by that.
    if not local.isascii() or not text.isprintable() or len(local) > 64 or not _LOCAL.match(local.lower()):
        raise PayeeInvalid(f"{text[:80]!a} is not a plain e-mail address.")
    return f"{local.lower()}@{_domain(domain)}"


def _domain(text: str) -> str:
    """The ASCII form of an internet domain, by IDNA 2008: lower case, punycode, no trailing dot.

    A label that reads like another one is refused, written out or as punycode.
    """
    import idna

    if folds_to_ascii(text) or any(dot in text for dot in _OTHER_DOTS):
        raise PayeeInvalid(f"{text[:80]!a} is not an internet domain.")
    try:
        domain = idna.encode(text.removesuffix(".").lower(), std3_rules=True).decode("ascii")
        read = idna.decode(domain)
    except (idna.IDNAError, UnicodeError) as exc:
        raise PayeeInvalid(f"{text[:80]!a} is not an internet domain.") from exc
    labels = domain.split(".")
    if len(labels) < 2 or len(domain) > 253 or labels[-1].isdigit() or not all(map(_LABEL.match, labels)):
        raise PayeeInvalid(f"{text[:80]!a} is not an internet domain.")
    if any(map(misleading, read.split("."))):
        raise PayeeInvalid(f"{text[:80]!a} has letters that pass for others.")
    return domain


def _caip10(text: str) -> str:
    chain, _, address = text.partition(":")
    if not _CHAIN.match(chain) or not _ADDRESS.match(address):
        raise PayeeInvalid(f"{text[:80]!a} is not <chain>:<address>.")
    checksummed = checksum(address)
    digits = address[2:]
    if digits not in (digits.lower(), digits.upper()) and address != checksummed:
        raise PayeeInvalid(f"The address {address} has a wrong checksum: a character may be mistyped.")
    if int(address, 16) == 0:
        raise PayeeInvalid("The zero address receives nothing: what is sent there is lost.")
    return f"eip155:{chain}:{checksummed}"


def checksum(address: str) -> str:
    """The address with its EIP-55 checksum: a hex letter is upper case where the hash of the address has 8 or more."""
    from eth_hash.auto import keccak

    lower = address[2:].lower()
    digest = keccak(lower.encode("ascii")).hex()
    return "0x" + "".join(
        char.upper() if int(nibble, 16) >= 8 else char for char, nibble in zip(lower, digest, strict=False)
    )
