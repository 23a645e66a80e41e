"""The fake's front: HTTP on a real socket of this machine, idempotency keys with their bodies, and faults."""

from __future__ import annotations

import base64
import json
import socket
import threading
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from agentpay.testing.stripe_fake import faults as faulty
from agentpay.testing.stripe_fake import forms
from agentpay.testing.stripe_fake.refusals import Refused
from agentpay.testing.stripe_fake.routes import Routes, kind_of, route
from agentpay.testing.stripe_fake.shapes import Json

_HANG_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Seen:
    """A request as it arrived. `op` is its kind, `about` the id in its path."""

    op: str
    key: str | None
    about: str | None
    params: Json


@dataclass(frozen=True)
class Answer:
    """What goes back. None as `body`: the connection is closed instead. `cut`: so much of it is missing."""

    status: int
    body: bytes | None
    content_type: str = "application/json"
    cut: int = 0
    replayed: bool = False
    stored: bool = False


class Front:
    """Takes requests: the key, the fault, the books, the answer. Safe to share between threads."""

    def __init__(self, routes: Routes, api_keys: set[str]) -> None:
        self.routes = routes
        self.api_keys = api_keys
        self.faults = faulty.Faults()
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._stored: dict[str, tuple[str, Answer]] = {}
        self._under_way: set[str] = set()

    def forget_keys(self) -> None:
        """What Stripe does after a day."""
        with self._lock:
            self._stored.clear()

    def take(self, verb: str, path: str, text: str, authorization: str, key: str | None) -> Answer:
        """One request."""
        found = route(verb, path)
        if found is None:
            return _error(404, "invalid_request_error", f"Unrecognized request URL ({verb}: {path}).")
        op, about = found
        params = forms.parsed(text)
        kind = kind_of(op, params)
        if not self._knows(authorization):
            return _error(401, "invalid_request_error", "Invalid API Key provided.")
        fault = self.faults.next_for(kind, key)
        if fault is not None and fault not in faulty.AFTER:
            return self._spoilt(fault)
        if fault == "late":
            self.closing.wait(_HANG_SECONDS / 20)
        if verb == "POST" and key is not None:
            answer = self._once(op, kind, about, params, key, f"{path}?{text}", fault)
        else:
            answer = self._run(op, about, params, key)
        return answer if fault is None else self._lost(fault, answer)

    def _knows(self, authorization: str) -> bool:
        kind, _, value = authorization.partition(" ")
        if kind == "Basic":
            value = base64.b64decode(value).decode().partition(":")[0]
        return value in self.api_keys

    def _once(
        self, op: str, kind: str, about: str | None, params: Json, key: str, print_of: str, fault: str | None
    ) -> Answer:
        """Run a request once per key; the same key with the same request gets the first answer."""
        with self._lock:
            stored = self._stored.get(key)
            if stored is not None:
                same = stored[0] == print_of
                return (
                    replace(stored[1], replayed=True)
                    if same
                    else _error(400, "idempotency_error", "Keys for idempotent requests …")
                )
            if key in self._under_way:
                return _error(409, "idempotency_error", "Key in use.", code="idempotency_key_in_use")
            self._under_way.add(key)
            self.seen.append(Seen(kind, key, about, params))
        try:
            answer = self._run(op, about, params, key)
            if fault == "500_after":
                answer = replace(_spoilt_by("500_after"), stored=True)
            with self._lock:
                if answer.stored:
                    self._stored[key] = (print_of, answer)
            return answer
        finally:
            with self._lock:
                self._under_way.discard(key)

    def _run(self, op: str, about: str | None, params: Json, key: str | None) -> Answer:
        try:
            return Answer(200, json.dumps(self.routes.answer(op, about, params, key)).encode(), stored=True)
        except Refused as refused:
            return Answer(refused.status, json.dumps(refused.body).encode(), stored=refused.stored)

    def _spoilt(self, fault: str) -> Answer:
        """What is answered where nothing is done."""
        if fault == "timeout_before":
            self.closing.wait(_HANG_SECONDS)
        if fault in ("drop_before", "timeout_before"):
            return Answer(0, None)
        if fault == "html_before":
            return Answer(502, b"<html><h1>Bad gateway</h1></html>", "text/html")
        if fault == "redirect":
            return Answer(307, b"", "text/html")
        return _spoilt_by(fault)

    def _lost(self, fault: str, answer: Answer) -> Answer:
        """What is left of an answer."""
        if fault == "timeout_after":
            self.closing.wait(_HANG_SECONDS)
        if fault in ("drop_after", "timeout_after", "late"):
            return Answer(0, None)
        if fault == "html_after":
            return Answer(200, b"<html><h1>Welcome</h1></html>", "text/html")
        if fault == "odd_after":
            return Answer(200, b'{"id": "pi_odd", "object": "payment_intent", "status": "a_new_one"}')
        if fault == "other_after":
            return Answer(200, self.routes.another(json.loads(answer.body or b"{}")))
        if fault == "cut_after":
            return Answer(answer.status, answer.body, cut=20)
        return answer


def _error(status: int, kind: str, message: str, **fields: str) -> Answer:
    return Answer(status, json.dumps({"error": {"type": kind, "message": message, **fields}}).encode())


def _spoilt_by(fault: str) -> Answer:
    status, kind, code = faulty.STATUS[fault]
    return _error(status, kind, "Something went wrong.", **({"code": code} if code else {}))


class Server(ThreadingHTTPServer):
    """On 127.0.0.1, at a port of the system's choice."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, front: Front) -> None:
        super().__init__(("127.0.0.1", 0), _handler(front))
        self._front = front
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def close(self) -> None:
        """Stop, and let go of every connection."""
        self._front.closing.set()
        self.shutdown()
        self._thread.join(5)
        for connection in list(self._open):
            _hang_up(connection)
        self.server_close()


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._take()

        def do_POST(self) -> None:
            self._take()

        def _take(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            text = body if self.command == "POST" else parts.query
            key = self.headers.get("idempotency-key")
            answer = front.take(self.command, parts.path, text, self.headers.get("authorization", ""), key)
            if answer.body is None:
                self.close_connection = True
                _hang_up(self.connection)
                return
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            body = answer.body or b""
            self.send_response(answer.status)
            self.send_header("content-type", answer.content_type)
            self.send_header("content-length", str(len(body)))
            self.send_header("request-id", "req_fake")
            if answer.replayed:
                self.send_header("idempotent-replayed", "true")
            if answer.status == 307:
                self.send_header("location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
            self.wfile.write(body[: len(body) - answer.cut])
            if answer.cut:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is logged."""

    return Handler
