"""News as JSON data, to be kept until it can be applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from agentpay.providers.events import AttemptNews, DisputeNews, MethodNews, News, RefundNews, ReversalNews, StrayNews
from agentpay.providers.outcomes import (
    Declined,
    NotSent,
    Outcome,
    Pending,
    RequiresAction,
    Succeeded,
    Unknown,
    checked,
    name_of,
)
from agentpay_policies.money import Money
from agentpay_policies.text import storable

_KINDS: Final[Mapping[str, type[News]]] = {
    "attempt": AttemptNews,
    "refund": RefundNews,
    "dispute": DisputeNews,
    "reversal": ReversalNews,
    "method": MethodNews,
    "stray": StrayNews,
}
_OUTCOMES: Final[Mapping[str, type[Outcome]]] = {
    name_of(example): type(example)
    for example in (Succeeded(""), RequiresAction(""), Pending(""), Declined("", ""), NotSent(""), Unknown(""))
}


def kind_of(news: News) -> str:
    """What kind of news it is, in a word."""
    return next(kind for kind, cls in _KINDS.items() if isinstance(news, cls))


def encoded(news: News) -> dict[str, object]:
    """The news as JSON data; text is mended where no database keeps it."""
    values = {one.name: _plain(getattr(news, one.name)) for one in fields(news)}
    return {"news": kind_of(news), **values}


def decoded(data: Mapping[str, Any]) -> News:
    """The news that was encoded so."""
    values = {name: value for name, value in data.items() if name != "news"}
    if "outcome" in values:
        outcome = dict(values["outcome"])
        values["outcome"] = _OUTCOMES[outcome.pop("is")](**outcome)
    if "money" in values:
        values["money"] = Money.from_minor(int(values["money"]["minor"]), values["money"]["currency"])
    return _KINDS[data["news"]](**values)


def _plain(value: object) -> object:
    if isinstance(value, Money):
        return {"minor": str(value.minor), "currency": value.currency}
    if isinstance(value, Outcome):
        return {"is": name_of(value), **vars(checked(value))}
    return storable(value) if isinstance(value, str) else value
