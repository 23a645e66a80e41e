"""web3's test provider, with the errors of a real node in place of py-evm's own exceptions."""

from __future__ import annotations

from typing import Any, cast

from eth_tester.exceptions import BlockNotFound, ValidationError
from eth_utils import ValidationError as RefusedByChain
from web3 import EthereumTesterProvider
from web3.types import RPCEndpoint, RPCResponse

_SERVER_ERROR = -32000


class _NodeLike(EthereumTesterProvider):
    """Answers an error where py-evm raises one: a real node does."""

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        try:
            return super().make_request(method, params)
        except (BlockNotFound, ValidationError, RefusedByChain) as exc:
            message = " ".join(str(exc).split())[:200]
            return cast(RPCResponse, {"jsonrpc": "2.0", "id": 0, "error": {"code": _SERVER_ERROR, "message": message}})


def tester_provider() -> EthereumTesterProvider:
    """A new chain."""
    return _NodeLike()
