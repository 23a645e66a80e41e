"""web3's test provider, with the errors of a real node in place of py-evm's own exceptions."""

from __future__ import annotations

from typing import Any, cast

from eth_tester.exceptions import BlockNotFound, TransactionFailed, ValidationError
from eth_utils.exceptions import ValidationError as RefusedByChain
from web3 import EthereumTesterProvider
from web3.types import RPCEndpoint, RPCResponse

_REFUSED = -32000
_REVERTED = 3


class _NodeLike(EthereumTesterProvider):
    """Answers an error where py-evm raises one: a real node does."""

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        try:
            return super().make_request(method, params)
        except TransactionFailed as exc:
            return _error(_REVERTED, f"execution reverted: {exc}")
        except (BlockNotFound, ValidationError, RefusedByChain) as exc:
            return _error(_REFUSED, str(exc))


def _error(code: int, message: str) -> RPCResponse:
    said = " ".join(message.split())[:200]
    return cast(RPCResponse, {"jsonrpc": "2.0", "id": 0, "error": {"code": code, "message": said}})


def tester_provider() -> EthereumTesterProvider:
    """A new chain."""
    return _NodeLike()
