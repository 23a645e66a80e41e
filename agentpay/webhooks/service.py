"""Webhooks in: verified by the provider, stored once, applied in that transaction, tried again where they must wait.

    bytes → size → provider.parse_webhook (no transaction open) → account and mode → ONE write: the event's row, once by
    (provider, account, event id), and what it tells, each under a savepoint → COMMIT → look-ups for what is not proved
    → ONE write: what those showed

What fails verification stores nothing. An event is answered for only after its COMMIT; what it tells may wait then: for
a payment that is not known yet, for our own call that is under way, for a look-up that nobody answered.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from agentpay.audit import log
from agentpay.canonical import canonical
from agentpay.errors import AgentPayError, NotFound, ProviderError, StorageError, WebhookInvalid
from agentpay.ids import Ids
from agentpay.payments import queries as payments
from agentpay.payments.recovery import Recovery
from agentpay.principal import SYSTEM
from agentpay.providers.base import PaymentProvider
from agentpay.providers.events import News, WebhookEvent
from agentpay.providers.registry import Providers
from agentpay.storage import outbox, texts
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx
from agentpay.webhooks import queries
from agentpay.webhooks.applying import Applying, Done, Waits, kind_of_subject, subject
from agentpay.webhooks.checks import checked_body, checked_event, checked_headers
from agentpay.webhooks.codec import decoded, encoded, kind_of
from agentpay.webhooks.models import Change, EventStatus, ReceiptStatus, ReceivedEvent, RetryReport, WebhookReceipt
from agentpay.webhooks.reducer import Asked
from agentpay_policies.text import storable

logger = logging.getLogger(__name__)

BACK_OFF: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1), timedelta(hours=6))
"""How long to wait before a waiting event is tried again: the last one until it expires."""

WAITS_FOR: Final = timedelta(days=3)
"""How long an event waits for a payment that nobody knows. Most of those that wait in vain were made elsewhere. What
waits for a payment of ours is never given up."""


@dataclass(frozen=True)
class _Look:
    """What asking for a payment or refund gave: whether the provider knew it, and what that changed."""

    answered: bool
    change: Change | None


_Looks = Mapping[str, _Look]
_Tried = tuple[WebhookReceipt, frozenset[str]]


@dataclass(frozen=True)
class Webhooks:
    """Receives events, keeps them, and applies what they tell. Safe to share between threads.

    `go_on` continues a payment whose customer acted, where that is for us to do; it says whether it did.
    """

    store: Store
    ids: Ids
    providers: Providers
    recovery: Recovery
    applying: Applying
    go_on: Callable[[str], bool] = lambda _: False

    def receive(self, provider: str, body: bytes, headers: Mapping[str, str]) -> WebhookReceipt:
        """Take one delivery of a webhook. When it returns, the event is committed: answer with 200.

        Raises:
            WebhookInvalid: it is not believed, and nothing of it was stored.
            ProviderUnknown, ProviderUnsupported: no such provider is enabled, or it sends none.
            ProviderError: it could not be checked now; nothing was stored: the provider will repeat it.
            StorageError: the database did not answer: the provider will repeat it.
        """
        known = self.providers.get(provider)
        checked_body(body)
        lowered = checked_headers(headers)
        now = self.store.read(lambda tx: tx.now())
        event = _parsed(known, body, lowered, now)
        return self._taken(known, event, body.decode("utf-8", "replace"))

    def apply_events(self, provider: str, events: Sequence[WebhookEvent]) -> tuple[WebhookReceipt, ...]:
        """Take events that were asked for (`provider.poll`): each once, in a write of its own, as if it was sent.

        Raises:
            ProviderUnknown: the provider is not enabled.
            WebhookInvalid: an event is of another account, or malformed; those before it are stored.
        """
        known = self.providers.get(provider)
        return tuple(self._taken(known, event, None) for event in events)

    def poll(self) -> int:
        """Ask every provider what happened lately, and take what is new of it; returns how much that was. One that
        cannot be asked keeps no other from its turn."""
        now = self.store.read(lambda tx: tx.now())
        return sum(self._polled(provider, now) for provider in self.providers)

    def _polled(self, provider: PaymentProvider, now: datetime) -> int:
        try:
            events = provider.poll(now)
        except Exception as exc:  # noqa: BLE001 - the named seam: a provider that raises tells nothing now
            logger.warning("provider %s raised %s when it was polled", provider.name, type(exc).__name__)
            return 0
        return sum(self._taken_anew(provider, event) for event in events)

    def _taken_anew(self, provider: PaymentProvider, event: WebhookEvent) -> bool:
        """Take one of many: what is malformed, or cannot be stored now, keeps no other from its turn."""
        try:
            return self._taken(provider, event, None).status != "repeated"
        except AgentPayError as exc:
            logger.error("an event that provider %s lists cannot be taken: %s", provider.name, exc.code)
            return False

    def retry_waiting(self, limit: int = 50) -> RetryReport:
        """Try the waiting events again whose time has come, and give up those that waited for too long."""
        names = self.providers.names
        due = self.store.read(lambda tx: queries.due(tx, tx.now(), limit, names))
        ended = [self._retried(event_id) for event_id in due]
        return RetryReport(len(due), ended.count("applied"), ended.count("waiting"), ended.count("expired"))

    def retry(self, event_id: str) -> WebhookReceipt:
        """Try one event again, by our id of it, also where it was given up. Nothing is applied twice.

        Raises:
            NotFound: there is no such event.
        """
        return self._again(event_id, revive=True)

    def attempt_settled(self, attempt_id: str) -> None:
        """Our own call of an attempt is settled: what was told of it meanwhile has its turn. Never raises what an event
        causes: the payment stands as its own answer says."""

        def waiting(tx: Tx) -> list[str]:
            attempt = payments.attempt(tx, attempt_id)
            return queries.waiting_for(tx, attempt.provider_key, attempt.reference)

        try:
            for event_id in self.store.read(waiting):
                self._again(event_id)
        except AgentPayError as exc:
            logger.warning("what was told of attempt %s waits on: %s", attempt_id, exc.code)

    def listed(self, status: EventStatus | None = None, limit: int = 50) -> tuple[ReceivedEvent, ...]:
        """The events that were received, in one state where it is named, the newest first."""
        return self.store.read(lambda tx: tuple(_view(tx, row) for row in queries.listed(tx, status, limit)))

    # -- how -----------------------------------------------------------------------------------------------------------

    def _taken(self, provider: PaymentProvider, event: WebhookEvent, body: str | None) -> WebhookReceipt:
        checked_event(event, provider)
        row_id = self.ids.new("evt")
        receipt, asks = self.store.write(lambda tx: self._store(tx, provider, event, body, row_id))
        return self._followed(receipt, asks)

    def _store(self, tx: Tx, provider: PaymentProvider, event: WebhookEvent, body: str | None, row_id: str) -> _Tried:
        stamp = queries.stamped(tx, provider.name)
        if stamp is None or (stamp.account, stamp.mode) != (event.account, provider.mode):
            raise WebhookInvalid("The event is of another account than this database.")
        now = tx.now()
        new = queries.insert_new(
            tx,
            id=row_id,
            provider=provider.name,
            account=event.account,
            event_id=event.id,
            kind=event.kind,
            status="waiting" if event.news else "ignored",
            next_try_at=now if event.news else None,
            created_at=event.created_at,
            received_at=now,
            settled_at=None if event.news else now,
        )
        if not new:
            return _receipt(queries.known(tx, provider.name, event.account, event.id), "repeated"), frozenset()
        self._keep(tx, row_id, event, body)
        data = {"provider": provider.name, "kind": event.kind, "news": str(len(event.news))}
        log.record(tx, principal=SYSTEM, action="webhook.stored", object_id=row_id, data=data, at=now)
        row = queries.event(tx, row_id)
        assert row is not None
        if not event.news:
            return _receipt(row, "ignored"), frozenset()
        return self._tried(tx, row)

    def _keep(self, tx: Tx, row_id: str, event: WebhookEvent, body: str | None) -> None:
        if not event.news:  # nobody could say whose its body is, to erase it
            return
        texts.keep(tx, row_id, "webhook", None if body is None else storable(body))
        texts.keep(tx, row_id, "news", canonical({"news": [encoded(news) for news in event.news]}))
        for position, news in enumerate(event.news):
            values = {name: getattr(news, name, None) for name in ("key", "reference")}
            charge = getattr(news, "charge", None) or getattr(news, "parent", None)
            queries.insert_news(
                tx, event_id=row_id, position=position, kind=kind_of(news), status="waiting", charge=charge, **values
            )

    def _followed(self, receipt: WebhookReceipt, asks: frozenset[str]) -> WebhookReceipt:
        """Look up what the event alone does not prove, apply it by that, and go on with what a customer approved. The
        event is stored whatever happens."""
        receipt = self._looked_up(receipt, asks) if asks else receipt
        ready = [change.object_id for change in receipt.changed if change.change == "payment.pending"]
        changes = [change for payment_id in ready for change in self._gone_on(payment_id)]
        return replace(receipt, changed=(*receipt.changed, *changes))

    def _looked_up(self, receipt: WebhookReceipt, asks: frozenset[str]) -> WebhookReceipt:
        try:
            found = {subject_id: self._asked(subject_id) for subject_id in sorted(asks)}
            again, _ = self.store.write(lambda tx: self._tried(tx, _locked(tx, receipt.id), looks=found))
        except StorageError as exc:
            logger.warning("event %s waits: %s", receipt.id, exc.code)
            return receipt
        return replace(receipt, changed=receipt.changed + again.changed, waiting=again.waiting)

    def _gone_on(self, payment_id: str) -> list[Change]:
        """Continue a payment that waits for us alone now. What keeps it from that is left to the next reconcile."""
        try:
            if not self.go_on(payment_id):
                return []
            return [Change(payment_id, f"payment.{self.store.read(lambda tx: subject(tx, payment_id).status)}")]
        except StorageError as exc:
            logger.warning("payment %s waits to be continued: %s", payment_id, exc.code)
            return []

    def _asked(self, subject_id: str) -> _Look:
        """Look a payment or refund up at its provider."""
        before = self.store.read(lambda tx: subject(tx, subject_id).status)
        answered = self.recovery.answered(subject_id)
        after = self.store.read(lambda tx: subject(tx, subject_id).status)
        change = Change(subject_id, f"{kind_of_subject(subject_id)}.{after}") if after != before else None
        return _Look(answered, change)

    def _again(self, event_id: str, *, revive: bool = False) -> WebhookReceipt:
        receipt, asks = self.store.write(lambda tx: self._tried(tx, _locked(tx, event_id), revive=revive))
        return self._followed(receipt, asks)

    def _retried(self, event_id: str) -> EventStatus:
        """One of many: whatever keeps it from being applied, the others have their turn."""
        try:
            receipt = self._again(event_id)
            if not receipt.waiting:
                return "applied"
            return self.store.write(lambda tx: self._given_up(tx, event_id))
        except StorageError as exc:
            logger.error("event %s cannot be applied: %s", event_id, exc.code)
            return "waiting"

    def _given_up(self, tx: Tx, event_id: str) -> Literal["waiting", "expired"]:
        row = _locked(tx, event_id)
        now = tx.now(row.received_at)
        known = any(one.object_id is not None for one in queries.news_of(tx, event_id) if one.status == "waiting")
        if row.status != "waiting" or known or now < row.received_at + WAITS_FOR:
            return "waiting"
        queries.update_event(tx, event_id, status="expired", next_try_at=None, settled_at=now)
        self._tell(tx, "webhook.expired", row, now)
        logger.warning("event %s (%s) waited in vain for what it is about", event_id, row.kind)
        return "expired"

    def _tried(self, tx: Tx, row: Row, *, looks: _Looks | None = None, revive: bool = False) -> _Tried:
        """Apply what still waits of an event whose row is locked, or was just inserted. `looks` are those that were
        made for it since."""
        if row.status != "waiting" and not (revive and row.status == "expired"):
            return _receipt(row, "repeated"), frozenset()
        now, changes, waits = tx.now(row.received_at), list[Change](), list[Waits]()
        told = _news(tx, row.id)
        for one in queries.news_of(tx, row.id):
            if one.status != "waiting":
                continue
            applied = self._one(tx, row, told.get(one.position), looks)
            if isinstance(applied, Waits):
                waits.append(applied)
                queries.update_news(tx, row.id, one.position, object_id=applied.about)
                continue
            change = applied.change or _found(looks, applied.about)
            change = None if change in changes else change  # what one look-up changed is told once
            changes += [change] if change else []
            what = change.change if change else None
            queries.update_news(tx, row.id, one.position, status="applied", object_id=applied.about, change=what)
        self._note(tx, row, waits, now)
        receipt = _receipt(_locked(tx, row.id), "stored", tuple(changes))
        return receipt, frozenset(one.about for one in waits if one.ask and one.about is not None and looks is None)

    def _one(self, tx: Tx, row: Row, news: News | None, looks: _Looks | None) -> Done | Waits:
        """Apply one piece of news. What it cannot be applied for undoes nothing else, and keeps the event."""
        if news is None:
            return Waits()  # it was erased
        asked: dict[str, Asked] = {
            name: "answered" if look.answered else "unanswered" for name, look in (looks or {}).items()
        }
        try:
            with tx.conn.begin_nested():
                return self.applying.apply(tx, row.provider, news, row.created_at, asked=asked)
        except StorageError:
            raise
        except AgentPayError as exc:
            logger.error("event %s cannot be applied: %s", row.id, exc.code)
            return Waits()

    def _note(self, tx: Tx, row: Row, waits: list[Waits], now: datetime) -> None:
        if not waits:
            queries.update_event(tx, row.id, status="applied", next_try_at=None, settled_at=now, tries=row.tries + 1)
            self._tell(tx, "webhook.applied", row, now)
            return
        later = now + BACK_OFF[min(row.tries, len(BACK_OFF) - 1)]
        moments = [one.until for one in waits if one.until is not None and one.until > now]
        queries.update_event(
            tx, row.id, status="waiting", next_try_at=min([later, *moments]), settled_at=None, tries=row.tries + 1
        )

    def _tell(self, tx: Tx, topic: str, row: Row, now: datetime) -> None:
        data = {"provider": row.provider, "kind": row.kind}
        log.record(tx, principal=SYSTEM, action=topic, object_id=row.id, data=data, at=now)
        outbox.tell(tx, topic, row.id, data, now)


def _parsed(provider: PaymentProvider, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookEvent:
    try:
        return provider.parse_webhook(body, headers, now)
    except AgentPayError:
        raise
    except Exception as exc:  # noqa: BLE001 - the named seam: what a provider raises proves nothing about the event
        logger.warning("parse_webhook of %s raised %s", provider.name, type(exc).__name__)
        raise ProviderError(
            f"The webhook could not be checked: {type(exc).__name__} from {provider.name}. Nothing was stored.",
            next_step="Nothing is needed where the provider repeats it; else look at the provider's health.",
        ) from None


def _locked(tx: Tx, event_id: str) -> Row:
    row = queries.event(tx, event_id, lock=True)
    if row is None:
        raise NotFound(f"There is no event {event_id[:60]!r}.")
    return row


def _news(tx: Tx, row_id: str) -> dict[int, News]:
    """What an event tells, by position. Nothing where it was erased."""
    text = texts.text_of(tx, row_id, "news")
    kept: list[dict[str, Any]] = [] if text is None else json.loads(text)["news"]
    return {position: decoded(data) for position, data in enumerate(kept)}


def _found(looks: _Looks | None, about: str | None) -> Change | None:
    look = (looks or {}).get(about or "")
    return None if look is None else look.change


def _receipt(row: Row, status: ReceiptStatus, changed: tuple[Change, ...] = ()) -> WebhookReceipt:
    return WebhookReceipt(row.id, row.event_id, row.provider, row.kind, status, changed, row.status == "waiting")


def _view(tx: Tx, row: Row) -> ReceivedEvent:
    changed = tuple(Change(one.object_id, one.change) for one in queries.news_of(tx, row.id) if one.change is not None)
    return ReceivedEvent(
        id=row.id,
        provider=row.provider,
        event_id=row.event_id,
        kind=row.kind,
        status=row.status,
        changed=changed,
        tries=row.tries,
        created_at=row.created_at,
        received_at=row.received_at,
        next_try_at=row.next_try_at,
    )
