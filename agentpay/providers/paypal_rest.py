"""`paypalrestsdk.Api`, hardened: for what the maintained SDK lacks (webhooks, payouts), and for nothing else.

As it comes it has no time-out, asks without end where PayPal answers 401 to every token, gives a refusal (400) back as
if it was an answer, sends the headers of a request to the token call too, and logs headers and bodies with all secrets
outside of live mode. This subclass does none of it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import paypalrestsdk

from agentpay.providers.paypal_http import NoReply, NotReached, Session, waiting

_EARLY: Final = 60.0
"""Seconds before its end at which a token is not used any more."""


class Refused(Exception):
    """PayPal answered with something else than success."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body


class Rest(paypalrestsdk.Api):  # type: ignore[misc]  # the SDK has no types
    """The SDK's `Api` on our session. Safe to share between threads."""

    def __init__(self, session: Session, **options: Any) -> None:
        super().__init__(**options)
        self._session = session
        self.token_hash: Mapping[str, Any] | None
        self._tokens = threading.Lock()
        self._fresh_until = 0.0

    def __repr__(self) -> str:
        return f"<Rest {self.mode}>"

    def get_token_hash(
        self,
        authorization_code: str | None = None,
        refresh_token: str | None = None,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 - those of the request are not for the token call
    ) -> Mapping[str, Any]:
        """A token of our own credentials; the only kind there is here.

        Raises:
            NotReached, NoReply, Refused: there is none.
        """
        if authorization_code is not None or refresh_token is not None:
            raise NotImplementedError("only the credentials of the application are used")
        with waiting(self._tokens, self._session.left()) as ours:
            if not ours:
                raise NotReached("there is no token in time")
            if self.token_hash is None or time.monotonic() > self._fresh_until:
                self.token_hash = self._new_token()
                self._fresh_until = time.monotonic() + float(self.token_hash.get("expires_in") or 0) - _EARLY
            token: Mapping[str, Any] = self.token_hash
            return token

    def _new_token(self) -> Mapping[str, Any]:
        answer = self.http_call(
            f"{self.token_endpoint}/v1/oauth2/token",
            "POST",
            data="grant_type=client_credentials",
            headers={
                "Authorization": f"Basic {self.basic_auth()}",
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
        )
        if not isinstance(answer, Mapping) or not isinstance(answer.get("access_token"), str):
            raise NoReply("the token call gave no token")
        return {"token_type": "Bearer", **answer}

    def request(
        self,
        url: str,
        method: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        refresh_token: str | None = None,
    ) -> Any:
        """One request, and once more with a new token where PayPal does not take the old one any more.

        Raises:
            NotReached, NoReply, Refused: there is no answer, or it is no success.
        """
        try:
            return self._asked(url, method, body, headers, refresh_token)
        except Refused as refused:
            if refused.status != 401:
                raise
        self._fresh_until = 0.0
        return self._asked(url, method, body, headers, refresh_token)

    def _asked(
        self, url: str, method: str, body: object, headers: Mapping[str, str] | None, refresh_token: str | None
    ) -> Any:
        data = None if method == "GET" else body if isinstance(body, str) else json.dumps(body)
        all_headers = {**self.headers(refresh_token=refresh_token), **(headers or {})}
        return self.http_call(url, method, data=data, headers=all_headers)

    def http_call(self, url: str, method: str, **kwargs: Any) -> Any:
        """Send one request; nothing of it is logged.

        Raises:
            NotReached, NoReply, Refused: there is no answer, or it is no success.
        """
        response = self._session.request(method, url, **kwargs)
        try:
            body: Any = response.json() if response.content else {}
        except ValueError:
            body = None
        if not 200 <= response.status_code < 300:
            raise Refused(response.status_code, body)
        if body is None:
            raise NoReply("the answer is no JSON")
        return body
