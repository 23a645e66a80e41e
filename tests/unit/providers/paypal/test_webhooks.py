"""A webhook is believed only where its certificate, its signature, its age and its webhook id are right."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentpay.errors import ProviderError, ProviderUnsupported, WebhookInvalid
from agentpay.providers.paypal import PayPalProvider
from agentpay.providers.paypal_certificates import Certificates, checked_url, known_intermediates, known_roots
from agentpay.providers.paypal_webhooks import LONGEST_BODY, Verifier
from agentpay.testing.paypal_fake import Delivery, PayPalFake, Signing
from agentpay.testing.paypal_fake.signing import CERTIFICATE_URL
from conftest import START

EVENT = {
    "id": "WH-1",
    "event_type": "PAYMENT.SOMETHING.NEW",
    "create_time": "2026-01-31T09:59:00Z",
    "resource": {"id": "X", "note": "Grüße ☺ <b>"},
}


def told(provider: PayPalProvider, delivery: Delivery, **changes: Any) -> object:
    headers = {**delivery.headers, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return provider.parse_webhook(delivery.body, {k: v for k, v in headers.items() if v is not None}, START)


@pytest.fixture(params=["offline", "endpoint"])
def verifying(request: pytest.FixtureRequest, fake: PayPalFake) -> Any:
    """PayPal, with webhooks verified in either way."""
    made = fake.provider(verifier=fake.verifier(by_endpoint=request.param == "endpoint"))
    yield made
    made.close()


def test_a_webhook_of_paypals_is_believed(fake: PayPalFake, verifying: PayPalProvider) -> None:
    event = verifying.parse_webhook(*_parts(fake.delivered(EVENT)), START)
    assert (event.id, event.account, event.kind, event.news) == ("WH-1", fake.client_id, "PAYMENT.SOMETHING.NEW", ())
    assert event.created_at == START - timedelta(minutes=1)


def _parts(delivery: Delivery) -> tuple[bytes, Any]:
    return delivery.body, delivery.headers


TAMPERED: dict[str, Callable[[Delivery], Delivery]] = {
    "body": lambda one: replace(one, body=one.body.replace(b"WH-1", b"WH-2")),
    "a space": lambda one: replace(one, body=one.body + b" "),
    "signature": lambda one: _with(one, "paypal-transmission-sig", base64.b64encode(b"x" * 256).decode()),
    "no base64": lambda one: _with(one, "paypal-transmission-sig", "%%%"),
    "time": lambda one: _with(one, "paypal-transmission-time", "2026-01-31T09:59:59Z"),
    "transmission": lambda one: _with(one, "paypal-transmission-id", "another"),
}


def _with(delivery: Delivery, name: str, value: str) -> Delivery:
    return replace(delivery, headers={**delivery.headers, name: value})


@pytest.mark.parametrize("what", TAMPERED)
def test_a_webhook_that_somebody_changed_is_not(fake: PayPalFake, verifying: PayPalProvider, what: str) -> None:
    with pytest.raises(WebhookInvalid):
        told(verifying, TAMPERED[what](fake.delivered(EVENT)))


def test_a_webhook_for_another_webhook_id_is_not(fake: PayPalFake, verifying: PayPalProvider) -> None:
    """The id comes from our settings: that the request names one, in whatever header, changes nothing."""
    delivery = fake.signing.signed(EVENT, webhook_id="8PT597110X687430X", at=START)
    with pytest.raises(WebhookInvalid):
        told(verifying, _with(delivery, "paypal-webhook-id", "8PT597110X687430X"))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "https://evil.example/api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
        "https://api.paypal.com:x/v1/notifications/certs/CERT-1",
        "https://user:pw@api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/../../oauth2/token",
        "https://api.paypal.com/v1/notifications/certs/CERT-1?next=https://evil.example",
        "https://api.paypal.com/v1/notifications/certs/CERT-1#x",
        "https://api.paypal.com/v1/notifications/certs/",
        "https://api.paypal.com/redirect?to=/v1/notifications/certs/CERT-1",
        "https://www.paypal.com/v1/notifications/certs/CERT-1",
        "https://ápi.paypal.com/v1/notifications/certs/CERT-1",
        "https://169.254.169.254/v1/notifications/certs/CERT-1",
        "file:///etc/passwd",
        "https://[::1/v1/notifications/certs/CERT-1",
        "",
        f"https://api.paypal.com/v1/notifications/certs/{'C' * 500}",
    ],
)
def test_a_spoofed_address_of_a_certificate_is_never_fetched(fake: PayPalFake, url: str) -> None:
    fetched: list[str] = []

    def fetch(address: str) -> bytes:
        fetched.append(address)
        return fake.signing.pem()

    certificates = Certificates(fetch=fetch, roots=[fake.signing.root], intermediates=[])
    for by_endpoint in (False, True):
        verifier = Verifier(fake.webhook_id, by_endpoint=by_endpoint, certificates=certificates)
        provider, asked = fake.provider(verifier=verifier), len(fake.received)
        with pytest.raises(WebhookInvalid):
            told(provider, fake.delivered(EVENT), paypal_cert_url=url)
        assert fetched == [] and len(fake.received) == asked
        provider.close()


@pytest.mark.parametrize("host", ["api.paypal.com", "api-m.paypal.com", "api.sandbox.paypal.com", "API.PAYPAL.COM:443"])
def test_paypals_own_addresses_are_taken(host: str) -> None:
    url = f"https://{host}/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270"
    assert checked_url(url) == url


def with_chain(fake: PayPalFake, signing: Signing, *, known: Signing | None = None) -> PayPalProvider:
    certificates = Certificates(fetch=signing.pem, roots=[(known or signing).root], intermediates=[])
    return fake.provider(verifier=Verifier(fake.webhook_id, certificates=certificates))


def test_a_certificate_of_somebody_elses_root_is_not_believed(fake: PayPalFake) -> None:
    mallory = Signing(START)
    provider = with_chain(fake, mallory, known=fake.signing)
    with pytest.raises(WebhookInvalid, match="certificate"):
        told(provider, mallory.signed(EVENT, webhook_id=fake.webhook_id, at=START))


def test_a_certificate_for_another_name_is_not_believed(fake: PayPalFake) -> None:
    """One that a known authority made out, for somebody else's domain."""
    other = Signing(START, name="shop.evil.example")
    with pytest.raises(WebhookInvalid, match="certificate"):
        told(with_chain(fake, other), other.signed(EVENT, webhook_id=fake.webhook_id, at=START))


