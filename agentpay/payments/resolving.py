"""Resolving: people say what became of an attempt that no look-up can settle, and give their evidence.

It is settled as an answer of the provider's would be. What turns out otherwise later is still recorded: a success that
comes after it was resolved as not sent is late, flagged and an alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from agentpay.audit import log
from agentpay.errors import Conflict, ValidationError
from agentpay.payments import queries
from agentpay.payments.attempts import Attempts, begun_before, newest
from agentpay.payments.recovery import Recovery
from agentpay.payments.replaying import UNANSWERED
from agentpay.payments.settling import Settling
from agentpay.principal import Principal
from agentpay.providers.outcomes import NotSent, Outcome, Succeeded
from agentpay.storage import texts
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.text import free_text, identifier

Resolution = Literal["succeeded", "not_sent"]

EVIDENCE = "resolution"
"""The kind of text under which the evidence is kept, by the attempt's id."""


@dataclass(frozen=True)
class Word:
    """What people say of an attempt, and who: their secrets were checked. `reference` is the provider's own id of the
    movement, where they know it: a refund needs it."""

    outcome: Resolution
    evidence: str
    people: tuple[str, ...]
    reference: str | None = None


@dataclass(frozen=True)
class Resolving:
    """Writes down what people say."""

    store: Store
    attempts: Attempts
    settling: Settling
    recovery: Recovery

    def resolve(self, subject_id: str, word: Word) -> None:
        """Settle the newest attempt of a payment or refund by what people say, after its provider was asked once more.

        Raises:
            NotFound: there is no such payment or refund.
            Conflict: its outcome is not unknown, its provider knows it by now, or the call may still be under way.
        """
        self.store.read(lambda tx: _subject(tx, subject_id))
        self.recovery.recover(subject_id)
        self.store.write(lambda tx: self._resolve(tx, subject_id, word))

    def _resolve(self, tx: Tx, subject_id: str, word: Word) -> None:
        subject = _subject(tx, subject_id, lock=True)
        steps = queries.attempts(tx, subject_id)
        attempt = newest(steps)
        if attempt is None or attempt.outcome not in UNANSWERED:
            raise Conflict(
                f"It is {subject.status}: only what is unknown is resolved.", next_step="Read it with payments show."
            )
        now = tx.now(subject.updated_at, attempt.sent_at)
        if now < attempt.lease_until:
            raise Conflict(
                "The call may still be under way.", next_step="Wait a minute, run agentpay reconcile, then try again."
            )
        self._write_down(tx, subject_id, attempt, word, now)
        if word.outcome == "not_sent":
            self._close_begun(tx, attempt, steps)
        by = Principal("operator", word.people[0])
        self.settling.settle(tx, attempt.id, _outcome(word, attempt, begun_before(attempt, steps)), by=by)

    def _write_down(self, tx: Tx, subject_id: str, attempt: Row, word: Word, now: datetime) -> None:
        """The audit row of everybody who says so: its action tells whether that was one person alone."""
        texts.replace(tx, attempt.id, EVIDENCE, word.evidence)
        data = {
            "attempt": attempt.id,
            "as": word.outcome,
            "people": list(word.people),
            "evidence": log.salted(self.attempts.secret, word.evidence),
        }
        action = "attempt.resolved" if len(word.people) > 1 else "attempt.resolved_by_one"
        by = Principal("operator", word.people[0])
        log.record(tx, principal=by, action=action, object_id=subject_id, data=data, at=now)

    def _close_begun(self, tx: Tx, attempt: Row, steps: Sequence[Row]) -> None:
        """What earlier steps began can no longer be paid, people say: it keeps no later attempt from being made."""
        begun = begun_before(attempt, steps)
        while begun is not None:
            evidence = "people said that it can no longer be paid"
            queries.update_attempt(tx, begun.id, outcome="not_sent", evidence=evidence)
            begun = begun_before(attempt, queries.attempts(tx, attempt.subject_id))


def resolution(outcome: str, evidence: str, reference: str | None, people: tuple[str, ...]) -> Word:
    """What people say, checked.

    Raises:
        ValidationError: no such outcome, no evidence, or no id.
    """
    if outcome not in get_args(Resolution):
        raise ValidationError(f"An outcome is resolved as one of {', '.join(get_args(Resolution))}.")
    if reference is not None and outcome != "succeeded":
        raise ValidationError("A reference is that of money that moved.")
    return Word(
        outcome="succeeded" if outcome == "succeeded" else "not_sent",
        evidence=free_text(evidence, "evidence"),
        people=tuple(identifier(name, "An approver's name", longest=80) for name in people),
        reference=None if reference is None else identifier(reference, "reference"),
    )


def _subject(tx: Tx, subject_id: str, *, lock: bool = False) -> Row:
    if not str(subject_id).startswith("ref_"):
        return queries.payment(tx, subject_id, lock=lock)
    queries.payment(tx, queries.refund(tx, subject_id).payment_id, lock=lock)
    return queries.refund(tx, subject_id, lock=lock)


def _outcome(word: Word, attempt: Row, begun: Row | None) -> Outcome:
    said = f"resolved by {' and '.join(word.people)}"
    if word.outcome == "not_sent":
        return NotSent(evidence=said)
    begun_reference = None if begun is None else begun.reference
    return Succeeded(word.reference or attempt.reference or begun_reference or f"resolved:{attempt.id}")
