"""The contract of a payment provider, as a test class that any author subclasses.

Subclass it under a name that pytest collects, and give it a `provider` fixture, in test mode. Override the small
methods where your provider differs: the money, the customer, the payee, what is declined. Nothing here needs pytest
itself, but for `pytest.skip` where a case does not apply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NoReturn, get_args

from agentpay.errors import AgentPayError, ProviderUnsupported, ValidationError, WebhookInvalid
from agentpay.ids import Ids, RandomIds
from agentpay.providers.base import (
    Capabilities,
    Finding,
    Found,
    Health,
    NotFound,
    Order,
    PaymentProvider,
    Reference,
    RefundOrder,
    Request,
    ReturnUrls,
    SetupOrder,
)
from agentpay.providers.limits import check
from agentpay.providers.outcomes import Declined, Outcome, RequiresAction, Succeeded, Unknown
from agentpay.testing.steps import RecordedStep, RecordingSteps, check_json
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF, Payee, PayeeKind

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")


class ProviderContract:
    """What the engine relies on. Each test is one promise; its name says which."""

    ids: Ids = RandomIds()
    """Makes the keys: fresh ones for each run, since a sandbox remembers those of the last."""

    now: datetime = datetime(2030, 1, 1, 12, tzinfo=UTC)
    """When webhooks are sent and read."""

    webhook_age: timedelta | None = timedelta(days=30)
    """After how long a webhook is refused for its age; None where the provider's carry no time that is signed."""

    # -- override where your provider differs ------------------------------------------------------------------------

    def money(self) -> Money:
        """An amount that is charged without more ado, and that can be refunded in two parts."""
        return Money("20.00", "USD")

    def payee(self) -> Payee:
        """A payee that collects."""
        return SELF

    def customer(self) -> str:
        """A customer whose charges succeed at once."""
        return "contract-customer"

    def order(self) -> Order:
        """A charge that succeeds."""
        return Order(self.ids.new("pay"), self.customer(), self.money(), self.payee())

    def declined_order(self) -> Order | None:
        """A charge that is declined; None where it cannot be asked for."""
        return None

    def several_steps_order(self) -> Order | None:
        """A charge that takes more than one request; None where there is none."""
        return None

    def checkout_order(self) -> Order:
        """A charge that its customer pays on a page. Asked for where the provider has such pages."""
        return replace(self.order(), checkout=ReturnUrls("https://shop.example/done", "https://shop.example/back"))

    def customer_pays(self, provider: PaymentProvider, reference: str) -> bool:  # noqa: ARG002 - for overriding
        """Let the customer pay on the page of that reference; False where a test cannot."""
        return False

    def setup_order(self) -> SetupOrder:
        """A page on which a method is saved. Asked for where the provider keeps methods."""
        urls = ReturnUrls("https://shop.example/done", "https://shop.example/back")
        return SetupOrder(self.ids.new("set"), self.customer(), urls)

    def references(self) -> tuple[str, str] | None:
        """What the provider calls one of its customers, and what nobody is called; None where it cannot tell."""
        return None

    def decline_table(self) -> Mapping[str, str] | None:
        """The provider's own decline codes and what each is for us; None where it has no such table."""
        return None

    def declined_by(self, code: str) -> Order | None:  # noqa: ARG002 - for overriding
        """A charge that is declined with one of the provider's own codes, known or not; None where it cannot be."""
        return None

    def webhook(self, provider: PaymentProvider, now: datetime) -> SignedWebhook | None:  # noqa: ARG002 - for overriding
        """A webhook as the provider sends it at that moment. Asked for where it sends any."""
        return None

    def effects(self, provider: PaymentProvider) -> int | None:  # noqa: ARG002 - for overriding
        """How many movements of money the provider's own books hold; None where that cannot be asked."""
        return None

    def requests(self, provider: PaymentProvider) -> Sequence[tuple[str, Request]] | None:  # noqa: ARG002
        """Every (key, request) that reached the provider, in order; None where that cannot be asked."""
        return None

    # -- what it is ----------------------------------------------------------------------------------------------------

    def test_name_account_and_mode_are_plain(self, provider: PaymentProvider) -> None:
        assert _NAME.match(provider.name), "a name is lower-case letters, digits, - and _"
        assert provider.account, "an account is what is stamped on the database"
        assert provider.mode == "test", "the contract moves money: run it in test mode only"

    def test_capabilities_are_sane(self, provider: PaymentProvider) -> None:
        can = provider.capabilities()
        assert can == provider.capabilities(), "capabilities must not change while a provider lives"
        assert can.payees and can.payees <= set(get_args(PayeeKind)), "at least one kind of payee, of those there are"
        assert can.lease > timedelta(0), "the lease is the longest that one call may be under way"
        assert can.key_life is None or can.key_life > can.lease, "a key must outlive a call"
        assert can.refunds or not can.partial_refunds, "partial refunds are refunds"
        assert can.currencies == "any" or can.currencies, "at least one currency"
        for bounds in (can.minimum, can.maximum):
            assert all(money.currency == currency for currency, money in bounds.items()), "a bound is in its currency"
        for currency in can.minimum.keys() & can.maximum.keys():
            assert can.minimum[currency] <= can.maximum[currency], f"nothing fits between the bounds of {currency}"

    def test_the_order_of_the_contract_is_within_the_capabilities(self, provider: PaymentProvider) -> None:
        check(provider, self.money(), self.payee())

    def test_health_answers_and_moves_no_money(self, provider: PaymentProvider) -> None:
        before = self.effects(provider)
        health = provider.health()
        assert isinstance(health, Health) and health.ok and health.detail
        assert self.effects(provider) == before

    # -- preparing -----------------------------------------------------------------------------------------------------

    def test_prepare_is_pure_and_gives_json(self, provider: PaymentProvider) -> None:
        order, before = self.order(), self._sent(provider)
        request = provider.prepare(order)
        check_json(request)
        assert dict(request) == dict(provider.prepare(order)), "the same order must give the same request"
        assert self._sent(provider) == before, "prepare must send nothing"

    def test_prepare_refund_is_pure_and_gives_json(self, provider: PaymentProvider) -> None:
        self._needs_refunds(provider)
        refund, before = self._refund_order(self.order(), "some-reference", self.money()), self._sent(provider)
        request = provider.prepare_refund(refund)
        check_json(request)
        assert dict(request) == dict(provider.prepare_refund(refund)), "the same refund must give the same request"
        assert self._sent(provider) == before, "prepare_refund must send nothing"

    # -- charging ------------------------------------------------------------------------------------------------------

    def test_a_charge_succeeds_and_is_found_by_its_key(self, provider: PaymentProvider) -> None:
        before = self.effects(provider)
        done = self._charged(provider)
        assert done.reference, "success carries the provider's own id"
        for reference in (None, done.reference):
            found = self._looked_up(provider, done.steps, "charge", reference)
            assert found == Found(Succeeded(done.reference)), f"the look-up of a charge that succeeded gave {found}"
        self._moved(provider, before, 1)

    def test_the_same_key_gives_the_same_answer_and_moves_once(self, provider: PaymentProvider) -> None:
        before = self.effects(provider)
        done = self._charged(provider)
        again, _ = self._charge(provider, done.order, done.key)
        assert again == Succeeded(done.reference), "a repeat gets the first answer"
        self._moved(provider, before, 1)

    def test_the_same_key_with_another_request_is_never_a_success(self, provider: PaymentProvider) -> None:
        done = self._charged(provider)
        before = self.effects(provider)
        other = replace(done.order, money=self._half(done.order.money))
        try:
            outcome, _ = self._charge(provider, other, done.key)
        except AgentPayError:  # a provider may raise what it cannot map: the engine takes that as Unknown
            outcome = Unknown("raised")
        assert not isinstance(outcome, Succeeded), "a key names one request for ever"
        self._moved(provider, before, 0)

    def test_two_keys_are_two_charges(self, provider: PaymentProvider) -> None:
        before = self.effects(provider)
        first, second = self._charged(provider), self._charged(provider)
        assert first.reference != second.reference, "two charges have two references"
        self._moved(provider, before, 2)

    def test_a_decline_is_declined_for_good(self, provider: PaymentProvider) -> None:
        order = self.declined_order()
        if order is None:
            _skip("no declined charge can be asked for")
        else:
            before, key = self.effects(provider), self.ids.new("key")
            outcome, _ = self._charge(provider, order, key)
            assert isinstance(outcome, Declined), f"the charge was to be declined: {outcome}"
            assert re.fullmatch(r"[a-z0-9_]{1,60}", outcome.code), "a code is lower-case, of a closed table"
            assert outcome.message, "a decline says why"
            assert self._charge(provider, order, key)[0] == outcome, "a repeat gets the first answer"
            self._moved(provider, before, 0)

    def test_every_request_was_recorded_before_it_was_sent(self, provider: PaymentProvider) -> None:
        order = self.several_steps_order() or self.order()
        known = len(self.requests(provider) or ())
        steps = RecordingSteps(provider.prepare(order), key=self.ids.new("key"))
        assert isinstance(provider.charge(order, steps), Succeeded)
        steps.finish()
        seen = self.requests(provider)
        if seen is not None:
            recorded = [(step.key, dict(step.request)) for step in steps.recorded]
            assert [(key, dict(request)) for key, request in seen[known:]] == recorded

    def test_nothing_is_sent_after_a_record_that_failed(self, provider: PaymentProvider) -> None:
        order = self.several_steps_order()
        if order is None:
            _skip("a charge takes one request")
        else:
            before = self.effects(provider)
            steps = RecordingSteps(provider.prepare(order), key=self.ids.new("key"), on_record=_refuse)
            try:
                provider.charge(order, steps)
            except _CommitFailed:
                pass
            else:
                raise AssertionError("what `record` raises must pass through the provider")
            self._moved(provider, before, 0)

    # -- looking up ----------------------------------------------------------------------------------------------------

    def test_a_look_up_of_an_unknown_key_finds_nothing(self, provider: PaymentProvider) -> None:
        before, order = self.effects(provider), self.order()
        reference = Reference(self.ids.new("key"), "charge", "charge", provider.prepare(order))
        finding = provider.lookup(reference)
        assert not isinstance(finding, Found), "what was never sent cannot be found"
        if provider.capabilities().consistent_lookup:
            assert finding == NotFound()
        self._moved(provider, before, 0)

    # -- refunding -----------------------------------------------------------------------------------------------------

    def test_a_full_refund_succeeds_once_and_is_found(self, provider: PaymentProvider) -> None:
        self._needs_refunds(provider)
        done = self._charged(provider)
        before, key = self.effects(provider), self.ids.new("key")
        refund = self._refund_order(done.order, done.reference, done.order.money)
        outcome, steps = self._refund(provider, refund, key)
        assert isinstance(outcome, Succeeded) and outcome.reference, f"a full refund gave {outcome}"
        assert self._refund(provider, refund, key)[0] == outcome, "a repeat gets the first answer"
        assert self._looked_up(provider, steps, "refund", None) == Found(outcome), "a refund is found by its key"
        self._moved(provider, before, 1)

    def test_partial_refunds_end_at_the_charge(self, provider: PaymentProvider) -> None:
        self._needs_refunds(provider)
        if not provider.capabilities().partial_refunds:
            _skip("the provider refunds a payment as a whole only")
        done = self._charged(provider)
        half = self._half(done.order.money)
        for money in (half, done.order.money - half):
            outcome = self._refunded(provider, done, money)
            assert isinstance(outcome, Succeeded), f"a partial refund gave {outcome}"
        before = self.effects(provider)
        outcome = self._refunded(provider, done, half)
        assert isinstance(outcome, Declined), f"a refund of more than is left gave {outcome}"
        self._moved(provider, before, 0)

    def test_a_refund_of_more_than_the_charge_is_declined(self, provider: PaymentProvider) -> None:
        self._needs_refunds(provider)
        done = self._charged(provider)
        before = self.effects(provider)
        outcome = self._refunded(provider, done, done.order.money + done.order.money)
        assert isinstance(outcome, Declined) and outcome.code, f"a refund of more than was charged gave {outcome}"
        self._moved(provider, before, 0)

    # -- pages ---------------------------------------------------------------------------------------------------------

    def test_a_checkout_waits_for_its_customer(self, provider: PaymentProvider) -> None:
        order, key, before = self.checkout_order(), self.ids.new("key"), self.effects(provider)
        steps = RecordingSteps(provider.prepare(order) if self._can(provider).checkout else {}, key=key)
        if not self._can(provider).checkout:
            _refused(lambda: provider.checkout(order, steps), ProviderUnsupported)
            return
        outcome = provider.checkout(order, steps)
        steps.finish()
        assert isinstance(outcome, RequiresAction) and outcome.url, f"a checkout is a page for its customer: {outcome}"
        again = RecordingSteps(provider.prepare(order), key=key)
        assert provider.checkout(order, again) == outcome, "a repeat gets the same page"
        for reference in (None, outcome.reference):
            found = self._looked_up(provider, steps, "charge", reference)
            assert isinstance(found, Found) and isinstance(found.outcome, RequiresAction), f"the page is found: {found}"
            assert found.outcome.url == outcome.url, "the page that is found is the one that was made"
        self._moved(provider, before, 0)
        if self.customer_pays(provider, outcome.reference):
            found = self._looked_up(provider, steps, "charge", outcome.reference)
            assert isinstance(found, Found) and isinstance(found.outcome, Succeeded), f"the page was paid: {found}"
            self._moved(provider, before, 1)

    def test_a_page_to_save_a_method_is_one_per_key(self, provider: PaymentProvider) -> None:
        order, key, before = self.setup_order(), self.ids.new("key"), self.effects(provider)
        if not self._can(provider).saved_methods:
            _refused(lambda: provider.setup_method(order, key), ProviderUnsupported)
            return
        page = provider.setup_method(order, key)
        assert page.url and page.reference, "a page has an address, and an id at the provider"
        assert provider.setup_method(order, key) == page, "a repeat gets the same page"
        self._moved(provider, before, 0)

    def test_only_a_customer_of_the_provider_is_linked(self, provider: PaymentProvider) -> None:
        references = self.references()
        if references is None:
            _skip("the provider cannot tell its customers from others")
        else:
            known, unknown = references
            provider.link("ana", known)
            _refused(lambda: provider.link("ana", unknown), ValidationError)

    # -- declines ------------------------------------------------------------------------------------------------------

    def test_every_row_of_the_decline_table_declines(self, provider: PaymentProvider) -> None:
        table = self.decline_table()
        if table is None:
            _skip("the provider has no table of declines")
        else:
            before = self.effects(provider)
            for code, ours in table.items():
                order = self.declined_by(code)
                assert order is not None, f"no charge can be declined with {code}"
                outcome, _ = self._charge(provider, order, self.ids.new("key"))
                assert self._declines_so(outcome, ours), f"{code} is to be {ours}, and it was {outcome}"
            self._moved(provider, before, 0)

    def test_a_decline_that_no_row_knows_is_never_more_than_that(self, provider: PaymentProvider) -> None:
        order = self.declined_by("a_code_of_tomorrow")
        if order is None:
            _skip("no charge can be declined with an unknown code")
        else:
            before = self.effects(provider)
            outcome, _ = self._charge(provider, order, self.ids.new("key"))
            assert isinstance(outcome, Declined | Unknown), f"an unknown decline was taken for {outcome}"
            table = self.decline_table() or {}
            assert not isinstance(outcome, Declined) or outcome.code in table.values(), "a code of the closed table"
            self._moved(provider, before, 0)

    def _declines_so(self, outcome: Outcome, code: str) -> bool:
        """Whether a charge was declined with a code of ours. Override where one leads to a page instead."""
        return isinstance(outcome, Declined) and outcome.code == code

    # -- webhooks ------------------------------------------------------------------------------------------------------

    def test_a_webhook_is_believed_only_as_it_was_signed(self, provider: PaymentProvider) -> None:
        now = self.now
        if not self._can(provider).webhooks:
            _refused(lambda: provider.parse_webhook(b"{}", {}, now), ProviderUnsupported)
            return
        sent = self.webhook(provider, now)
        assert sent is not None, "the provider sends webhooks: give the contract one"
        event = provider.parse_webhook(sent.body, sent.headers, now)
        assert (event.id, event.account) == (sent.event_id, provider.account), f"another event was read: {event}"
        assert event == provider.parse_webhook(sent.body, sent.headers, now), "the same body is the same event"
        for body, headers in (
            (sent.body + b" ", sent.headers),
            (sent.body[:-1], sent.headers),
            (b"", sent.headers),
            (sent.body, {}),
            (sent.body, {name: _spoilt(value) for name, value in sent.headers.items()}),
            (sent.body, dict.fromkeys(sent.headers, "nonsense")),
        ):
            _refused(lambda body=body, headers=headers: provider.parse_webhook(body, headers, now), WebhookInvalid)  # type: ignore[misc]
        if self.webhook_age is not None:
            late = now + self.webhook_age
            _refused(lambda: provider.parse_webhook(sent.body, sent.headers, late), WebhookInvalid)

    # -- the end -------------------------------------------------------------------------------------------------------

    def test_closing_twice_is_fine(self, provider: PaymentProvider) -> None:
        provider.close()
        provider.close()

    # -- how -----------------------------------------------------------------------------------------------------------

    def _charge(self, provider: PaymentProvider, order: Order, key: str) -> tuple[Outcome, RecordingSteps]:
        steps = RecordingSteps(provider.prepare(order), key=key)
        outcome = provider.charge(order, steps)
        steps.finish()
        return outcome, steps

    def _charged(self, provider: PaymentProvider) -> _Charged:
        order, key = self.order(), self.ids.new("key")
        outcome, steps = self._charge(provider, order, key)
        assert isinstance(outcome, Succeeded), f"the order of the contract was not charged: {outcome}"
        return _Charged(order, key, steps, outcome.reference)

    def _refund_order(self, order: Order, reference: str, money: Money) -> RefundOrder:
        return RefundOrder(self.ids.new("ref"), order.payment_id, reference, money, order.payee)

    def _refund(self, provider: PaymentProvider, order: RefundOrder, key: str) -> tuple[Outcome, RecordingSteps]:
        steps = RecordingSteps(provider.prepare_refund(order), key=key, name="refund")
        outcome = provider.refund(order, steps)
        steps.finish()
        return outcome, steps

    def _refunded(self, provider: PaymentProvider, done: _Charged, money: Money) -> Outcome:
        order = self._refund_order(done.order, done.reference, money)
        return self._refund(provider, order, self.ids.new("key"))[0]

    def _looked_up(
        self, provider: PaymentProvider, steps: RecordingSteps, kind: Literal["charge", "refund"], reference: str | None
    ) -> Finding:
        last = steps.recorded[-1]
        return provider.lookup(Reference(last.key, kind, last.name, last.request, reference))

    def _half(self, money: Money) -> Money:
        return Money.from_minor(money.minor // 2, money.currency)

    def _can(self, provider: PaymentProvider) -> Capabilities:
        return provider.capabilities()

    def _needs_refunds(self, provider: PaymentProvider) -> None:
        if not provider.capabilities().refunds:
            _skip("the provider gives no refunds")

    def _sent(self, provider: PaymentProvider) -> int | None:
        requests = self.requests(provider)
        return None if requests is None else len(requests)

    def _moved(self, provider: PaymentProvider, before: int | None, times: int) -> None:
        after = self.effects(provider)
        if before is not None and after is not None:
            assert after - before == times, f"money moved {after - before} times, not {times}"


@dataclass(frozen=True)
class _Charged:
    """A charge that succeeded."""

    order: Order
    key: str
    steps: RecordingSteps
    reference: str


@dataclass(frozen=True)
class SignedWebhook:
    """A webhook as it is delivered: its body, its headers in lower case, and the id of the event that it is."""

    body: bytes
    headers: Mapping[str, str]
    event_id: str


class _CommitFailed(Exception):
    """What a storage failure is to a provider: nothing it knows."""


def _refuse(_step: RecordedStep) -> None:
    raise _CommitFailed


def _refused(call: Callable[[], object], kind: type[Exception]) -> None:
    try:
        given = call()
    except kind:
        return
    raise AssertionError(f"it was to raise {kind.__name__}, and gave {given}")


def _spoilt(text: str) -> str:
    """The text with another last character."""
    return text[:-1] + ("0" if text[-1:] != "0" else "1")


def _skip(reason: str) -> NoReturn:
    import pytest

    pytest.skip(reason)
