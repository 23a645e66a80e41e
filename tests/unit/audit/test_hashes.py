"""Hashes of the audit: apart by their domain, steady, and salted where they may name somebody."""

from __future__ import annotations

from datetime import UTC, datetime

from agentpay.audit.hashes import body_of, row_hash, salted, seal_hash
from agentpay.storage.lock import lock_number

AT = datetime(2026, 1, 31, 10, tzinfo=UTC)


def test_a_body_is_the_same_whatever_the_order_of_its_data() -> None:
    def body(data: dict[str, object]) -> str:
        return body_of(at=AT, principal="agent:bot", action="a", object_id="o", data=data, previous="")

    assert body({"b": "2", "a": "1"}) == body({"a": "1", "b": "2"})
    assert body({}) == (
        '{"action":"a","at":"1769853600000000","data":{},"object":"o","previous":"","principal":"agent:bot","v":1}'
    )


def test_each_part_of_a_seal_counts() -> None:
    seals = {seal_hash("", 1, "h"), seal_hash("p", 1, "h"), seal_hash("", 2, "h"), seal_hash("", 1, "g"), row_hash("h")}
    assert len(seals) == 5


def test_a_salted_hash_needs_the_secret() -> None:
    assert salted("s1", "order-42") == salted("s1", "order-42")
    assert salted("s1", "order-42") != salted("s2", "order-42")
    assert salted("s1", "order-42") != salted("s1", "order-43")
    assert "order" not in salted("s1", "order-42")
    assert len(salted("s1", "\ud800")) == 64


def test_a_lock_number_fits_a_bigint() -> None:
    numbers = [lock_number(f"o{number}") for number in range(1000)]
    assert len(set(numbers)) == 1000
    assert all(-(2**63) <= number < 2**63 for number in numbers)
