"""What is no webhook of the provider's stores nothing; what is none of our business is kept and does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import ProviderUnknown, ProviderUnsupported, WebhookInvalid
from agentpay.providers.events import AttemptNews, WebhookEvent
from agentpay.providers.mock_webhooks import SECRET, SignedEvent, signature, signed
from agentpay.providers.outcomes import Succeeded
from agentpay.storage import texts
from agentpay.webhooks.checks import LARGEST_BODY
from agentpay.webhooks.queries import EVENTS
from conftest import START
from support.bench import Bench
from support.scripted import ScriptedProvider

EVENT: Mapping[str, Any] = {"type": "charge", "created": START.isoformat(), "object": {}}
GOOD = signed({"type": "strange", "created": START.isoformat()}, secret=SECRET, at=START)


def raw(body: bytes, **by: float) -> SignedEvent:
    """Any bytes, signed as the mock would, at a moment."""
    return SignedEvent(body, {"mock-signature": signature(body, secret=SECRET, at=START + timedelta(**by))})


def without(name: str) -> bytes:
    told = {"reference": "r", "charge": "c", "amount": "1.00", "currency": "USD", "status": "pending"}
    event = {"id": "e", "account": "mock", "type": "refund", "created": START.isoformat(), "object": told}
    holder: dict[str, Any] = event if name in event else told
    del holder[name]
    return json.dumps(event).encode()


def another(**changes: Any) -> bytes:
    return json.dumps({"id": "e", "account": "mock", **EVENT, **changes}).encode()


def claim(**changes: Any) -> dict[str, Any]:
    money = {"amount": "1.00", "currency": "USD", "charge": "c", "reference": "r"}
    return {**money, "kind": "dispute", "status": "open", "reason": "odd", **changes}


BAD: dict[str, tuple[Any, Any]] = {
    "wrong signature": (GOOD.body, {"mock-signature": signature(GOOD.body, secret="another", at=START)}),
    "no signature": (GOOD.body, {}),
    "empty signature": (GOOD.body, {"mock-signature": ""}),
    "signature without a time": (GOOD.body, {"mock-signature": "v1=00"}),
    "signature with a strange time": (GOOD.body, {"mock-signature": "t=²,v1=00"}),
    "signature that is no text": (GOOD.body, {"mock-signature": b"t=1,v1=0"}),
    "signature that is not ASCII": (GOOD.body, {"mock-signature": f"t={int(START.timestamp())},v1=ü"}),
    "another body": (GOOD.body + b" ", GOOD.headers),
    "truncated body": (GOOD.body[:-2], GOOD.headers),
    "too old": (GOOD.body, raw(GOOD.body, seconds=-301).headers),
    "in the future": (GOOD.body, raw(GOOD.body, seconds=301).headers),
    "two signatures": (GOOD.body, {**GOOD.headers, "Mock-Signature": "t=1,v1=0"}),
    "another account": (another(account="other"), None),
    "no account": (without("account"), None),
    "huge": (b"x" * (LARGEST_BODY + 1), None),
    "empty": (b"", None),
    "text": ("{}", {}),
    "not JSON": (b"{", None),
    "JSON, and no object": (b"[1]", None),
    "a number": (b"1", None),
    "wrong encoding": (another(type="é").decode().encode("utf-16"), None),
    "latin-1": (b'{"id": "\xe9"}', None),
    "very deep": (b"[" * 100_000, None),
    "no id": (without("id"), None),
    "an id that nobody sees": (another(id="\u200b", type="x"), None),
    "a long id": (another(id="x" * 300, type="x"), None),
    "a strange time": (another(created="yesterday"), None),
    "no reference": (without("reference"), None),
    "an amount that is none": (another(type="refund", object={"amount": "1e9", "currency": "USD", "charge": "c",
                                       "reference": "r", "status": "pending"}), None),
    "a status that is none": (another(type="refund", object={"amount": "1.00", "currency": "USD", "charge": "c",
                                      "reference": "r", "status": "odd"}), None),
    "a time before all others": (another(type="x", created="0001-01-01T00:00:00+23:59"), None),
    "a dispute in no known state": (another(type="dispute", object=claim(status="odd")), None),
    "a dispute in a reversal's state": (another(type="dispute", object=claim(status="restored")), None),
    "a reversal in no known state": (another(type="dispute", object=claim(kind="reversal", status="won")), None),
    "a dispute for no text": (another(type="dispute", object=claim(reason=7)), None),
    "many headers": (GOOD.body, {**GOOD.headers, **{f"x-{n}": "" for n in range(200)}}),
    "huge headers": (GOOD.body, {**GOOD.headers, "x": "y" * 40_000}),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_believed_stores_nothing(shared: Bench, name: str) -> None:
    body, headers = BAD[name]
    before = shared.rows(sa.select(sa.func.count()).select_from(EVENTS))
    given = headers if headers is not None else raw(body).headers
    with pytest.raises(WebhookInvalid) as caught:
        shared.manager.receive_webhook("mock", body, given)
    assert caught.value.code == "WEBHOOK_INVALID"
    assert SECRET not in str(caught.value)
    assert shared.rows(sa.select(sa.func.count()).select_from(EVENTS)) == before


def test_the_edges_of_the_five_minutes_are_believed(bench: Bench) -> None:
    for seconds in (-300, 300):
        event = raw(another(id=f"edge{seconds}", type="x"), seconds=seconds)
        assert bench.manager.receive_webhook("mock", event.body, event.headers).status == "ignored"


def test_the_largest_body_is_taken(bench: Bench) -> None:
    body = another(type="x", note="")
    body = another(type="x", note="y" * (LARGEST_BODY - len(body)))
    assert len(body) == LARGEST_BODY
    assert bench.manager.receive_webhook("mock", body, raw(body).headers).status == "ignored"


def test_an_unknown_kind_is_ignored_and_kept_without_its_body(bench: Bench) -> None:
    receipt = bench.manager.receive_webhook("mock", GOOD.body, {"Mock-Signature": GOOD.headers["mock-signature"]})
    assert (receipt.status, receipt.waiting, receipt.changed) == ("ignored", False, ())
    assert bench.engine.store.read(lambda tx: texts.text_of(tx, receipt.id, "webhook")) is None
    assert [one.status for one in bench.manager.webhook_events()] == ["ignored"]


def test_text_that_no_database_keeps_is_mended(bench: Bench) -> None:
    """NUL and lone surrogates in what a provider says; the rest of the event counts."""
    body = b'{"id": "e", "account": "mock", "type": "x", "created": "2026-01-31T10:00:00+00:00", "a": "\\u0000\\ud800"}'
    assert bench.manager.receive_webhook("mock", body, raw(body).headers).status == "ignored"


def test_an_unknown_provider_and_one_without_webhooks(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(providers=(ScriptedProvider(),))
    with pytest.raises(ProviderUnknown):
        bench.manager.receive_webhook("nobody", b"{}", {})
    with pytest.raises(ProviderUnsupported):
        bench.manager.receive_webhook("scripted", b"{}", {})


def test_an_event_of_another_account_is_refused_whoever_made_it(bench: Bench) -> None:
    """A provider that does not look at the account itself."""
    event = WebhookEvent("e", "another", "charge", START, (AttemptNews("charge", Succeeded("x"), key="k"),))
    with pytest.raises(WebhookInvalid, match="another account"):
        bench.engine.webhooks.apply_events("mock", [event])
    assert bench.rows(sa.select(EVENTS)) == []


def test_a_mock_with_another_secret_believes_nothing(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    stranger = bench.new_mock()
    stranger._webhook_secret = "another"
    charge = bench.manager.charge("ana", "5.00", "USD", idempotency_key="k")
    event = stranger.webhook(bench.attempts(charge.id)[0].reference)
    stranger.close()
    with pytest.raises(WebhookInvalid):
        bench.manager.receive_webhook("mock", event.body, event.headers)
