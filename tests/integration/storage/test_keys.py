"""Idempotency keys: per principal and operation, one operation, for ever."""

from __future__ import annotations

import pytest

from agentpay.errors import IdempotencyConflict, ValidationError
from agentpay.principal import OPERATOR, agent
from agentpay.storage import Store, Tx
from agentpay.storage.keys import body_hash, checked_key, claim, find, target_of
from support.parallel import run_threads, values

BODY = body_hash("charge", {"customer": "alice", "amount": "5.00"})
OTHER = body_hash("charge", {"customer": "alice", "amount": "6.00"})


def test_a_key_names_what_claimed_it(store: Store) -> None:
    def write(tx: Tx) -> bool:
        return claim(tx, OPERATOR, "charge", "order-1", BODY, "pay_1", tx.now())

    assert store.read(lambda tx: find(tx, OPERATOR, "charge", "order-1", BODY)) is None
    assert [store.write(write), store.write(write)] == [True, False]
    assert store.read(lambda tx: find(tx, OPERATOR, "charge", "order-1", BODY)) == "pay_1"
    assert store.read(lambda tx: target_of(tx, OPERATOR, "charge", "order-1")) == "pay_1"
    with pytest.raises(IdempotencyConflict):
        store.read(lambda tx: find(tx, OPERATOR, "charge", "order-1", OTHER))


def test_another_principal_or_operation_has_keys_of_its_own(store: Store) -> None:
    store.write(lambda tx: claim(tx, OPERATOR, "charge", "k", BODY, "pay_1", tx.now()))
    for principal, operation in ((agent("bot"), "charge"), (OPERATOR, "refund")):
        assert store.read(lambda tx, p=principal, o=operation: find(tx, p, o, "k", OTHER)) is None  # type: ignore[misc]


def test_of_many_claims_at_once_one_wins(store: Store) -> None:
    def run(index: int) -> bool:
        return store.write(lambda tx: claim(tx, OPERATOR, "charge", "k", BODY, f"pay_{index}", tx.now()))

    assert sorted(values(run_threads(8, run))) == [False] * 7 + [True]


@pytest.mark.parametrize("key", ["", "  ", "x" * 201, "a\x00b", None, 5])
def test_a_key_that_is_none_is_refused(key: object) -> None:
    with pytest.raises(ValidationError):
        checked_key(key)


def test_the_order_of_a_body_does_not_matter_and_its_operation_does() -> None:
    assert body_hash("charge", {"a": "1", "b": "2"}) == body_hash("charge", {"b": "2", "a": "1"})
    assert body_hash("charge", {"a": "1"}) != body_hash("refund", {"a": "1"})