def test_a_certificate_holds_for_its_time_only_even_where_it_is_kept(fake: PayPalFake) -> None:
    provider = with_chain(fake, fake.signing)
    assert told(provider, fake.delivered(EVENT))
    late = START + timedelta(days=400)
    delivery = fake.signing.signed(EVENT, webhook_id=fake.webhook_id, at=late)
    with pytest.raises(WebhookInvalid, match="certificate"):
        provider.parse_webhook(delivery.body, delivery.headers, late)


@pytest.mark.parametrize(
    "pem", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_is_not_believed(fake: PayPalFake, pem: bytes) -> None:
    certificates = Certificates(fetch=lambda _: pem, roots=[fake.signing.root], intermediates=[])
    provider = fake.provider(verifier=Verifier(fake.webhook_id, certificates=certificates))
    with pytest.raises(WebhookInvalid):
        told(provider, fake.delivered(EVENT))


def test_a_certificate_is_fetched_once(fake: PayPalFake) -> None:
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return fake.signing.pem()

    certificates = Certificates(fetch=fetch, roots=[fake.signing.root], intermediates=[])
    provider = fake.provider(verifier=Verifier(fake.webhook_id, certificates=certificates))
    for _ in range(3):
        assert told(provider, fake.delivered(EVENT))
    assert fetched == [CERTIFICATE_URL]


def test_the_roots_of_the_web_and_what_paypals_sdk_brings_can_be_read() -> None:
    assert len(known_roots()) > 50
    names = [one.subject.rfc4514_string() for one in known_intermediates()]
    assert any("DigiCert SHA2 Extended Validation Server CA" in name for name in names)


@pytest.mark.parametrize("days", [-5, 1])
def test_a_webhook_that_is_too_old_or_from_the_future_is_not(
    fake: PayPalFake, verifying: PayPalProvider, days: int
) -> None:
    delivery = fake.signing.signed(EVENT, webhook_id=fake.webhook_id, at=START + timedelta(days=days))
    with pytest.raises(WebhookInvalid, match="old"):
        told(verifying, delivery)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("paypal-auth-algo", "SHA1withRSA"),
        ("paypal-auth-algo", "none"),
        ("paypal-transmission-time", "yesterday"),
        ("paypal-transmission-time", "2026-01-31T10:00:00"),
        ("paypal-transmission-id", "a\nb"),
        ("paypal-transmission-id", "x" * 3000),
        ("paypal-transmission-id", ""),
        ("paypal-transmission-sig", ""),
        ("paypal-cert-url", ""),
    ],
)
def test_headers_that_paypal_does_not_send_are_refused(
    fake: PayPalFake, provider: PayPalProvider, header: str, value: str
) -> None:
    with pytest.raises(WebhookInvalid):
        told(provider, _with(fake.delivered(EVENT), header, value))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"id": NaN}',
        b"[" * 100_000,
        b" " * (LONGEST_BODY + 1),
        b'{"id": "WH-1"}',
        json.dumps({**EVENT, "create_time": "2026-01-31"}).encode(),
        json.dumps({**EVENT, "event_type": "DROP TABLE"}).encode(),
        json.dumps({**EVENT, "id": 7}).encode(),
    ],
)
def test_a_body_that_is_no_event_is_refused_though_it_is_signed(
    fake: PayPalFake, provider: PayPalProvider, body: bytes
) -> None:
    with pytest.raises(WebhookInvalid):
        told(provider, fake.signing.signed_body(body, webhook_id=fake.webhook_id, at=START))


