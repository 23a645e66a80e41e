"""Calls to PayPal: which SDK makes which, tokens, and what came back as a plain value.

Orders, captures, refunds, the vault, subscriptions and the search of transactions go through `paypal-server-sdk`;
payouts and webhooks through `paypalrestsdk` (see `paypal_rest`). Each request is sent once, and a second time only
after a 401, which says that PayPal did not take it, with a new token.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from paypalserversdk.configuration import Configuration, Environment, Server
from paypalserversdk.exceptions.api_exception import ApiException
from paypalserversdk.http.auth.o_auth_2 import ClientCredentialsAuthCredentials
from paypalserversdk.models.o_auth_token import OAuthToken
from paypalserversdk.paypal_serversdk_client import PaypalServersdkClient

from agentpay.providers.base import Mode
from agentpay.providers.paypal_http import NoReply, NotReached, Session, waiting
from agentpay.providers.paypal_rest import Refused, Rest

_EARLY: Final = 60.0
_WHOLE: Final = "return=representation"


@dataclass(frozen=True)
class Credentials:
    """What opens an account. The secret is in no `repr`."""

    client_id: str
    client_secret: str = field(repr=False)
    mode: Mode
    endpoint: str


@dataclass(frozen=True)
class Reply:
    """PayPal answered: the status and the body, as JSON (None where it was none)."""

    status: int
    body: Any

    @property
    def good(self) -> bool:
        """Whether it is a success that can be read."""
        return 200 <= self.status < 300 and isinstance(self.body, Mapping)


@dataclass(frozen=True)
class NotTaken:
    """It is proved that nothing was sent."""

    why: str


@dataclass(frozen=True)
class Lost:
    """Nothing came back: nothing is known."""

    why: str


Answer = Reply | NotTaken | Lost


class _Endpoint(Configuration):  # type: ignore[misc]  # the SDK has no types
    """A subclass is the SDK's only way to another host."""

    def __init__(self, endpoint: str, **options: Any) -> None:
        self._endpoint = endpoint
        super().__init__(**options)

    def get_base_uri(self, server: object = Server.DEFAULT) -> str:  # noqa: ARG002 - there is one
        return self._endpoint


