"""What the books tell, as events of the engine. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agentpay.providers.crypto.config import ChainConfig, TokenConfig
from agentpay.providers.crypto.sending import parsed_outcome
from agentpay.providers.events import AttemptNews, News, ReversalNews, StrayNews, WebhookEvent
from agentpay.providers.outcomes import Declined, Succeeded
from agentpay_policies.errors import MoneyError
from agentpay_policies.money import Money


def told(
    news_id: str, account: str, kind: str, at: datetime, body: Mapping[str, Any], config: ChainConfig
) -> WebhookEvent:
    """An event. What is of a token that is not configured any more, or too small for our money, has no news."""
    about, _, what = kind.partition(".")
    token = config.token_at(str(body["token"])) if "token" in body else None
    if about == "send":
        news: News | None = AttemptNews(body["kind"], parsed_outcome(body["result"]), key=body["key"])
    elif about == "transfer":
        news = _stray(what, body, token)
    else:
        news = _deposit(what, body, token)
    return WebhookEvent(news_id, account, kind, at, () if news is None else (news,))


def _deposit(what: str, body: Mapping[str, Any], token: TokenConfig | None) -> News | None:
    deposit = body["deposit"]
    if what == "paid":
        return AttemptNews("charge", Succeeded(deposit), key=body["key"], reference=deposit)
    if what in ("expired", "underpaid"):
        outcome = Declined(what, "The amount was not paid before the deadline.", deposit)
        return AttemptNews("charge", outcome, key=body["key"], reference=deposit)
    money = None if token is None else _money(body["units"], token)
    if money is None:
        return None
    status = "reversed" if what == "reversed" else "restored"
    reason = "The block of its transfer is no longer on the chain."
    return ReversalNews(deposit, body["reference"], money, "reversed" if status == "reversed" else "restored", reason)


def _stray(what: str, body: Mapping[str, Any], token: TokenConfig | None) -> News | None:
    money = None if token is None else _money(body["units"], token)
    if money is None:
        return None
    return StrayNews(
        reference=body["reference"],
        money=money,
        status="received" if what == "stray" else "taken_back",
        reason=body["reason"],
        charge=body["deposit"],
    )


def _money(units: str, token: TokenConfig) -> Money | None:
    """Base units as money, rounded down; None where that is nothing, or more than any amount may be."""
    try:
        money = Money.from_minor(int(units) // token.scale, token.currency)
    except MoneyError:
        return None
    return money if money.minor else None