def test_without_a_webhook_id_no_webhook_is_believed(fake: PayPalFake) -> None:
    provider = fake.provider(verifier=None)
    assert not provider.capabilities().webhooks
    with pytest.raises(ProviderUnsupported, match="PAYPAL_WEBHOOK_ID"):
        told(provider, fake.delivered(EVENT))
    assert list(provider.poll(START)) == []


def test_where_paypal_does_not_answer_the_webhook_comes_again(fake: PayPalFake) -> None:
    provider = fake.provider(verifier=fake.verifier(by_endpoint=True))
    fake.fault("verify", "error_before")
    with pytest.raises(ProviderError, match="again"):
        told(provider, fake.delivered(EVENT))
    assert told(provider, fake.delivered(EVENT))


def test_where_the_certificate_cannot_be_fetched_the_webhook_comes_again(fake: PayPalFake) -> None:
    from agentpay.providers.paypal_http import NoReply

    def fetch(url: str) -> bytes:
        raise NoReply("status 503")

    provider = fake.provider(verifier=Verifier(fake.webhook_id, certificates=Certificates(fetch=fetch)))
    with pytest.raises(WebhookInvalid, match="fetched"):
        told(provider, fake.delivered(EVENT))


def test_no_event_is_left_out_because_there_are_many(fake: PayPalFake, provider: PayPalProvider) -> None:
    """Nobody took webhooks for hours, and what is older than the first page is told by nothing else."""
    told_by_nothing_else = fake.books.tell("PAYMENT.PAYOUTS-ITEM.SUCCEEDED", {})
    for _ in range(7):
        fake.books.tell("PAYMENT.SOMETHING.NEW", {})
    fake.books.longest_page = 3
    read = [event.id for event in provider.poll(fake.clock.now())]
    fake.books.longest_page = 300
    assert told_by_nothing_else["id"] in read and len(read) == len(set(read))


def test_a_page_of_events_that_is_not_answered_takes_none_of_those_before_it_away(
    fake: PayPalFake, provider: PayPalProvider
) -> None:
    newest = [fake.books.tell("PAYMENT.SOMETHING.NEW", {}) for _ in range(3)][-1]
    fake.books.longest_page = 1
    fake.script = lambda point, step, _: _out_of_order(fake) if (point, step) == ("before_answer", "events") else None
    read = [event.id for event in provider.poll(fake.clock.now())]
    fake.script, fake.books.longest_page = None, 300
    assert read == [newest["id"]]


def _out_of_order(fake: PayPalFake) -> None:
    fake.fault("events", "error_before")


def test_a_list_of_events_without_end_is_given_up(fake: PayPalFake, provider: PayPalProvider) -> None:
    for _ in range(60):
        fake.books.tell("PAYMENT.SOMETHING.NEW", {})
    fake.books.longest_page, known = 1, len(fake.received)
    read = provider.poll(fake.clock.now())
    fake.books.longest_page = 300
    assert read and len(fake.received) - known <= 60


def test_events_are_polled_and_fetched_again_as_paypal_keeps_them(fake: PayPalFake, provider: PayPalProvider) -> None:
    fake.books.events.append({"id": "WH-NONSENSE"})
    kept = fake.books.tell("PAYMENT.SOMETHING.NEW", {})
    assert kept["id"] in [event.id for event in provider.poll(START)]
    assert provider.poll(START + timedelta(minutes=14)) == (), "a worker asks every few seconds"
    assert provider.poll(START + timedelta(minutes=15)) != ()
    assert provider.refetch_event(kept["id"]).kind == "PAYMENT.SOMETHING.NEW"
    with pytest.raises(ProviderError):
        provider.refetch_event("WH-NOBODYS")


def test_a_webhook_is_registered_for_all_that_means_something(fake: PayPalFake, provider: PayPalProvider) -> None:
    assert provider.register_webhook("https://shop.example/hooks/paypal") == fake.webhook_id
    kinds = [one["name"] for one in fake.received[-1].body["event_types"]]
    assert "PAYMENT.CAPTURE.COMPLETED" in kinds and len(kinds) == len(set(kinds))
