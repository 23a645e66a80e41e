"""The fake's front: tokens, idempotency, faults, and which request goes to which rule of the books."""

from __future__ import annotations

import base64
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from agentpay.clock import Clock, SystemClock
from agentpay.providers.paypal import PayPalProvider
from agentpay.providers.paypal_certificates import Certificates
from agentpay.providers.paypal_ids import request_id
from agentpay.providers.paypal_webhooks import Verifier
from agentpay.testing.paypal_fake.books import Books
from agentpay.testing.paypal_fake.faults import BEFORE, Fault, How
from agentpay.testing.paypal_fake.records import JSON, Movement, Received, Refusal, missing
from agentpay.testing.paypal_fake.signing import Delivery, Signing

Point = str
Script = Callable[[Point, str, str | None], None]
"""Called with the point (`before_move`, `after_move`, `before_answer`), the step and the PayPal-Request-Id."""

ROUTES: Final = (
    ("create", "POST", r"/v2/checkout/orders"),
    ("order", "GET", r"/v2/checkout/orders/([^/]+)"),
    ("capture", "POST", r"/v2/checkout/orders/([^/]+)/capture"),
    ("get_capture", "GET", r"/v2/payments/captures/([^/]+)"),
    ("refund", "POST", r"/v2/payments/captures/([^/]+)/refund"),
    ("get_refund", "GET", r"/v2/payments/refunds/([^/]+)"),
    ("payout", "POST", r"/v1/payments/payouts"),
    ("get_payout", "GET", r"/v1/payments/payouts/([^/]+)"),
    ("transactions", "GET", r"/v1/reporting/transactions"),
    ("setup", "POST", r"/v3/vault/setup-tokens"),
    ("save", "POST", r"/v3/vault/payment-tokens"),
    ("get_saved", "GET", r"/v3/vault/payment-tokens/([^/]+)"),
    ("subscription", "GET", r"/v1/billing/subscriptions/([^/]+)"),
    ("webhook", "POST", r"/v1/notifications/webhooks"),
    ("verify", "POST", r"/v1/notifications/verify-webhook-signature"),
    ("events", "GET", r"/v1/notifications/webhooks-events"),
    ("event", "GET", r"/v1/notifications/webhooks-events/([^/]+)"),
)
"""Which step a request is. A `create` with a saved method is a `charge`."""

_NEEDS_ID: Final = frozenset({"create", "charge", "capture", "refund", "payout", "setup", "save"})


