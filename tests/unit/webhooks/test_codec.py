"""News are kept as JSON data and come back as they were, but for text that no database keeps."""

from __future__ import annotations

import json

import pytest

from agentpay.canonical import canonical
from agentpay.providers.events import AttemptNews, DisputeNews, MethodNews, News, RefundNews, ReversalNews
from agentpay.providers.outcomes import Declined, NotSent, Pending, RequiresAction, Succeeded, Unknown
from agentpay.webhooks.codec import decoded, encoded
from agentpay_policies.money import Money

YEN = Money("12", "JPY")

NEWS: tuple[News, ...] = (
    AttemptNews("charge", Succeeded("ch_1"), key="k"),
    AttemptNews("refund", Declined("no", "No.", "re_1"), reference="re_1"),
    AttemptNews("charge", RequiresAction("ch_1", "https://pay.invalid", "Do it."), parent="or_1"),
    AttemptNews("charge", Pending("ch_1")),
    AttemptNews("charge", NotSent("refused")),
    AttemptNews("charge", Unknown("what", None)),
    RefundNews("ch_1", "re_1", YEN, "failed", "k"),
    DisputeNews("ch_1", "dp_1", YEN, "lost", "fraudulent"),
    ReversalNews("ch_1", "rv_1", YEN, "restored", "bank"),
    MethodNews("cus_1", "removed", "set_1"),
)


@pytest.mark.parametrize("news", NEWS, ids=str)
def test_news_come_back_as_they_were(news: News) -> None:
    assert decoded(json.loads(canonical(encoded(news)))) == news


def test_text_that_no_database_keeps_is_mended() -> None:
    kept = canonical(encoded(AttemptNews("charge", Declined("no", "a\x00b\ud800"), key="k")))
    kept.encode()
    assert "\\u0000" not in kept
    assert decoded(json.loads(kept)) == AttemptNews("charge", Declined("no", "a\ufffdb\ufffd"), key="k")
