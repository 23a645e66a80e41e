"""One byte form for a value, so that hashes of it mean something."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def canonical(value: Mapping[str, object]) -> str:
    """The value as JSON with sorted keys and no spaces. Amounts must be strings: JSON numbers lose digits elsewhere."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(domain: str, value: Mapping[str, object]) -> str:
    """SHA-256, in hex, over a tag for what is hashed and the canonical bytes: two kinds of thing never share a hash."""
    return hashlib.sha256(f"{domain}\n{canonical(value)}".encode("utf-8", "surrogatepass")).hexdigest()
