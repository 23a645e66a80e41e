"""Customers at their providers: linked after the provider was asked, methods saved on a page, a page of their own."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.customers import setups
from agentpay.customers.tables import CustomerSetupRow
from agentpay.errors import ProviderError, ValidationError
from agentpay.providers.base import SetupOrder, SetupPage
from agentpay.providers.mock import MockProvider
from agentpay.storage.types import table
from support.bench import Bench, code_of
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider

URLS = {"success_url": "https://shop.example/done", "cancel_url": "https://shop.example/back"}


class Asked(MockProvider):
    """Counts what it is asked, and answers as it is told."""

    orders: list[SetupOrder]
    error: Exception | None = None

    def setup_method(self, order: SetupOrder, key: str) -> SetupPage:
        if self.error is not None:
            raise self.error
        self.orders.append(order)
        assert key == order.setup_id
        return super().setup_method(order, key)

    def link(self, customer: str, reference: str) -> None:
        if self.error is not None:
            raise self.error
        super().link(customer, reference)


class AskedUnderItsOwnName(Asked):
    @property
    def name(self) -> str:
        return "asked"


def asking(make_bench: MakeBench) -> tuple[Bench, Asked]:
    provider = AskedUnderItsOwnName("memory://")
    provider.orders = []
    return make_bench(providers=(provider,)), provider


def begin(bench: Bench, customer: str = "ana", **more: Any) -> SetupPage:
    given: dict[str, Any] = {"idempotency_key": "one", "provider": "asked", **URLS, **more}
    return bench.manager.setup_payment_method(customer, **given)


def test_a_page_is_made_once_per_key_and_it_is_known_whose_it_is(make_bench: MakeBench) -> None:
    bench, provider = asking(make_bench)
    page = begin(bench)
    assert page.url.startswith("https://") and begin(bench) == page and len(provider.orders) == 1
    (order,) = provider.orders
    (customer,) = bench.manager.list_customers()
    assert (order.customer, order.linked, order.urls.success) == (customer.id, False, URLS["success_url"])
    assert bench.engine.store.read(lambda tx: setups.owner(tx, order.setup_id)) == customer.id
    assert bench.engine.store.read(lambda tx: setups.owner(tx, "set_none")) is None
    assert bench.actions(customer.id) == ["customer.setup_begun"]
    assert begin(bench, idempotency_key="two").reference != page.reference


def test_a_page_goes_with_its_customer(make_bench: MakeBench) -> None:
    bench, provider = asking(make_bench)
    begin(bench)
    bench.manager.erase_customer("ana")
    assert not bench.rows(sa.select(table(CustomerSetupRow)))
    assert code_of(lambda: begin(bench)) == "CONFLICT" and len(provider.orders) == 1


def test_a_linked_customer_is_named_as_the_provider_does(make_bench: MakeBench) -> None:
    bench, provider = asking(make_bench)
    bench.manager.link_customer("ana", "asked", "theirs")
    begin(bench)
    assert [(order.customer, order.linked) for order in provider.orders] == [("theirs", True)]


@pytest.mark.parametrize("error", [RuntimeError("secret"), ProviderError("down")])
def test_a_page_that_was_not_made_is_made_by_a_repeat(make_bench: MakeBench, error: Exception) -> None:
    bench, provider = asking(make_bench)
    provider.error = error
    with pytest.raises(ProviderError) as raised:
        begin(bench)
    assert "secret" not in str(raised.value)
    provider.error = None
    assert begin(bench).url and len(provider.orders) == 1


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"success_url": "http://shop.example"}, "INVALID_ARGUMENT"),
        ({"provider": "none"}, "PROVIDER_UNKNOWN"),
        ({"provider": "scripted"}, "PROVIDER_UNSUPPORTED"),
        ({"method": "shells"}, "PROVIDER_UNSUPPORTED"),
        ({"idempotency_key": ""}, "INVALID_ARGUMENT"),
        ({"customer": ""}, "INVALID_ARGUMENT"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    make_bench: MakeBench, bad: dict[str, Any], code: str
) -> None:
    bench = make_bench(providers=(ScriptedProvider(),))
    assert code_of(lambda: begin(bench, **{"provider": "mock", **bad})) == code
    assert bench.manager.list_customers() == () and not bench.rows(sa.select(table(CustomerSetupRow)))


def test_the_key_names_one_page(make_bench: MakeBench) -> None:
    bench, _ = asking(make_bench)
    begin(bench)
    assert code_of(lambda: begin(bench, "ben")) == "IDEMPOTENCY_CONFLICT"


def test_a_reference_that_the_provider_does_not_know_is_not_kept(make_bench: MakeBench) -> None:
    bench, provider = asking(make_bench)
    assert code_of(lambda: bench.manager.link_customer("ana", "asked", "nobody-1")) == "INVALID_ARGUMENT"
    provider.error = RuntimeError("no network")
    assert code_of(lambda: bench.manager.link_customer("ana", "asked", "theirs")) == "PROVIDER_ERROR"
    provider.error = ValidationError("deleted")
    assert code_of(lambda: bench.manager.link_customer("ana", "asked", "theirs")) == "INVALID_ARGUMENT"
    assert bench.manager.list_customers() == ()


def test_the_portal_is_of_a_customer_that_the_provider_knows(make_bench: MakeBench) -> None:
    bench = make_bench(providers=(ScriptedProvider(),))
    url = {"return_url": "https://shop.example/"}
    assert code_of(lambda: bench.manager.customer_portal("ana", **url)) == "NOT_FOUND"
    bench.manager.link_customer("ana", "mock", "theirs/1")
    assert bench.manager.customer_portal("ana", **url).endswith("/theirs%2F1")
    assert code_of(lambda: bench.manager.customer_portal("ana", return_url="/")) == "INVALID_ARGUMENT"
    assert code_of(lambda: bench.manager.customer_portal("ana", provider="scripted", **url)) == "PROVIDER_UNSUPPORTED"


def test_capabilities_are_told_by_provider(make_bench: MakeBench) -> None:
    bench = make_bench(providers=(ScriptedProvider(),))
    told = bench.manager.capabilities()
    assert set(told) == {"mock", "scripted"}
    assert told["mock"].checkout and told["mock"].saved_methods and not told["scripted"].checkout
