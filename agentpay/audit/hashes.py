"""How the rows and the seals of the audit are hashed. Pure: the verifier and the writer share it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from agentpay.canonical import canonical
from agentpay.storage.types import to_micros

VERSION: Final = 1
_ROW: Final = "agentpay.audit.row"
_SEAL: Final = "agentpay.audit.seal"
_SALTED: Final = "agentpay.audit.salted"


def body_of(
    *, at: datetime, principal: str, action: str, object_id: str, data: Mapping[str, object], previous: str
) -> str:
    """The canonical bytes of a row, as text. The moment is in microseconds, as a string."""
    return canonical(
        {
            "v": VERSION,
            "at": str(to_micros(at)),
            "principal": principal,
            "action": action,
            "object": object_id,
            "data": dict(data),
            "previous": previous,
        }
    )


def row_hash(body: str) -> str:
    """The hash of a row's bytes."""
    return _sha256(f"{_ROW}\n{body}")


def seal_hash(previous: str, audit_seq: int, hashed: str) -> str:
    """The hash of a link: over the link before, the number of the row and the hash of the row."""
    return _sha256(f"{_SEAL}\n{previous}\n{audit_seq}\n{hashed}")


def salted(secret: str, text: str) -> str:
    """A hash of text that may name somebody, such as an idempotency key, for the audit's data.

    The secret is the installation's: without it nobody can try out which text it was.
    """
    return hmac.new(secret.encode(), f"{_SALTED}\n{text}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
