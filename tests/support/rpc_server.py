"""A JSON-RPC server on a loopback port, before a local chain: what a real endpoint is to us, with faults on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agentpay.providers.crypto.rpc import Endpoint, endpoint
from agentpay.testing.chain import LocalChain

Fault = Callable[[str], tuple[int, bytes] | None]
"""What is answered instead, by method: a status and a body; None: what the chain says."""

Refuse = Callable[[str, list[Any]], tuple[int, bytes] | None]
"""The same, by method and parameters."""

Answer = Callable[[str, list[Any], Any], Any]
"""What is made of an answer: (method, parameters, the chain's result) -> what is sent."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 64  # by default the sixth of several callers at once may be turned away


class RpcServer:
    """Serves a chain; `fault`, `refuse` and `answer` may be changed while it runs. `asked` holds every method."""

    def __init__(self, chain: LocalChain | None) -> None:
        self.chain = chain
        self.fault: Fault = lambda _method: None
        self.refuse: Refuse = lambda _method, _parameters: None
        self.answer: Answer = lambda _method, _parameters, result: result
        self.asked: list[tuple[str, list[Any]]] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens; with something in the path that looks like a key."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v3/key-of-the-endpoint"

    def endpoint(self, timeout: float = 2.0) -> Endpoint:
        """The provider's way to it."""
        return endpoint(self.url, timeout)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = server._answered(request)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler

    def _answered(self, request: Mapping[str, Any]) -> tuple[int, bytes]:
        method, parameters = request["method"], request.get("params") or []
        with self._lock:  # py-evm knows one thread
            self.asked.append((method, parameters))
            instead = self.fault(method) or self.refuse(method, parameters)
            if instead is not None:
                return instead
            said = ask(self.chain, method, parameters) if self.chain is not None else {"result": None}
            if "result" in said:
                said["result"] = self.answer(method, parameters, said["result"])
        return 200, json.dumps({"jsonrpc": "2.0", "id": request["id"], **said}).encode()


def ask(chain: LocalChain, method: str, parameters: list[Any]) -> dict[str, Any]:
    """What a chain answers, as JSON."""
    provider = chain.eth.w3.provider
    response = provider.request_func(chain.eth.w3, chain.eth.w3.middleware_onion)(method, parameters)
    if response.get("error"):
        return {"error": plain(response["error"])}
    return {"result": plain(response.get("result"))}


def plain(value: Any) -> Any:
    """A value as JSON-RPC writes it."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, bytes):
        return "0x" + bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(key): item if key == "code" else plain(item) for key, item in value.items()}
    return [plain(item) for item in value]


@contextmanager
def served(chain: LocalChain | None) -> Iterator[RpcServer]:
    """A server before a chain."""
    server = RpcServer(chain)
    try:
        yield server
    finally:
        server.close()
