"""The verbs about customers at their providers: linked, a method saved, a page of their own, usage told to a meter."""

from __future__ import annotations

from agentpay.customers import service as customers
from agentpay.customers.meters import MeterAsk, claim_report
from agentpay.customers.setups import SetupAsk
from agentpay.errors import NotFound, ProviderUnsupported
from agentpay.manager.wiring import Engine
from agentpay.principal import OPERATOR
from agentpay.providers.base import CustomerPortal, SetupPage, UsageMeter
from agentpay.providers.seam import answered
from agentpay.providers.urls import checked_url, return_urls
from agentpay.storage import keys
from agentpay.storage.transaction import Tx
from agentpay_policies.text import identifier


class CustomerVerbs:
    """What the operator's own code does with customers at providers. No tool reaches any of it."""

    _engine: Engine

    def link_customer(self, customer: str, provider: str, reference: str) -> None:
        """Keep what a provider calls a customer (such as `cus_…`), so that its saved method is charged. The provider is
        asked first whether it has that customer.

        Raises:
            ProviderUnknown: the provider is not enabled.
            ValidationError: the reference is none.
            ProviderError: the provider does not answer; nothing was kept.
        """
        identifier(customer, "customer")
        identifier(reference, "reference", longest=255)
        asked = self._engine.providers.get(provider)
        answered(asked, lambda: asked.link(customer, reference))

        def write(tx: Tx) -> None:
            now = tx.now()
            found = customers.ensure(tx, customer, ids=self._engine.ids, now=now)
            customers.link(tx, found, provider, reference, now, OPERATOR)

        self._engine.store.write(write)

    def setup_payment_method(
        self,
        customer: str,
        *,
        success_url: str,
        cancel_url: str,
        provider: str | None = None,
        method: str | None = None,
        idempotency_key: str,
    ) -> SetupPage:
        """Make a page of the provider's on which a customer saves a payment method; once per key. No money moves.

        Raises:
            ProviderUnknown, ProviderUnsupported: the provider is not enabled, or keeps no such methods.
            ProviderError: there is no page yet: repeat with the same key.
            ValidationError, IdempotencyConflict: nothing was done.
        """
        ask = SetupAsk(
            customer=identifier(customer, "customer"),
            urls=return_urls(success_url=success_url, cancel_url=cancel_url),
            provider=provider,
            method=None if method is None else identifier(method, "method", longest=80),
            key=keys.checked_key(idempotency_key),
        )
        return self._engine.setups.begin(ask, OPERATOR)

    def customer_portal(self, customer: str, *, return_url: str, provider: str | None = None) -> str:
        """The address of the provider's page on which a customer sees their own methods and payments, for a short time.

        Raises:
            ProviderUnknown, ProviderUnsupported: the provider is not enabled, or has no such page.
            NotFound: the provider does not know the customer: see `link_customer`.
            ProviderError: there is no page now.
        """
        url = checked_url(return_url, "return_url")
        asked = self._engine.providers.get(provider)
        if not isinstance(asked, CustomerPortal):
            raise ProviderUnsupported(f"The provider {asked.name} has no page for customers.")

        def read(tx: Tx) -> str | None:
            found = customers.known(tx, customer)
            return None if found is None else customers.reference_of(tx, found.id, asked.name)

        reference = self._engine.store.read(read)
        if reference is None:
            raise NotFound(f"{asked.name} does not know the customer.", next_step="Link them with link_customer.")
        return answered(asked, lambda: asked.portal(reference, url))

    def report_usage(
        self, customer: str, meter: str, quantity: int, *, idempotency_key: str, provider: str | None = None
    ) -> None:
        """Tell a billing meter of the provider's of usage, for those who bill by it. Nothing is recorded here.

        A key counts once, for as long as the provider remembers it; a repeat after that is refused, since it could
        count twice.

        Raises:
            ProviderUnknown, ProviderUnsupported: the provider is not enabled, or has no meters.
            NotFound: the provider does not know the customer: see `link_customer`.
            Conflict, IdempotencyConflict: the key is too old, or names other usage.
            ProviderError: it was not taken, or that is not known: repeat with the same key.
        """
        asked = self._engine.providers.get(provider)
        if not isinstance(asked, UsageMeter):
            raise ProviderUnsupported(f"The provider {asked.name} has no meters.")
        ask = MeterAsk(
            customer=identifier(customer, "customer"),
            meter=identifier(meter, "meter", longest=100),
            quantity=quantity,
            provider=asked.name,
            key=keys.checked_key(idempotency_key),
        )
        told = self._engine.store.write(lambda tx: claim_report(tx, ask, asked.meter_key_life, self._engine.ids))
        answered(asked, lambda: asked.report_usage(ask.meter, told.reference, ask.quantity, told.key))
