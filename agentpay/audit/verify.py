"""Verifying the audit: every row against its bytes, every object's history, and the one chain over all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agentpay.audit import queries
from agentpay.audit.hashes import row_hash, seal_hash
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.errors import ValidationError

_HEAD: Final = re.compile(r"[0-9a-f]{64}\Z")
_MOST_FAULTS: Final = 100


@dataclass(frozen=True)
class Verification:
    """What was found. Rows that are not sealed yet are no fault on PostgreSQL, where sealing comes a moment later.

    `head` is the hash of the newest seal: who keeps it elsewhere and passes it as `expected_head` later finds out
    whether the chain was cut or made anew since.
    """

    ok: bool
    rows: int
    sealed: int
    unsealed: int
    head: str
    faults: tuple[str, ...]


def verify(store: Store, expected_head: str | None = None) -> Verification:
    """Verify the whole audit on one snapshot. Nothing is written; of many faults the first hundred are named.

    Raises:
        ValidationError: the expected head is none, such as the empty text of a file that was never written.
    """
    if expected_head is not None and not _HEAD.match(expected_head):
        raise ValidationError("The expected head is none: it is 64 digits from 0 to f, as a verification gave it.")
    return store.read(lambda tx: _Verifier(tx).result(expected_head))


class _Verifier:
    """One pass over the rows and one over the seals, a page at a time."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._faults: list[str] = []
        self._rows = 0
        self._sealed = 0
        self._head = ""

    def result(self, expected_head: str | None) -> Verification:
        self._check_rows()
        seen = self._check_seals(expected_head)
        if expected_head is not None and not seen:
            self._fault("the chain does not contain the expected head: it was cut or made anew")
        unsealed = len(queries.unsealed(self._tx, self._rows + 1, -1))
        if unsealed and self._tx.dialect == "sqlite":
            self._fault(f"{unsealed} rows are not sealed: on SQLite every row is sealed in the write that makes it")
        return Verification(
            ok=not self._faults,
            rows=self._rows,
            sealed=self._sealed,
            unsealed=unsealed,
            head=self._head,
            faults=tuple(self._faults),
        )

    def _fault(self, what: str) -> None:
        if len(self._faults) < _MOST_FAULTS:
            self._faults.append(what)

    def _check_rows(self) -> None:
        """Every row: its hash, its columns, and the link to the same object's row before."""
        newest: dict[str, str] = {}
        for row in queries.rows(self._tx):
            self._rows += 1
            for what in _row_faults(row):
                self._fault(f"row {row.seq}: {what}")
            if row.previous_hash != newest.get(row.object_id, ""):
                self._fault(f"row {row.seq}: it does not follow the row of {row.object_id} before it")
            newest[row.object_id] = row.hash

    def _check_seals(self, expected_head: str | None) -> bool:
        """Every link of the chain. True where the expected head is one of them."""
        position, seen = 0, False
        for seal in queries.seals(self._tx):
            self._sealed += 1
            position += 1
            if seal.position != position:
                self._fault(f"seal {seal.position}: seals are missing before it")
                position = seal.position if isinstance(seal.position, int) else position
            if seal.row_hash is None:
                self._fault(f"seal {seal.position}: row {seal.audit_seq} is gone")
            elif seal.hash != seal_hash(self._head, seal.audit_seq, seal.row_hash):
                self._fault(f"seal {seal.position}: it does not follow from row {seal.audit_seq} and the seal before")
            self._head = seal.hash
            seen = seen or seal.hash == expected_head
        return seen


def _row_faults(row: Row) -> Iterator[str]:
    if row.hash != row_hash(row.body):
        yield "its bytes do not have its hash"
    try:
        body = json.loads(row.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        yield "its bytes are no JSON object"
        return
    columns = {
        "at": str(row.at),
        "principal": row.principal,
        "action": row.action,
        "object": row.object_id,
        "previous": row.previous_hash,
    }
    for name, value in columns.items():
        if body.get(name) != value:
            yield f"its column for {name!r} differs from its bytes"
