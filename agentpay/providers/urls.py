"""Addresses to which a provider's page sends a customer back: checked before anything is sent."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from agentpay.errors import ValidationError
from agentpay.providers.base import ReturnUrls

LONGEST_URL: Final = 2000
_VISIBLE: Final = re.compile(r"[!-~]+\Z")


def return_urls(*, success_url: object, cancel_url: object) -> ReturnUrls:
    """Both addresses, checked.

    Raises:
        ValidationError: one of them is not as `checked_url` wants it.
    """
    return ReturnUrls(checked_url(success_url, "success_url"), checked_url(cancel_url, "cancel_url"))


def checked_url(value: object, what: str) -> str:
    """An address as it was given: https, or http on this machine itself; ASCII, without a user name or password.

    Raises:
        ValidationError: it is anything else, or longer than 2000 characters.
    """
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_URL:
        raise ValidationError(f"{what} must be an address of 1 to {LONGEST_URL} characters.")
    if not _VISIBLE.match(value) or "\\" in value:
        raise ValidationError(f"{what} has characters that an address has not; write them percent-encoded.")
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValidationError(f"{what} is no address.") from None
    if not host:
        raise ValidationError(f"{what} names no host: it begins with https://")
    if "@" in parts.netloc:
        raise ValidationError(f"{what} must not hold a user name or a password.")
    if parts.scheme != "https" and not (parts.scheme == "http" and _loopback(host)):
        raise ValidationError(f"{what} must begin with https:// (http:// only for this machine itself).")
    return value


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