class Client:
    """Both SDKs on one session. Safe to share between threads."""

    def __init__(self, credentials: Credentials, *, timeout: float) -> None:
        self.credentials = credentials
        self._session = Session(timeout)
        self._lock = threading.Lock()
        self._token = OAuthToken("", "Bearer")  # the SDK keeps this object: it is renewed within it
        self._fresh_until = 0.0
        auth = ClientCredentialsAuthCredentials(
            credentials.client_id,
            credentials.client_secret,
            o_auth_token_provider=lambda _last, _auth: self._token,
            o_auth_clock_skew=0,
        )
        live = credentials.mode == "live"
        self._sdk = PaypalServersdkClient(
            config=_Endpoint(
                credentials.endpoint,
                environment=Environment.PRODUCTION if live else Environment.SANDBOX,
                http_client_instance=self._session,
                client_credentials_auth_credentials=auth,
            )
        )
        self.rest = Rest(
            self._session,
            mode="live" if live else "sandbox",
            endpoint=credentials.endpoint,
            client_id=credentials.client_id,
            client_secret=credentials.client_secret,
        )

    def __repr__(self) -> str:
        return f"<Client {self.credentials!r}>"

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """All calls of this thread in the block end within so many seconds; what has no time left is not sent."""
        return self._session.within(seconds)

    def close(self) -> None:
        """Close the connections; a later call opens them again."""
        self._session.close()

    # -- money -----------------------------------------------------------------------------------------------------

    def create_order(self, body: Mapping[str, object], request_id: str) -> Answer:
        """Make an order; where it names a saved method, that is charged at once."""
        options = {"body": dict(body), "paypal_request_id": request_id, "prefer": _WHOLE}
        return self._call(lambda: self._sdk.orders.create_order(options))

    def capture_order(self, order_id: str, request_id: str) -> Answer:
        """Take the money of an approved order."""
        options = {"id": order_id, "body": {}, "paypal_request_id": request_id, "prefer": _WHOLE}
        return self._call(lambda: self._sdk.orders.capture_order(options))

    def refund(self, capture_id: str, body: Mapping[str, object], request_id: str) -> Answer:
        """Give money of a capture back."""
        options = {"capture_id": capture_id, "body": dict(body), "paypal_request_id": request_id, "prefer": _WHOLE}
        return self._call(lambda: self._sdk.payments.refund_captured_payment(options))

    def create_payout(self, body: Mapping[str, object], request_id: str) -> Answer:
        """Send money to an e-mail address."""
        return self._rest("POST", "/v1/payments/payouts", body, request_id)

    # -- looking up ------------------------------------------------------------------------------------------------

    def order(self, order_id: str) -> Answer:
        """An order with its captures and refunds."""
        return self._call(lambda: self._sdk.orders.get_order({"id": order_id}))

    def capture(self, capture_id: str) -> Answer:
        """A capture."""
        return self._call(lambda: self._sdk.payments.get_captured_payment({"capture_id": capture_id}))

    def refunded(self, refund_id: str) -> Answer:
        """A refund."""
        return self._call(lambda: self._sdk.payments.get_refund({"refund_id": refund_id}))

    def payout(self, batch_id: str) -> Answer:
        """A payout with its item."""
        return self._rest("GET", f"/v1/payments/payouts/{quote(batch_id, safe='')}")

    def transactions(self, options: Mapping[str, object]) -> Answer:
        """A page of the account's transactions. PayPal lists one up to three hours after it happened."""
        return self._call(lambda: self._sdk.transaction_search.search_transactions(dict(options)))

    def subscription(self, subscription_id: str) -> Answer:
        """A subscription of PayPal's own."""
        return self._call(lambda: self._sdk.subscriptions.get_subscription({"id": subscription_id}))

    # -- the vault -------------------------------------------------------------------------------------------------

    def create_setup_token(self, body: Mapping[str, object], request_id: str) -> Answer:
        """Begin to save a method."""
        return self._call(
            lambda: self._sdk.vault.create_setup_token({"body": dict(body), "paypal_request_id": request_id})
        )

    def create_payment_token(self, body: Mapping[str, object], request_id: str) -> Answer:
        """Save a method whose owner approved."""
        return self._call(
            lambda: self._sdk.vault.create_payment_token({"body": dict(body), "paypal_request_id": request_id})
        )

    def payment_token(self, vault_id: str) -> Answer:
        """A saved method."""
        return self._call(lambda: self._sdk.vault.get_payment_token(vault_id))

    # -- webhooks --------------------------------------------------------------------------------------------------

    def create_webhook(self, body: Mapping[str, object]) -> Answer:
        """Have events sent to an address."""
        return self._rest("POST", "/v1/notifications/webhooks", body)

    def verify_webhook(self, body: str) -> Answer:
        """Ask PayPal whether a webhook is its own. The question is JSON as text: its event must stay as it came."""
        return self._rest("POST", "/v1/notifications/verify-webhook-signature", body)

    def event(self, event_id: str) -> Answer:
        """An event as PayPal keeps it."""
        return self._rest("GET", f"/v1/notifications/webhooks-events/{quote(event_id, safe='')}")

    def events(self, query: str) -> Answer:
        """A page of the events of late."""
        return self._rest("GET", f"/v1/notifications/webhooks-events?{query}")

    # -- how -------------------------------------------------------------------------------------------------------

    def authenticate(self) -> Answer:
        """Get a token where there is none that lasts: the answer to it, or a reply of status 200 without one."""
        with waiting(self._lock, self._session.left()) as ours:
            if not ours:
                return NotTaken("there is no token in time")
            if time.monotonic() < self._fresh_until:
                return Reply(200, {})
            try:
                token = self._sdk.auth_managers["Oauth2"].fetch_token()
            except ApiException as exc:
                return _reply(exc.response_code, exc.response.text)
            except (NotReached, NoReply) as exc:
                return NotTaken(f"there is no token: {exc}")
            if not isinstance(getattr(token, "access_token", None), str):
                return NotTaken("the token call gave no token")
            self._token.access_token = token.access_token
            self._fresh_until = time.monotonic() + float(getattr(token, "expires_in", None) or 0) - _EARLY
            return Reply(200, {})

    def _forget_token(self) -> None:
        self._fresh_until = 0.0

    def _call(self, send: Callable[[], Any]) -> Answer:
        answer = self._once(send)
        if isinstance(answer, Reply) and answer.status == 401:
            self._forget_token()
            answer = self._once(send)
        return answer

    def _once(self, send: Callable[[], Any]) -> Answer:
        token = self.authenticate()
        if not isinstance(token, Reply):
            return token
        if token.status != 200:
            return token if token.status in (401, 429) else NotTaken(f"the token call was answered {token.status}")
        try:
            response = send()
        except ApiException as exc:
            return _reply(exc.response_code, exc.response.text)
        except NotReached as exc:
            return NotTaken(str(exc))
        except NoReply as exc:
            return Lost(str(exc))
        return _reply(response.status_code, response.text)

    def _rest(
        self, method: str, path: str, body: Mapping[str, object] | str | None = None, request_id: str | None = None
    ) -> Answer:
        headers = {} if request_id is None else {"PayPal-Request-Id": request_id}
        try:
            self.rest.get_token_hash()
        except (NotReached, NoReply) as exc:
            return NotTaken(f"there is no token: {exc}")
        except Refused as exc:
            return Reply(exc.status, exc.body) if exc.status in (401, 429) else NotTaken(f"no token: {exc}")
        try:
            return Reply(200, self.rest.request(f"{self.credentials.endpoint}{path}", method, body, headers))
        except Refused as exc:
            return Reply(exc.status, exc.body)
        except NotReached as exc:
            return NotTaken(str(exc))
        except NoReply as exc:
            return Lost(str(exc))


def _reply(status: int, text: str | None) -> Reply:
    try:
        return Reply(status, json.loads(text) if text else {})
    except ValueError:
        return Reply(status, None)
