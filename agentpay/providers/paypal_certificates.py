"""PayPal's signing certificates: fetched from PayPal's own hosts only, and believed only with a chain to a known root.

The address of the certificate comes with the webhook, so from anybody: nothing is fetched before it is on the list.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from agentpay.errors import WebhookInvalid
from agentpay.providers.paypal_http import NoReply, NotReached, Session

HOSTS: Final = frozenset({"api.paypal.com", "api-m.paypal.com", "api.sandbox.paypal.com", "api-m.sandbox.paypal.com"})
NAMES: Final = ("messageverificationcerts.paypal.com", "messageverificationcerts.sandbox.paypal.com")
"""For whom a signing certificate is made out."""

_PATH: Final = "/v1/notifications/certs/"
_LONGEST_URL: Final = 500
_KEPT: Final = 20
_SECONDS: Final = 10.0

Fetch = Callable[[str], bytes]


def known_roots() -> list[x509.Certificate]:
    """The roots that the web trusts, as `certifi` has them."""
    import certifi

    end = b"-----END CERTIFICATE-----\n"
    blocks = Path(certifi.where()).read_bytes().split(end)[:-1]
    return [root for root in map(_root, (block + end for block in blocks)) if root is not None]


def _root(pem: bytes) -> x509.Certificate | None:
    """A root; None where it is of a form that is not allowed any more: PayPal's is none of those."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        try:
            return x509.load_pem_x509_certificate(pem)
        except (ValueError, CryptographyDeprecationWarning):
            return None


def known_intermediates() -> list[x509.Certificate]:
    """What PayPal's SDK brings along to close the gap between PayPal's certificate and a root."""
    import paypalrestsdk

    folder = Path(str(paypalrestsdk.__file__)).parent / "data"
    return [x509.load_pem_x509_certificate(path.read_bytes()) for path in sorted(folder.glob("*.pem"))]


def checked_url(url: str) -> str:
    """The address of a certificate of PayPal's.

    Raises:
        WebhookInvalid: it is another host's, is not encrypted, or names no certificate. Nothing was fetched.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise WebhookInvalid("The address of the certificate is none.") from None
    plain = parts.username is None and parts.password is None and not parts.query and not parts.fragment
    name = parts.path.removeprefix(_PATH)
    named = parts.path.startswith(_PATH) and name.replace("-", "").isalnum() and name.isascii()
    if parts.scheme != "https" or parts.hostname not in HOSTS or port not in (None, 443) or not plain or not named:
        raise WebhookInvalid("The address of the certificate is not PayPal's: nothing was fetched.")
    if len(url) > _LONGEST_URL:
        raise WebhookInvalid("The address of the certificate is too long.")
    return url


class Certificates:
    """Fetches, checks and keeps PayPal's certificates. Safe to share between threads.

    `fetch` gets the PEM text behind an address that was checked; `roots` and `intermediates` are what a chain may be
    built from.
    """

    def __init__(
        self,
        *,
        fetch: Fetch | None = None,
        roots: Sequence[x509.Certificate] | None = None,
        intermediates: Sequence[x509.Certificate] | None = None,
    ) -> None:
        self._fetch = fetch or _fetched
        self._roots = roots
        self._intermediates = intermediates
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[x509.Certificate, ...]] = {}

    def key(self, url: str, now: datetime) -> RSAPublicKey:
        """The public key of the certificate at an address, once its chain is checked for this moment.

        Raises:
            WebhookInvalid: the address is not PayPal's, or the certificate is none of PayPal's that holds now.
        """
        chain = self._chain(checked_url(url))
        leaf, others = chain[0], [*chain[1:], *self._known_intermediates()]
        if not any(_verified(leaf, others, name, self._known_roots(), now) for name in NAMES):
            raise WebhookInvalid("The certificate is not one of PayPal's that holds now.")
        key = leaf.public_key()
        if not isinstance(key, RSAPublicKey):
            raise WebhookInvalid("The certificate has no RSA key.")
        return key

    def _chain(self, url: str) -> tuple[x509.Certificate, ...]:
        with self._lock:
            kept = self._kept.get(url)
        if kept is not None:
            return kept
        try:
            chain = tuple(x509.load_pem_x509_certificates(self._fetch(url)))
        except (NotReached, NoReply) as exc:
            raise WebhookInvalid(
                f"PayPal's certificate could not be fetched: {exc}.", next_step="PayPal delivers the webhook again."
            ) from None
        except ValueError:
            raise WebhookInvalid("What is at the certificate's address is no certificate.") from None
        with self._lock:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[url] = chain
        return chain

    def _known_roots(self) -> Sequence[x509.Certificate]:
        if self._roots is None:
            self._roots = known_roots()
        return self._roots

    def _known_intermediates(self) -> Sequence[x509.Certificate]:
        if self._intermediates is None:
            self._intermediates = known_intermediates()
        return self._intermediates


def _verified(
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    name: str,
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> bool:
    moment = now.astimezone(UTC)
    builder = PolicyBuilder().store(Store(list(roots))).time(moment).max_chain_depth(4)
    try:
        builder.build_server_verifier(x509.DNSName(name)).verify(leaf, list(others))
    except (VerificationError, ValueError):
        return False
    return True


def _fetched(url: str) -> bytes:
    with Session(_SECONDS) as session:
        response = session.get(url)
    if response.status_code != 200:
        raise NoReply(f"status {response.status_code}")
    return bytes(response.content)
