"""A chain of certificates made on the spot, and webhooks signed as PayPal signs them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE_URL: Final = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-fake"
NAME: Final = "messageverificationcerts.sandbox.paypal.com"


@dataclass(frozen=True)
class Delivery:
    """A webhook as it arrives: the raw body, and the headers in lower case."""

    body: bytes
    headers: Mapping[str, str]


class Signing:
    """A root, an intermediate and PayPal's certificate below it, all valid for a year around a moment.

    `name`: for whom the certificate is made out; PayPal's, unless a test wants somebody else's.
    """

    def __init__(self, now: datetime, *, name: str = NAME, days: int = 365) -> None:
        self._span = (now - timedelta(days=1), now + timedelta(days=days))
        root_key, middle_key, self._key = (rsa.generate_private_key(65537, 2048) for _ in range(3))
        self.root = self._signed("Fake Root", root_key, "Fake Root", root_key, authority=True)
        self._middle = self._signed("Fake Intermediate", middle_key, "Fake Root", root_key, authority=True)
        self._leaf = self._signed(name, self._key, "Fake Intermediate", middle_key, authority=False)

    def pem(self, _url: str = CERTIFICATE_URL) -> bytes:
        """What is behind the certificate's address: it, and the one above it."""
        kind = serialization.Encoding.PEM
        return self._leaf.public_bytes(kind) + self._middle.public_bytes(kind)

    def signed(
        self, event: Mapping[str, Any], *, webhook_id: str, at: datetime, url: str = CERTIFICATE_URL
    ) -> Delivery:
        """An event as a webhook."""
        body = json.dumps(event, separators=(",", ":")).encode()
        return self.signed_body(body, webhook_id=webhook_id, at=at, url=url)

    def signed_body(self, body: bytes, *, webhook_id: str, at: datetime, url: str = CERTIFICATE_URL) -> Delivery:
        """Any body as a webhook."""
        crc = binascii.crc32(body) & 0xFFFFFFFF
        number, sent = f"tr-{crc:08x}", at.strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"{number}|{sent}|{webhook_id}|{crc}".encode()
        signature = self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        headers = {
            "paypal-auth-algo": "SHA256withRSA",
            "paypal-cert-url": url,
            "paypal-transmission-id": number,
            "paypal-transmission-sig": base64.b64encode(signature).decode(),
            "paypal-transmission-time": sent,
            "content-type": "application/json",
        }
        return Delivery(body, headers)

    def is_ours(self, question: Mapping[str, Any], body: bytes, webhook_id: str) -> bool:
        """What PayPal's endpoint says to the question whether a webhook is its own."""
        crc = binascii.crc32(body) & 0xFFFFFFFF
        text = f"{question['transmission_id']}|{question['transmission_time']}|{webhook_id}|{crc}".encode()
        expected = base64.b64encode(self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
        return bool(question["webhook_id"] == webhook_id and question["transmission_sig"] == expected)

    def _signed(
        self, name: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey, *, authority: bool
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._span[0])
            .not_valid_after(self._span[1])
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(_usage(authority), critical=True)
        )
        if not authority:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
