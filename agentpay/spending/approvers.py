"""Approvers: people who are enrolled, each with a secret that no agent has.

A secret is kept as scrypt's hash (RFC 7914; n=2¹⁴, r=8, p=1). Every try is counted before the secret is compared, so
that parallel guesses are counted too; five wrong ones in a row lock the approver for fifteen minutes.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from agentpay.audit import log
from agentpay.errors import ApproverLocked, ApproverRefused, Conflict, ValidationError
from agentpay.ids import Ids
from agentpay.principal import Principal
from agentpay.spending.models import Approver
from agentpay.spending.tables import ApproverRow
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table
from agentpay_policies.text import identifier

_APPROVERS = table(ApproverRow)
_A = _APPROVERS.c

FAILURES_BEFORE_LOCK: Final = 5
LOCKED_FOR: Final = timedelta(minutes=15)
SHORTEST_SECRET: Final = 12


def enrol(store: Store, ids: Ids, name: str, secret: str, *, by: str | None, by_secret: str | None) -> Approver:
    """Enrol an approver: the first freely, a later one by an approver who is enrolled already.

    Raises:
        ValidationError: a bad name, or a secret of fewer than 12 characters.
        ApproverRefused, ApproverLocked: `by` and `by_secret` are not those of an approver.
        Conflict: the name is enrolled already.
    """
    identifier(name, "An approver's name", longest=80)
    hashed = _hash(_long_enough(secret), ids.secret()[:32])
    if by is not None:
        verify(store, by, by_secret or "")

    def write(tx: Tx) -> Approver | None:
        if by is None and tx.dialect == "postgresql":
            tx.execute(sa.text("SELECT pg_advisory_xact_lock(4711, 3)"))  # two first ones at once are one
        if by is None and tx.scalar(sa.select(sa.func.count()).select_from(_APPROVERS)):
            raise ApproverRefused("Somebody is enrolled already: a later approver is enrolled by an earlier one.")
        now = tx.now()
        enrolled_by = by or "first"
        if not tx.insert_new(ApproverRow, name=name, secret_hash=hashed, enrolled_by=enrolled_by, enrolled_at=now):
            return None
        principal = Principal("operator", by or name)
        log.record(tx, principal=principal, action="approver.enrolled", object_id=f"approver:{name}", data={}, at=now)
        return Approver(name, enrolled_by, now, None)

    enrolled = store.write(write)
    if enrolled is None:
        raise Conflict(f"{name} is enrolled already.", next_step="Rotate the secret instead.")
    return enrolled


def rotate(store: Store, ids: Ids, name: str, new_secret: str, *, by: str, by_secret: str) -> None:
    """Give an approver a new secret: the approver's own doing, or another approver's.

    Raises:
        ApproverRefused, ApproverLocked: `by` and `by_secret` are not those of an approver; or `name` is none.
    """
    hashed = _hash(_long_enough(new_secret), ids.secret()[:32])
    verify(store, by, by_secret)

    def write(tx: Tx) -> bool:
        now = tx.now()
        changed = sa.update(_APPROVERS).where(_A.name == name).values(secret_hash=hashed, failures=0, locked_until=None)
        if tx.first(changed.returning(_A.name)) is None:
            return False
        principal = Principal("operator", by)
        log.record(tx, principal=principal, action="approver.rotated", object_id=f"approver:{name}", data={}, at=now)
        return True

    if not store.write(write):
        raise ApproverRefused(f"{name} is not enrolled.")


def verify(store: Store, name: str, secret: str) -> None:
    """Check an approver's secret.

    Raises:
        ApproverRefused: no such approver, or a wrong secret: which of the two is not said.
        ApproverLocked: five wrong secrets in a row, less than fifteen minutes ago.
    """
    hashed = store.write(lambda tx: _count_try(tx, name))
    if isinstance(hashed, ApproverLocked):
        raise hashed
    if not _matches(secret, hashed):
        raise ApproverRefused("The approver's name or secret is wrong.")
    cleared = sa.update(_APPROVERS).where(_A.name == name).values(failures=0, locked_until=None)
    store.write(lambda tx: tx.execute(cleared).rowcount)


def need_two(store: Store, people: tuple[str, ...]) -> None:
    """Check that two different people speak, wherever two are enrolled. That each is an approver was checked before.

    Raises:
        ApproverRefused: it is one person.
    """
    enrolled = len(store.read(listed))
    if len(set(people)) < min(2, enrolled) or len(set(people)) < len(people):
        raise ApproverRefused(
            "Two approvers are needed, and they are two people.", next_step="Name another one, with their own secret."
        )


def listed(tx: Tx) -> tuple[Approver, ...]:
    """Everybody who is enrolled."""
    return tuple(
        Approver(row.name, row.enrolled_by, row.enrolled_at, row.locked_until)
        for row in tx.all(sa.select(_APPROVERS).order_by(_A.name))
    )


def _count_try(tx: Tx, name: str) -> str | ApproverLocked:
    """Count a try before it is judged; the hash to judge it by, which matches nothing where nobody has that name."""
    rows = tx.lock(sa.select(_APPROVERS).where(_A.name == name))
    if not rows:
        return _NOBODY
    row, now = rows[0], tx.now()
    if row.locked_until is not None and row.locked_until > now:
        return ApproverLocked("Too many wrong secrets; the approver is locked.", retry_at=row.locked_until)
    failures = 1 if row.locked_until is not None else row.failures + 1
    locked = now + LOCKED_FOR if failures >= FAILURES_BEFORE_LOCK else None
    tx.execute(sa.update(_APPROVERS).where(_A.name == name).values(failures=failures, locked_until=locked))
    hashed: str = row.secret_hash
    return hashed


def _long_enough(secret: str) -> str:
    if len(secret) < SHORTEST_SECRET:
        raise ValidationError(f"An approver's secret has at least {SHORTEST_SECRET} characters.")
    return secret


def _hash(secret: str, salt: str) -> str:
    made = hashlib.scrypt(secret.encode("utf-8", "surrogatepass"), salt=salt.encode(), n=2**14, r=8, p=1, dklen=32)
    return f"scrypt${salt}${made.hex()}"


def _matches(secret: str, hashed: str) -> bool:
    return hmac.compare_digest(_hash(secret, hashed.split("$")[1]), hashed)


_NOBODY: Final = "scrypt$nobody$"
