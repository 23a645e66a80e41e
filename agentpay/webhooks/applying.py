"""Applying one piece of news, in a transaction: find what it is about, ask the reducer, carry out what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentpay.audit import log
from agentpay.customers import service as customers
from agentpay.ids import Ids
from agentpay.payments import queries as payments
from agentpay.payments.models import DisputeKind
from agentpay.payments.outside import Claim, Outside
from agentpay.payments.settling import Settling
from agentpay.payments.strays import Strays
from agentpay.principal import SYSTEM
from agentpay.providers.events import AttemptNews, DisputeNews, MethodNews, News, RefundNews, ReversalNews, StrayNews
from agentpay.providers.outcomes import Declined, Outcome, Pending, Succeeded, name_of
from agentpay.storage import outbox
from agentpay.storage.transaction import Row, Tx
from agentpay.webhooks import queries
from agentpay.webhooks.models import Change
from agentpay.webhooks.reducer import (
    Asked,
    ClaimState,
    KnownAttempt,
    RefundState,
    reduce_attempt,
    reduce_claim,
    reduce_refund,
)
from agentpay_policies.money import Money

SetupOwner = Callable[[Tx, str], str | None]
"""Our id of the customer who was given a page to save a method on, by our id of the page; None where it is no page."""


def no_setups(_tx: Tx, _setup: str) -> str | None:
    """No such page was ever made."""
    return None


@dataclass(frozen=True)
class Done:
    """It is applied: what it changed, or nothing new."""

    change: Change | None = None
    about: str | None = None


@dataclass(frozen=True)
class Waits:
    """It cannot be applied yet. `about` is the payment or refund that it waits for, where that is known; `ask` that it
    is to be looked up first; `until` a moment at which trying again has a point."""

    about: str | None = None
    ask: bool = False
    until: datetime | None = None


Applied = Done | Waits
_SUCCEEDED: Final = "succeeded"


@dataclass(frozen=True)
class Applying:
    """Applies news."""

    ids: Ids
    settling: Settling
    outside: Outside
    setup_owner: SetupOwner = no_setups

    def apply(self, tx: Tx, provider: str, news: News, at: datetime, *, asked: Mapping[str, Asked]) -> Applied:
        """Apply one piece of news; `at` is the provider's time of it, `asked` has what was looked up for it."""
        match news:
            case AttemptNews():
                found = _attempt_for(tx, provider, news)
                return Waits() if found is None else self._attempt(tx, found, news.outcome, asked)
            case RefundNews():
                return self._refund(tx, provider, news, asked)
            case DisputeNews():
                return self._claim(tx, provider, "dispute", news, at)
            case ReversalNews():
                return self._claim(tx, provider, "reversal", news, at)
            case MethodNews():
                return self._method(tx, provider, news, at)
            case StrayNews():
                return self._stray(tx, provider, news)

    # -- what we began -------------------------------------------------------------------------------------------------

    def _attempt(self, tx: Tx, attempt: Row, outcome: Outcome, asked: Mapping[str, Asked]) -> Applied:
        before = _locked(tx, attempt.subject_id)
        attempt = payments.attempt(tx, attempt.id, lock=True)
        newest = payments.attempts(tx, before.id)[-1]
        if attempt.outcome in ("pending", "requires_action"):
            attempt = newest  # what a step only began, the last one ended: the money of both is the same money
        under_way = attempt.outcome == "sent" and tx.now(attempt.sent_at) < attempt.lease_until
        known = KnownAttempt(attempt.outcome, attempt.number == newest.number, under_way, asked.get(before.id, "no"))
        match reduce_attempt(known, name_of(outcome)):
            case "ask":
                return Waits(before.id, ask=True)
            case "wait":
                return Waits(before.id, until=attempt.lease_until)
            case "nothing":
                return Done(about=before.id)
        self.settling.settle(tx, attempt.id, outcome)
        kind = kind_of_subject(before.id)
        status = subject(tx, before.id).status
        return Done(Change(before.id, f"{kind}.{status}") if status != before.status else None, before.id)

    # -- what was done at the provider ---------------------------------------------------------------------------------

    def _refund(self, tx: Tx, provider: str, news: RefundNews, asked: Mapping[str, Asked]) -> Applied:
        ours = _attempt_of(tx, provider, "refund", news.key, news.reference)
        if ours is not None:
            return self._our_refund(tx, ours, news, asked)
        payment_id = _payment_of(tx, provider, news.charge)
        if payment_id is None:
            return Waits()
        payment = payments.payment(tx, payment_id, lock=True)
        perhaps = _unnamed_refund(tx, payment_id, news.money) if news.key is None else None
        if perhaps is not None:  # it may be the one whose answer we do not have yet
            return Waits(perhaps.subject_id, ask=True, until=perhaps.lease_until)
        if payment.status != _SUCCEEDED:
            return Waits(payment_id, ask=True)
        if news.money.currency != payment.currency:
            return Waits(payment_id)  # a person must look at it: nothing of it can be counted
        row = payments.refund_at(tx, payment_id, news.reference)
        known = RefundState() if row is None else RefundState(row.status, row.returned)
        state = reduce_refund(known, news.status)
        if state == known or news.money.minor == 0:
            return Done(about=payment_id if row is None else row.id)
        refund_id, change = self.outside.refund(
            tx, payment, reference=news.reference, money=news.money, status=state.status, returned=state.failed
        )
        return Done(Change(refund_id, change), refund_id)

    def _our_refund(self, tx: Tx, attempt: Row, news: RefundNews, asked: Mapping[str, Asked]) -> Applied:
        outcomes: dict[str, Outcome] = {
            "succeeded": Succeeded(news.reference),
            "pending": Pending(news.reference),
            "failed": Declined("refund_failed", "The provider says that the refund failed.", news.reference),
        }
        applied = self._attempt(tx, attempt, outcomes[news.status], asked)
        if isinstance(applied, Waits) or news.status != "failed":
            return applied
        if payments.attempt(tx, attempt.id).outcome not in ("succeeded", "declined"):
            return applied
        refund = payments.refund(tx, attempt.subject_id)
        self.outside.refund_failed(tx, refund.id)
        gone = refund.status == _SUCCEEDED and not refund.returned
        return Done(Change(refund.id, "refund.returned"), refund.id) if gone else applied

    def _claim(
        self, tx: Tx, provider: str, kind: DisputeKind, news: DisputeNews | ReversalNews, at: datetime
    ) -> Applied:
        payment_id = _payment_of(tx, provider, news.charge)
        if payment_id is None:
            return Waits()
        payment = payments.payment(tx, payment_id, lock=True)
        if payment.direction == "send" and payment.status == "declined":
            return Done(about=payment_id)  # that it came back is what declined it
        if payment.status != _SUCCEEDED:
            return Waits(payment_id, ask=True)
        if news.money.currency != payment.currency:
            return Waits(payment_id)  # a person must look at it: nothing of it can be counted
        row = payments.dispute_at(tx, provider, kind, news.reference)
        if news.money.minor == 0 or (row is not None and row.payment_id != payment_id):
            return Done(about=payment_id)
        known = None if row is None else ClaimState(row.status, row.amount_minor, row.told_at)
        state = reduce_claim(known, news, at)
        if state == known:
            return Done(about=row.id if row is not None else payment_id)
        claim = Claim(kind, news.reference, state.status, news.money, news.reason, state.at)
        dispute_id, change = self.outside.claim(tx, payment, claim)
        same = known is not None and (known.status, known.minor) == (state.status, state.minor)
        return Done(None if same else Change(dispute_id, change), dispute_id)

    def _method(self, tx: Tx, provider: str, news: MethodNews, at: datetime) -> Applied:
        """A customer saved a method: from now on the provider's name for them is the one that is charged."""
        known = customers.by_reference(tx, provider, news.customer)
        owner = known.id if known is not None else None
        if owner is None and news.setup is not None:
            owner = self.setup_owner(tx, news.setup)
        if owner is None:
            return Waits()
        now = tx.now()
        if news.change == "saved":
            customers.link(tx, customers.by_id(tx, owner), provider, news.customer, now, SYSTEM, told_at=at)
        data = {"provider": provider}
        topic = f"customer.method_{news.change}"
        log.record(tx, principal=SYSTEM, action=topic, object_id=owner, data=data, at=now)
        outbox.tell(tx, topic, owner, data, now)
        return Done(Change(owner, topic), owner)

    def _stray(self, tx: Tx, provider: str, news: StrayNews) -> Applied:
        """Money that belongs to no payment is posted, or taken back; what is to be taken back must have come first."""
        stamp = queries.stamped(tx, provider)
        if stamp is None:
            return Waits()
        said = Strays(self.ids).apply(tx, f"{provider}:{stamp.account}", news)
        if said == "waits":
            return Waits()
        return Done(Change(news.reference, f"stray.{news.status}") if said == "posted" else None, news.reference)


