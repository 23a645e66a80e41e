"""What a delivery must look like before anything of it is read, and an event before anything of it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from agentpay.errors import WebhookInvalid
from agentpay.providers.base import PaymentProvider
from agentpay.providers.events import DisputeNews, News, RefundNews, ReversalNews, StrayNews, WebhookEvent
from agentpay_policies.errors import ValidationError
from agentpay_policies.text import identifier

LARGEST_BODY: Final = 256 * 1024
MOST_HEADERS: Final = 100
LARGEST_HEADERS: Final = 32 * 1024
MOST_NEWS: Final = 100
_ID: Final = 255
_STATUSES: Final[Mapping[type[News], tuple[str, ...]]] = {
    RefundNews: ("pending", "succeeded", "failed"),
    DisputeNews: ("open", "won", "lost"),
    ReversalNews: ("reversed", "restored"),
    StrayNews: ("received", "taken_back"),
}


def checked_body(body: object) -> None:
    """Refuse what is no bytes, empty, or larger than any webhook.

    Raises:
        WebhookInvalid: it is.
    """
    if not isinstance(body, bytes):
        raise WebhookInvalid("The body of a webhook is given as the bytes that came: nothing decoded, nothing parsed.")
    if not body:
        raise WebhookInvalid("The body is empty.")
    if len(body) > LARGEST_BODY:
        raise WebhookInvalid(f"The body is larger than {LARGEST_BODY} bytes.")


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers in lower case. One that came twice with different values is left out: which of them counts would be
    anybody's guess.

    Raises:
        WebhookInvalid: they are too many, too large, or no text.
    """
    return unambiguous((name, value) for name, value in headers.items())


def unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The same, of headers as they stand in a request, where a name may come twice.

    Raises:
        WebhookInvalid: as above.
    """
    found: dict[str, str] = {}
    twice: set[str] = set()
    count = size = 0
    for name, value in pairs:
        if not isinstance(name, str) or not isinstance(value, str):
            raise WebhookInvalid("Headers are text.")
        count, size = count + 1, size + len(name) + len(value)
        if count > MOST_HEADERS or size > LARGEST_HEADERS:
            raise WebhookInvalid("The headers are too many or too large.")
        lowered = name.lower()
        if found.setdefault(lowered, value) != value:
            twice.add(lowered)
    return {name: value for name, value in found.items() if name not in twice}


def checked_event(event: WebhookEvent, provider: PaymentProvider) -> None:
    """Refuse an event that is not of the provider's account, or that no table could hold.

    Raises:
        WebhookInvalid: it is so; nothing of it may be stored.
    """
    if event.account != provider.account:
        raise WebhookInvalid("The event is of another account.")
    try:
        identifier(event.id, "the event's id", longest=_ID)
        identifier(event.kind, "the event's kind", longest=_ID)
        for news in event.news:
            for text in _names(news):
                identifier(text, "an id in the event", longest=_ID)
            if getattr(news, "status", None) not in _STATUSES.get(type(news), (None,)):
                raise WebhookInvalid("The event is malformed: a state that there is not.")
            if not isinstance(getattr(news, "reason", ""), str):
                raise WebhookInvalid("The event is malformed: a reason that is no text.")
    except ValidationError as exc:
        raise WebhookInvalid(f"The event is malformed: {exc.message}") from None
    if event.created_at.tzinfo is None or len(event.news) > MOST_NEWS:
        raise WebhookInvalid("The event is malformed: its time, or how much it tells.")


def _names(news: News) -> list[str]:
    fields = ("key", "reference", "parent", "charge", "customer", "setup")
    return [value for name in fields if (value := getattr(news, name, None)) is not None]
