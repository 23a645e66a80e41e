"""The libraries of the extra `crypto`, loaded here and nowhere else.

One of them (py_ecc, which eth-account loads) raises Python's recursion limit for the whole process, so far that a deep
JSON text, such as the body of a hostile webhook, overflows the C stack and ends the process where it would have been
refused. The limit is set back.
"""

from __future__ import annotations

import sys

_limit = sys.getrecursionlimit()
try:
    from eth_account import Account
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from hexbytes import HexBytes
    from web3 import Web3
    from web3.exceptions import ContractLogicError, TransactionNotFound, Web3Exception, Web3RPCError
    from web3.providers.base import BaseProvider, JSONBaseProvider
    from web3.types import RPCEndpoint, RPCResponse
finally:
    sys.setrecursionlimit(_limit)

__all__ = [
    "Account",
    "BaseProvider",
    "ContractLogicError",
    "HexBytes",
    "JSONBaseProvider",
    "RPCEndpoint",
    "RPCResponse",
    "TransactionNotFound",
    "TypedTransaction",
    "Web3",
    "Web3Exception",
    "Web3RPCError",
]
