"""Addresses to come back to: https, or this machine; nothing that a browser reads otherwise than we do."""

from __future__ import annotations

from typing import Any

import pytest

from agentpay.errors import ValidationError
from agentpay.providers.urls import LONGEST_URL, checked_url, return_urls

GOOD = [
    "https://shop.example",
    "https://shop.example:8443/done?a=1&b=%20#x",
    "https://shop.example/done?session={CHECKOUT_SESSION_ID}",
    "http://localhost:8000/done",
    "http://127.0.0.1/done",
    "http://[::1]:9/done",
]
BAD: list[Any] = [
    None, 7, "", " ", "shop.example", "//shop.example", "/done", "ftp://shop.example", "javascript:alert(1)",
    "http://shop.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://127.0.0.1@evil.example",
    "https://user:secret@shop.example", "https://user@shop.example", "https://", "https:///done", "https:shop.example",
    "https://shop.example\\@evil.example", "https://shop.example/\n", " https://shop.example", "https://shop.example/\t",
    "https://shop.example/\u202e", "https://sh\u00f6p.example", "https://shop.example:99999", "https://[::1",
    "https://shop.example/" + "x" * LONGEST_URL,
]  # fmt: skip


@pytest.mark.parametrize("url", GOOD)
def test_an_address_is_kept_as_it_was_given(url: str) -> None:
    assert checked_url(url, "success_url") == url


@pytest.mark.parametrize("url", BAD, ids=lambda url: repr(url)[:40])
def test_anything_else_is_refused_and_the_message_names_which(url: Any) -> None:
    with pytest.raises(ValidationError, match="cancel_url") as refused:
        return_urls(success_url=GOOD[0], cancel_url=url)
    assert "secret" not in refused.value.message
