"""Our provider against localstripe, a Stripe that nobody here wrote, in its own environment: `make test-localstripe`.

Its gaps, so that nobody takes its silence for agreement (1.15.10):

- it ignores idempotency keys: nothing here is sent twice; what keys promise is tested on our own fake;
- it refunds more than was charged, and the same charge twice;
- it does not know `automatic_payment_methods`, `off_session`, `error_on_requires_action`, `cancellation_reason`, nor a
  method named in a confirmation: our launcher drops them, and gives the intent its method before;
- its lists have no filters: what was made at a time cannot be asked for;
- a customer's methods cannot be listed: only the default one is found;
- checkout pages, the customer portal, meters, disputes and search are missing;
- it declines only when a card is attached, or by the one number that fails at the charge, and not by a card error.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import stripe

from agentpay.providers.base import Found
from agentpay.providers.events import AttemptNews
from agentpay.providers.outcomes import Declined, Succeeded, Unknown
from agentpay.providers.stripe import StripeProvider, from_settings
from support.stripe import charge, looked_up, order, refund

KEY, SECRET = "sk_test_localstripe", "whsec_localstripe"
LAUNCHER = Path(__file__).with_name("launcher.py")
NOT_RUN = "localstripe is NOT RUN: AGENTPAY_LOCALSTRIPE names no Python that has it; make test-localstripe does"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where localstripe answers."""
    python = os.environ.get("AGENTPAY_LOCALSTRIPE", "")
    if not python:
        pytest.skip(NOT_RUN)
    process = subprocess.Popen([python, str(LAUNCHER)], stdout=subprocess.PIPE, text=True, env={"PATH": ""})
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    assert port.isdigit(), "localstripe did not start"
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture
def provider(url: str) -> Iterator[StripeProvider]:
    made = from_settings(api_key=KEY, webhook_secret=SECRET, api_base=url)
    yield made
    made.close()


def customer(url: str, number: str = "4242424242424242") -> str:
    """A customer with a default card, made by the SDK itself."""
    client = stripe.StripeClient(KEY, base_addresses={"api": url}, max_network_retries=0)
    made = client.v1.customers.create({"email": "ana@shop.example"})
    card: Any = {"number": number, "exp_month": 12, "exp_year": 2034, "cvc": "123"}
    method = client.v1.payment_methods.create({"type": "card", "card": card})
    client.v1.payment_methods.attach(method.id, {"customer": made.id})
    client.v1.customers.update(made.id, {"invoice_settings": {"default_payment_method": method.id}})
    return made.id


def test_it_answers(provider: StripeProvider) -> None:
    assert provider.health().ok


def test_a_saved_card_is_charged_found_and_refunded(provider: StripeProvider, url: str) -> None:
    known = customer(url)
    provider.link("ana", known)
    done = charge(provider, order(known), "one")
    assert isinstance(done.outcome, Succeeded) and done.names == ["charge", "confirm"]
    assert looked_up(provider, done) == Found(done.outcome)
    back = refund(provider, done.outcome.reference, "5.00", key="back")
    assert isinstance(back.outcome, Succeeded)
    assert looked_up(provider, back, reference=back.outcome.reference) == Found(back.outcome)


def test_a_card_that_fails_at_the_charge_is_found_declined(provider: StripeProvider, url: str) -> None:
    """Its refusal is no card error, which no row of ours knows: unknown, until the intent is looked up."""
    done = charge(provider, order(customer(url, "4000000000000341")), "declined")
    assert isinstance(done.outcome, Unknown)
    found = looked_up(provider, done)
    assert isinstance(found, Found) and isinstance(found.outcome, Declined)


def test_its_signed_webhooks_are_read(provider: StripeProvider, url: str) -> None:
    heard: list[tuple[bytes, dict[str, str]]] = []

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.append((body, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is logged."""

    with HTTPServer(("127.0.0.1", 0), Ear) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        fields = urlencode({"url": f"http://127.0.0.1:{server.server_port}/", "secret": SECRET}).encode()
        with urlopen(Request(f"{url}/_config/webhooks/ours", fields, {"Authorization": f"Bearer {KEY}"}), timeout=5):
            done = charge(provider, order(customer(url)), "told")
        for _ in range(100):
            if any(b"told-1" in body and b"payment_intent.succeeded" in body for body, _ in heard):
                break
            thread.join(0.05)
        server.shutdown()
    events = [provider.parse_webhook(body, headers, datetime.now(UTC)) for body, headers in heard]
    told = [news for event in events for news in event.news if isinstance(news, AttemptNews) and news.key == "told-1"]
    assert done.outcome in [news.outcome for news in told] and isinstance(done.outcome, Succeeded)
