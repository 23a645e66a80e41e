"""Pages on which a customer saves a payment method: made by the provider, once per key. No money moves."""

from __future__ import annotations

from dataclasses import dataclass

from agentpay.audit import log
from agentpay.customers import queries
from agentpay.customers import service as customers
from agentpay.errors import Conflict, IdempotencyConflict
from agentpay.ids import Ids
from agentpay.principal import Principal
from agentpay.providers import limits
from agentpay.providers.base import ReturnUrls, SetupOrder, SetupPage
from agentpay.providers.registry import Providers
from agentpay.providers.seam import answered
from agentpay.storage import keys
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx

OPERATION = "setup_payment_method"


@dataclass(frozen=True)
class SetupAsk:
    """A page that is asked for. A repeat must equal it."""

    customer: str
    urls: ReturnUrls
    provider: str | None
    method: str | None
    key: str

    @property
    def body(self) -> dict[str, object]:
        """What is the same in every repeat."""
        return {
            "customer": self.customer,
            "provider": self.provider,
            "method": self.method,
            "success_url": self.urls.success,
            "cancel_url": self.urls.cancel,
        }


@dataclass(frozen=True)
class Setups:
    """Makes the pages, and knows whose they are."""

    store: Store
    ids: Ids
    providers: Providers

    def begin(self, ask: SetupAsk, principal: Principal) -> SetupPage:
        """The page; the same one for every repeat. It is kept whose it is before the provider is asked for it.

        Raises:
            ProviderUnknown, ProviderUnsupported: the provider is not enabled, or keeps no such methods.
            ProviderError: there is no page yet: repeat with the same key.
            IdempotencyConflict: the key names another page.
        """
        hashed = keys.body_hash(OPERATION, ask.body)
        known = self.store.read(lambda tx: keys.find(tx, principal, OPERATION, ask.key, hashed))
        if known is None:
            limits.check_setup(self.providers.get(ask.provider), ask.method)
            known = self.store.write(lambda tx: self._claimed(tx, ask, principal, hashed))
        row, linked = self.store.read(lambda tx: self._known(tx, known))
        if row.url is not None:
            return SetupPage(row.reference, row.url)
        provider, order = self.providers.get(row.provider), _order(row, linked)
        page = answered(provider, lambda: provider.setup_method(order, order.setup_id))  # our id of it is its key
        self.store.write(lambda tx: queries.keep_page(tx, row.id, reference=page.reference, url=page.url))
        return page

    def _claimed(self, tx: Tx, ask: SetupAsk, principal: Principal, hashed: str) -> str:
        now, setup_id = tx.now(), self.ids.new("set")
        if not keys.claim(tx, principal, OPERATION, ask.key, hashed, setup_id, now):
            known = keys.find(tx, principal, OPERATION, ask.key, hashed)
            if known is None:
                raise IdempotencyConflict(f"The key {ask.key[:60]!r} is in use.")
            return known
        provider = self.providers.get(ask.provider)
        customer = customers.ensure(tx, ask.customer, ids=self.ids, now=now)
        queries.insert_setup(
            tx,
            setup_id,
            customer_id=customer.id,
            provider=provider.name,
            method=ask.method,
            urls=(ask.urls.success, ask.urls.cancel),
            now=now,
        )
        data = {"provider": provider.name, "setup": setup_id}
        log.record(tx, principal=principal, action="customer.setup_begun", object_id=customer.id, data=data, at=now)
        return setup_id

    def _known(self, tx: Tx, setup_id: str) -> tuple[Row, str | None]:
        row = queries.setup(tx, setup_id)
        if row is None:
            raise Conflict("The page was erased with its customer.", next_step="Use a new key for a new customer.")
        return row, customers.reference_of(tx, row.customer_id, row.provider)


def owner(tx: Tx, setup_id: str) -> str | None:
    """Our id of the customer whose page it is; None where it is no page of ours."""
    row = queries.setup(tx, setup_id)
    return None if row is None else row.customer_id


def _order(row: Row, linked: str | None) -> SetupOrder:
    urls = ReturnUrls(row.success_url, row.cancel_url)
    return SetupOrder(row.id, linked or row.customer_id, urls, row.method, linked=linked is not None)
