"""Starts localstripe on 127.0.0.1 alone, at a port of the system's choice, with nothing kept on disk.

Run in localstripe's own environment, where nothing of ours is installed. By itself it listens on every interface and
keeps a file in the temporary folder. What it does not know of what we send is taken out on the way in: see the test.
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from localstripe import server
from localstripe.resources import PaymentIntent, store

UNKNOWN = ("automatic_payment_methods", "cancellation_reason", "created", "error_on_requires_action", "off_session")


@web.middleware
async def without_unknown(request: web.Request, handler: Any) -> Any:
    """Drop the parameters that localstripe answers with `Unexpected`."""
    if request.method == "POST" and request.path.startswith("/v1/payment_intents"):
        fields = parse_qsl((await request.read()).decode(), keep_blank_values=True)
        kept = [(name, value) for name, value in fields if not name.startswith(UNKNOWN)]
        if request.path.endswith("/confirm"):  # it knows no method there: the intent has it before
            PaymentIntent._api_retrieve(request.path.split("/")[3]).payment_method = dict(kept)["payment_method"]
            kept = []
        request._read_bytes = urlencode(kept).encode()
    return await handler(request)


def main() -> None:
    """Print the port, and serve until the process is ended."""
    store.dump_to_disk = lambda: None
    server.app.middlewares.insert(0, without_unknown)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    web.run_app(server.app, sock=listener, print=None)


if __name__ == "__main__":
    main()
