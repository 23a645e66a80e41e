"""Usage becomes money: claimed in whole minor units, once, the remainder carried."""

from __future__ import annotations

import pytest

from agentpay.errors import Conflict, NotFound
from agentpay.storage import Store, Tx
from agentpay.usage import bills
from integration.usage.shop import Shop, minor_nanos
from support.parallel import run_threads, values


def claim(shop: Shop, bill: str, currency: str = "USD") -> int:
    who = shop.customer()
    return shop.store.write(lambda tx: bills.claim_unbilled(tx, who.id, currency, bill, tx.now()))


def cost(shop: Shop, amount: str, currency: str = "USD") -> None:
    shop.use("x", cost=amount, currency=currency)


def release(shop: Shop, bill: str) -> bool:
    return shop.store.write(lambda tx: bills.release_claimed(tx, bill))


def settle(shop: Shop, bill: str) -> bool:
    return shop.store.write(lambda tx: bills.settle_claimed(tx, bill))


def test_whole_cents_are_claimed_and_the_rest_is_carried(shop: Shop) -> None:
    for amount in ("0.004", "0.004", "0.0041"):
        cost(shop, amount)
    assert claim(shop, "bil_1") == minor_nanos(1)
    assert shop.unbilled() == 2_100_000
    assert claim(shop, "bil_2") == 0
    cost(shop, "0.0079")
    assert claim(shop, "bil_2") == minor_nanos(1)
    assert shop.unbilled() == 0


def test_nothing_is_claimed_twice(shop: Shop) -> None:
    cost(shop, "0.05")
    assert claim(shop, "bil_1") == minor_nanos(5)
    assert claim(shop, "bil_1") == minor_nanos(5)  # the same bill has what it has
    assert claim(shop, "bil_2") == 0
    with pytest.raises(Conflict):
        claim(shop, "bil_1", "EUR")


def test_what_is_given_back_is_unbilled_again(shop: Shop) -> None:
    cost(shop, "0.015")
    claim(shop, "bil_1")
    cost(shop, "0.017")
    assert claim(shop, "bil_2") == minor_nanos(2)  # with the half cent of the first
    assert shop.unbilled() == 2_000_000
    assert release(shop, "bil_1")
    assert not release(shop, "bil_1")
    assert shop.unbilled() == 12_000_000
    assert settle(shop, "bil_2")
    assert claim(shop, "bil_3") == minor_nanos(1)
    assert settle(shop, "bil_3")
    assert shop.unbilled() == 2_000_000
    with pytest.raises(Conflict):
        claim(shop, "bil_1")


def test_a_bill_ends_once(shop: Shop) -> None:
    cost(shop, "0.05")
    claim(shop, "bil_1")
    assert settle(shop, "bil_1")
    assert not settle(shop, "bil_1")
    assert not release(shop, "bil_1")
    for end in (settle, release):
        with pytest.raises(NotFound):
            end(shop, "bil_none")


def test_currencies_are_apart(shop: Shop) -> None:
    cost(shop, "0.05", "USD")
    cost(shop, "5.5", "JPY")
    who = shop.customer()
    assert shop.store.read(lambda tx: bills.unbilled(tx, who.id)) == [("JPY", 5_500_000_000), ("USD", minor_nanos(5))]
    assert shop.store.read(lambda tx: bills.unbilled(tx, who.id, "USD")) == [("USD", minor_nanos(5))]
    assert claim(shop, "bil_1", "JPY") == minor_nanos(5, "JPY")
    assert shop.unbilled("USD") == minor_nanos(5)


def test_what_was_paid_too_much_comes_off_the_next_bill(shop: Shop) -> None:
    cost(shop, "0.05")
    claim(shop, "bil_1")
    release(shop, "bil_1")
    who = shop.customer()
    shop.store.write(lambda tx: bills.credit_next_bill(tx, who.id, "USD", minor_nanos(3)))
    assert claim(shop, "bil_2") == minor_nanos(2)


def test_customers_to_bill_are_found(shop: Shop, store: Store) -> None:
    for name in ("ana", "bob"):
        shop.use("x", name=name, cost="0.01")
    shop.use("x", name="eve")

    def found(tx: Tx) -> list[str]:
        first = bills.customers_to_bill(tx, 1)
        return first + bills.customers_to_bill(tx, 5, first[-1])

    assert sorted(store.read(found)) == sorted(shop.customer(name).id for name in ("ana", "bob"))


def test_claiming_while_usage_comes_in_loses_nothing(shop: Shop) -> None:
    shop.customer()

    def work(index: int) -> int:
        if index % 2:
            return sum(claim(shop, f"bil_{index}_{n}") for n in range(5))
        for _ in range(5):
            cost(shop, "0.014")
        return 0

    claimed = sum(values(run_threads(4, work)))
    assert claimed + shop.unbilled() == 10 * 14_000_000