class PayPalFake:
    """A PayPal of one's own. `with PayPalFake() as fake:` serves at `fake.url` until the end of the block.

    `fault` breaks requests, `script` is called at named points of them; `movements` and `received` are for an auditor.
    A request id names one request for ever: a repeat gets the first answer, another request under it is refused.
    """

    def __init__(self, *, clock: Clock | None = None, script: Script | None = None, hang_seconds: float = 3.0) -> None:
        self.clock = clock or SystemClock()
        self.client_id, self.client_secret = "fake-client-id", "fake-client-secret"
        self.webhook_id = "8PT597110X687430L"
        self.books = Books(self.clock, "FAKEMERCHANT1")
        self.received: list[Received] = []
        self.faults: list[Fault] = []
        self.script = script
        self.token_seconds = 3600
        self.tokens_refused = False
        self._hang_seconds = hang_seconds
        self._lock = threading.RLock()
        self._tokens: set[str] = set()
        self._numbers = itertools.count(1)
        self._answers: dict[str, tuple[str, int, JSON]] = {}
        self._server = _Server(self)

    # -- serving -----------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def provider(self, **options: Any) -> PayPalProvider:
        """The provider for this fake, with webhooks verified by the fake's own certificates."""
        given: dict[str, Any] = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "endpoint": self.url,
            "verifier": self.verifier(),
            "clock": self.clock,
        }
        return PayPalProvider(**{**given, **options})

    def verifier(self, *, by_endpoint: bool = False, webhook_id: str | None = None) -> Verifier:
        """What verifies the fake's webhooks. Nothing is made or fetched before the first one."""
        certificates = _OwnCertificates(self)
        return Verifier(webhook_id or self.webhook_id, by_endpoint=by_endpoint, certificates=certificates)

    @cached_property
    def signing(self) -> Signing:
        """The fake's certificates, made when they are first needed."""
        return Signing(self.clock.now())

    # -- what others do ----------------------------------------------------------------------------------------------

    def newest_order(self) -> str:
        """The order that was made last."""
        return next(reversed(self.books.orders))

    def approve(self, order_id: str) -> None:
        """The payer approves."""
        with self._lock:
            order = self.books.order(order_id)
            order["status"] = "APPROVED"
            self.books.tell("CHECKOUT.ORDER.APPROVED", order)

    def expire(self, order_id: str) -> None:
        """Nobody approved, or nobody captured, in time: PayPal knows the order no more."""
        with self._lock:
            order = self.books.orders.pop(order_id)
            if order["status"] == "APPROVED":
                self.books.tell("CHECKOUT.PAYMENT-APPROVAL.REVERSED", {"order_id": order_id})

    def void(self, order_id: str) -> None:
        """The order is voided."""
        with self._lock:
            self.books.order(order_id)["status"] = "VOIDED"

    def refuse(self, thing: str, issue: str) -> None:
        """Whatever is asked of an order, a capture or a saved method is refused with an issue of PayPal's."""
        self.books.refusals[thing] = issue

    def save_method(self, wallet: str = "paypal") -> str:
        """A payer's saved method, as `link_customer` takes it."""
        with self._lock:
            return f"{wallet}:{self.books.save(wallet)['id']}"

    def approve_setup(self, setup_id: str) -> None:
        """The payer approves that their method is saved."""
        with self._lock:
            self.books.setups[setup_id]["status"] = "APPROVED"

    def dispute(self, capture_id: str, *, outcome: str | None = None, reason: str = "UNAUTHORISED") -> JSON:
        """The payer disputes a capture, or PayPal decided about it."""
        amount = self.books.captures[capture_id]["amount"]
        resource: JSON = {
            "dispute_id": f"PP-D-{capture_id[-5:]}",
            "disputed_transactions": [{"seller_transaction_id": capture_id}],
            "reason": reason,
            "dispute_amount": amount,
            "status": "RESOLVED" if outcome else "OPEN",
        }
        if outcome is not None:
            resource["dispute_outcome"] = {"outcome_code": outcome}
        with self._lock:
            return self.books.tell(f"CUSTOMER.DISPUTE.{'RESOLVED' if outcome else 'CREATED'}", resource)

    def reverse(self, capture_id: str) -> JSON:
        """PayPal takes a capture back."""
        links = [{"rel": "up", "href": f"https://api-m.sandbox.paypal.com/v2/payments/captures/{capture_id}"}]
        resource = {"id": self.books.new_id("9R"), "amount": self.books.captures[capture_id]["amount"], "links": links}
        with self._lock:
            return self.books.tell("PAYMENT.CAPTURE.REVERSED", resource)

    def expire_tokens(self) -> None:
        """No token that was given is taken any more."""
        with self._lock:
            self._tokens.clear()

    def fault(self, step: str, how: How, *, times: int = 1, key: str | None = None, issue: str | None = None) -> Fault:
        """Let the next requests of a step (`*`: any) meet a fault; with `key`, those of one attempt's key."""
        made = Fault(step, how, times, None if key is None else request_id(key), issue)
        self.faults.append(made)
        return made

    # -- for the auditor ---------------------------------------------------------------------------------------------

    def movements(self) -> list[Movement]:
        """Every movement of money, oldest first."""
        with self._lock:
            return list(self.books.movements)

    def effects(self) -> int:
        """How many movements of money there were."""
        return len(self.movements())

    def steps(self) -> list[str]:
        """What was asked for, in order, tokens included."""
        return [one.step for one in self.received]

    def event(self, kind: str) -> JSON:
        """The newest event of a kind."""
        return next(one for one in reversed(self.books.events) if one["event_type"] == kind)

    def delivered(self, event: Mapping[str, Any]) -> Delivery:
        """An event as a signed webhook, sent now."""
        return self.signing.signed(event, webhook_id=self.webhook_id, at=self.clock.now())

    # -- taking requests ---------------------------------------------------------------------------------------------

    def token(self, authorization: str) -> tuple[int, JSON]:
        """Give a token for the right credentials."""
        pair = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        if authorization != f"Basic {pair}":
            return 401, {"error": "invalid_client", "error_description": "Client Authentication failed"}
        with self._lock:
            token = f"FAKE-TOKEN-{next(self._numbers)}"
            self._tokens.add(token)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.token_seconds, "scope": "fake"}

    def fault_of(self, step: str, given_id: str | None) -> Fault | None:
        """The fault that a request meets, used up by one."""
        with self._lock:
            met = next((fault for fault in self.faults if fault.meets(step, given_id)), None)
            if met is not None:
                met.times -= 1
            return met

    def taken(
        self, step: str, found: list[str], received: Received, query: Mapping[str, str], raw: str
    ) -> tuple[int, JSON]:
        """What the books answer to a request whose token is good."""
        given = received.request_id
        if step in _NEEDS_ID and not given:
            refusal = Refusal(400, "INVALID_REQUEST", "PAYPAL_REQUEST_ID_REQUIRED")
            return refusal.status, refusal.body
        mark = f"{received.path}\n{json.dumps(received.body, sort_keys=True)}"
        with self._lock:
            if given is not None and given in self._answers:
                known, status, answer = self._answers[given]
                if known != mark:
                    return 422, {"name": "UNPROCESSABLE_ENTITY", "details": [{"issue": "DUPLICATE_REQUEST_ID"}]}
                return (200 if status < 300 else status), answer
            try:
                status, answer = (
                    (201 if received.method == "POST" else 200),
                    self._asked(step, found, received, query, raw),
                )
            except Refusal as refusal:
                status, answer = refusal.status, refusal.body
            answer = json.loads(json.dumps(answer))
            if given is not None:
                self._answers[given] = (mark, status, answer)
            return status, answer

    def may_enter(self, authorization: str) -> bool:
        """Whether a token is good."""
        with self._lock:
            return not self.tokens_refused and authorization.removeprefix("Bearer ") in self._tokens

    def called(self, point: Point, step: str, given: str | None) -> None:
        """Tell the script where a request is."""
        if self.script is not None:
            self.script(point, step, given)

    def _asked(self, step: str, found: list[str], received: Received, query: Mapping[str, str], raw: str) -> JSON:
        books, body = self.books, received.body
        rules: dict[str, Callable[[], JSON]] = {
            "create": lambda: books.create_order(body),
            "charge": lambda: books.create_order(body),
            "order": lambda: books.order(found[0]),
            "capture": lambda: books.capture_order(found[0]),
            "get_capture": lambda: books.capture(found[0]),
            "refund": lambda: books.refund(found[0], body),
            "get_refund": lambda: _found(books.refunds, found[0]),
            "payout": lambda: books.create_payout(body),
            "get_payout": lambda: _found(books.payouts, found[0]),
            "transactions": lambda: books.transactions(query),
            "setup": lambda: books.create_setup(body),
            "save": lambda: books.create_saved(body),
            "get_saved": lambda: _found(books.saved, found[0]),
            "subscription": lambda: _found(books.subscriptions, found[0]),
            "webhook": lambda: self._webhook(body),
            "verify": lambda: self._verified(body, raw),
            "events": lambda: books.listed_events(query),
            "event": lambda: _found({one["id"]: one for one in books.events}, found[0]),
        }
        return rules[step]()

    def _webhook(self, body: Mapping[str, Any]) -> JSON:
        self.books.webhooks[self.webhook_id] = {"id": self.webhook_id, **body}
        return self.books.webhooks[self.webhook_id]

    def _verified(self, body: Mapping[str, Any], raw: str) -> JSON:
        event = raw.partition('"webhook_event":')[2].strip().removesuffix("}").encode()
        good = self.signing.is_ours(body, event, self.webhook_id)
        return {"verification_status": "SUCCESS" if good else "FAILURE"}