def _attempt_for(tx: Tx, provider: str, news: AttemptNews) -> Row | None:
    """The attempt that news are about: by our key, by the provider's id, or as the last step after another one."""
    found = _attempt_of(tx, provider, news.kind, news.key, news.reference)
    if found is None and news.parent is not None:
        earlier = payments.attempts_called(tx, provider, news.kind, news.parent)
        return payments.attempts(tx, earlier[0].subject_id)[-1] if earlier else None
    return found


def _attempt_of(tx: Tx, provider: str, kind: str, key: str | None, reference: str | None) -> Row | None:
    by_key = payments.attempt_of_key(tx, provider, key) if key is not None else None
    if by_key is not None and by_key.subject_kind == kind:
        return by_key
    called = payments.attempts_called(tx, provider, kind, reference) if reference is not None else ()
    return called[0] if called else None


def _payment_of(tx: Tx, provider: str, charge: str) -> str | None:
    """The payment whose charge a provider calls so."""
    called = payments.attempts_called(tx, provider, "charge", charge)
    return str(called[0].subject_id) if called else None


def _unnamed_refund(tx: Tx, payment_id: str, money: Money) -> Row | None:
    """The attempt of a refund of ours, of that amount, that is under way and whose name at the provider we lack."""
    for refund in payments.refunds_of(tx, payment_id):
        if refund.amount_minor != money.minor:
            continue
        attempts = payments.attempts(tx, refund.id)
        if attempts and attempts[-1].outcome in ("sent", "unknown") and attempts[-1].reference is None:
            return attempts[-1]
    return None


def _locked(tx: Tx, subject_id: str) -> Row:
    """The payment, or the refund behind its payment, locked in the one order of locks."""
    if not subject_id.startswith("ref_"):
        return payments.payment(tx, subject_id, lock=True)
    payments.payment(tx, payments.refund(tx, subject_id).payment_id, lock=True)
    return payments.refund(tx, subject_id, lock=True)


def kind_of_subject(subject_id: str) -> str:
    """Whether an id is that of a payment or of a refund."""
    return "refund" if subject_id.startswith("ref_") else "payment"


def subject(tx: Tx, subject_id: str) -> Row:
    """The row of a payment or refund, by its id."""
    return (payments.refund if subject_id.startswith("ref_") else payments.payment)(tx, subject_id)