class _OwnCertificates(Certificates):
    """Certificates whose root is the fake's."""

    def __init__(self, fake: PayPalFake) -> None:
        super().__init__(fetch=lambda url: fake.signing.pem(url), intermediates=[])
        self._fake = fake

    def _known_roots(self) -> Any:
        return [self._fake.signing.root]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, fake: PayPalFake) -> None:
        self.fake = fake
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def hang_seconds(self) -> float:
        return self.fake._hang_seconds

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no event."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Any request."""
        self._handle()

    do_POST = do_PATCH = do_DELETE = do_GET

    def _handle(self) -> None:
        fake, parts = self.server.fake, urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        if parts.path == "/v1/oauth2/token":
            step, found = "token", list[str]()
        else:
            step, found = _route(self.command, parts.path)
        body = _parsed(raw)
        if step == "create" and any("vault_id" in one for one in (body.get("payment_source") or {}).values()):
            step = "charge"
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(step, self.command, self.path, headers.get("paypal-request-id"), body, headers)
        fake.received.append(received)
        fault = fake.fault_of(step, received.request_id)
        if fault is not None and fault.how in BEFORE:
            self._broken(fault, None)
            return
        fake.called("before_move", step, received.request_id)
        before = fake.effects()
        status, answer = self._answered(step, found, received, parts.query, raw)
        if fake.effects() > before:
            fake.called("after_move", step, received.request_id)
        fake.called("before_answer", step, received.request_id)
        if fault is None:
            self._send(status, json.dumps(answer).encode())
        else:
            self._broken(fault, answer)

    def _answered(self, step: str, found: list[str], received: Received, query: str, raw: str) -> tuple[int, JSON]:
        fake = self.server.fake
        if step == "token":
            return fake.token(received.headers.get("authorization", ""))
        if not fake.may_enter(received.headers.get("authorization", "")):
            return 401, {"error": "invalid_token", "error_description": "Token signature verification failed"}
        if step == "unknown":
            return 404, missing().body
        return fake.taken(step, found, received, dict(parse_qsl(query)), raw)

    def _broken(self, fault: Fault, answer: JSON | None) -> None:
        known = fault.answer
        if known is not None:
            self._send(known[0], json.dumps(known[1]).encode())
        elif fault.how == "malformed":
            self._send(200, b"<html>busy</html>")
        elif fault.how == "nonsense":
            self._send(
                200, b'{"id": 7, "status": {}, "purchase_units": [3], "links": "x", "payment_source": 4, "items": 5}'
            )
        elif fault.how == "huge":
            self._send(200, json.dumps({**(answer or {}), "padding": "x" * 5_000_000}).encode())
        elif fault.how == "redirect":
            self._send(307, b"{}", {"Location": f"{self.server.fake.url}{self.path}"})
        elif fault.how == "drip":
            self._drip(json.dumps(answer).encode())
        else:
            if fault.how.startswith("hang"):
                time.sleep(self.server.hang_seconds)
            self.close_connection = True
            self.connection.close()

    def _drip(self, body: bytes) -> None:
        """Send a byte now and then: each within the time that a read may take."""
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        end = time.monotonic() + self.server.hang_seconds
        for byte in body:
            if time.monotonic() > end:
                break
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.05)
        self.close_connection = True

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "PayPal-Debug-Id": "fake", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _route(method: str, path: str) -> tuple[str, list[str]]:
    for step, verb, pattern in ROUTES:
        match = re.fullmatch(pattern, path)
        if match is not None and verb == method:
            return step, [unquote(one) for one in match.groups()]
    return "unknown", []


def _parsed(raw: str) -> JSON:
    try:
        body = json.loads(raw) if raw.startswith("{") else {}
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _found(things: Mapping[str, JSON], identifier: str) -> JSON:
    if identifier not in things:
        raise missing()
    return things[identifier]
