"""What Stripe's webhooks tell, kind by kind; and nothing of one that is not its own, too old, or of another form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from agentpay.errors import WebhookInvalid
from agentpay.providers.events import AttemptNews, DisputeNews, MethodNews, News, RefundNews
from agentpay.providers.outcomes import Declined, Pending, RequiresAction, Succeeded
from agentpay.providers.stripe_webhooks import LONGEST_BODY, READERS, DisputeStatus, Endpoint, RefundStatus, parse
from agentpay_policies.money import Money

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECRET = "whsec_one"
OURS = Endpoint((SECRET,), "test", "acct_ours", "acct_ours")


def event(kind: str, about: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"object": dict(about)}
    if "before" in fields:
        data["previous_attributes"] = fields.pop("before")
    fixed = {"id": "evt_1", "object": "event", "created": 1793534400, "livemode": False}
    return {**fixed, "type": kind, "data": data, **fields}


def headers(body: bytes, secret: str = SECRET, at: datetime = NOW) -> dict[str, str]:
    signed = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, int(at.timestamp()))
    return {"stripe-signature": signed}


def told(kind: str, about: Mapping[str, Any], **fields: Any) -> tuple[News, ...]:
    body = json.dumps(event(kind, about, **fields)).encode()
    read = parse(body, headers(body), NOW, OURS)
    assert (read.id, read.account, read.kind) == ("evt_1", "acct_ours", kind)
    assert read.created_at == datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=12)
    return read.news


def intent(status: str, op: str | None = "create", **fields: Any) -> dict[str, Any]:
    metadata = {} if op is None else {"agentpay_op": op, "agentpay_key": "k-1", "agentpay_payment": "pay_1"}
    return {"id": "pi_1", "object": "payment_intent", "status": status, "metadata": metadata, **fields}


def page(**fields: Any) -> dict[str, Any]:
    metadata = {"agentpay_key": "k-1", "agentpay_payment": "pay_1"}
    return {
        "id": "cs_1", "object": "checkout.session", "mode": "payment", "status": "complete", "payment_status": "paid",
        "payment_intent": "pi_1", "customer": None, "metadata": metadata, **fields,
    }  # fmt: skip


REFUND = {"id": "re_1", "amount": 500, "currency": "usd", "payment_intent": "pi_1", "charge": "ch_1",
          "metadata": {"agentpay_key": "k-9"}}  # fmt: skip
DISPUTE = {
    "id": "dp_1",
    "amount": 500,
    "currency": "jpy",
    "payment_intent": "pi_1",
    "charge": "ch_1",
    "reason": "fraudulent",
}

FAILED: dict[str, Any] = {"last_payment_error": {"code": "card_declined", "decline_code": "stolen_card"}}
MONEY, YEN = Money("5.00", "USD"), Money("500", "JPY")


def refunded(status: RefundStatus, charge: str = "pi_1", *, key: str | None = "k-9") -> tuple[News, ...]:
    return (RefundNews(charge, "re_1", MONEY, status, key),)


def disputed(status: DisputeStatus) -> tuple[News, ...]:
    return (DisputeNews("pi_1", "dp_1", YEN, status, "fraudulent"),)


CASES: list[tuple[str, dict[str, Any], tuple[News, ...]]] = [
    ("payment_intent.succeeded", intent("succeeded"),
     (AttemptNews("charge", Succeeded("pi_1"), key="k-1", reference="pi_1", parent="pi_1"),)),
    ("payment_intent.processing", intent("processing"),
     (AttemptNews("charge", Pending("pi_1"), key="k-1", reference="pi_1", parent="pi_1"),)),
    ("payment_intent.payment_failed", intent("requires_payment_method", **FAILED), ()),
    ("payment_intent.canceled", intent("canceled"), ()),
    ("payment_intent.requires_action", intent("requires_action"), ()),
    ("payment_intent.succeeded", intent("succeeded", "page"),
     (AttemptNews("charge", Succeeded("pi_1"), key="k-1", reference="pi_1"),)),
    ("payment_intent.processing", intent("processing", "page"), ()),
    ("payment_intent.payment_failed", intent("requires_payment_method", "page", **FAILED), ()),
    ("payment_intent.canceled", intent("canceled", "page"), ()),
    ("payment_intent.succeeded", intent("succeeded", None), ()),
    ("payment_intent.requires_action",
     intent("requires_action", "crypto", next_action={"redirect_to_url": {"url": "https://crypto.example"}}),
     (AttemptNews("charge", RequiresAction("pi_1", url="https://crypto.example"), key="k-1", reference="pi_1"),)),
    ("checkout.session.completed", page(), (AttemptNews("charge", Succeeded("pi_1"), key="k-1", reference="cs_1"),)),
    ("checkout.session.completed", page(payment_status="unpaid"),
     (AttemptNews("charge", Pending("cs_1"), key="k-1", reference="cs_1"),)),
    ("checkout.session.async_payment_succeeded", page(),
     (AttemptNews("charge", Succeeded("pi_1"), key="k-1", reference="cs_1"),)),
    ("checkout.session.completed", page(metadata={}), ()),
    ("checkout.session.completed",
     page(mode="setup", payment_intent=None, customer="cus_1", metadata={"agentpay_setup": "set_1"}),
     (MethodNews("cus_1", "saved", "set_1"),)),
    ("checkout.session.expired", page(mode="setup", status="expired", customer="cus_1"), ()),
    ("refund.created", {**REFUND, "status": "succeeded"}, refunded("succeeded")),
    ("refund.updated", {**REFUND, "status": "pending"}, refunded("pending")),
    ("refund.updated", {**REFUND, "status": "requires_action"}, refunded("pending")),
    ("refund.failed", {**REFUND, "status": "failed"}, refunded("failed")),
    ("charge.refund.updated", {**REFUND, "status": "canceled", "metadata": {}}, refunded("failed", key=None)),
    ("refund.created", {**REFUND, "status": "a_new_one"}, ()),
    ("refund.created", {**REFUND, "status": "succeeded", "payment_intent": None},
     refunded("succeeded", "ch_1")),
    ("charge.refunded", {"id": "ch_1", "refunds": {"data": [{**REFUND, "status": "succeeded"}]}},
     refunded("succeeded")),
    ("charge.refunded", {"id": "ch_1", "refunds": None}, ()),
    ("charge.dispute.created", {**DISPUTE, "status": "needs_response"}, disputed("open")),
    ("charge.dispute.updated", {**DISPUTE, "status": "under_review"}, disputed("open")),
    ("charge.dispute.funds_withdrawn", {**DISPUTE, "status": "needs_response"}, disputed("open")),
    ("charge.dispute.funds_reinstated", {**DISPUTE, "status": "won"}, disputed("won")),
    ("charge.dispute.closed", {**DISPUTE, "status": "lost"}, disputed("lost")),
    ("charge.dispute.closed", {**DISPUTE, "status": "warning_closed"}, ()),
    ("setup_intent.succeeded", {"id": "seti_1", "customer": "cus_1", "metadata": {"agentpay_setup": "set_1"}},
     (MethodNews("cus_1", "saved", "set_1"),)),
    ("payment_method.attached", {"id": "pm_1", "customer": "cus_1"}, (MethodNews("cus_1", "saved"),)),
    ("payment_method.detached", {"id": "pm_1", "customer": None}, ()),
    ("customer.deleted", {"id": "cus_1"}, (MethodNews("cus_1", "removed"),)),
    ("plan.created", {"id": "price_1"}, ()),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "about", "news"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_what_a_kind_tells(kind: str, about: dict[str, Any], news: tuple[News, ...]) -> None:
    assert told(kind, about) == news


def test_what_needs_more_than_a_row() -> None:
    assert told("payment_method.detached", {"id": "pm_1", "customer": None}, before={"customer": "cus_1"}) == (
        MethodNews("cus_1", "removed"),
    )
    (failed,) = told("checkout.session.async_payment_failed", page(payment_status="unpaid"))
    assert isinstance(failed, AttemptNews) and isinstance(failed.outcome, Declined)
    (expired,) = told("checkout.session.expired", page(status="expired", payment_status="unpaid", payment_intent=None))
    assert isinstance(expired, AttemptNews) and isinstance(expired.outcome, Declined)
    (wallet,) = told("payment_intent.payment_failed", intent("requires_payment_method", "crypto", **FAILED))
    assert isinstance(wallet, AttemptNews) and isinstance(wallet.outcome, Declined)
    metadata = {"agentpay_key": "k-1", "agentpay_payment": "pay_1", "agentpay_recurring": "yes"}
    paid, kept = told("checkout.session.completed", page(customer="cus_1", metadata=metadata))
    assert isinstance(paid, AttemptNews) and kept == MethodNews("cus_1", "saved", "pay_1")


def test_every_kind_that_is_read_has_a_case() -> None:
    cased = {kind for kind, _, _ in CASES} | {"checkout.session.async_payment_failed"}
    assert set(READERS) <= cased


GOOD = event("payment_intent.succeeded", intent("succeeded"))


def refused(body: bytes, sent: dict[str, str] | None = None, *, now: datetime = NOW, at: Endpoint = OURS) -> str:
    with pytest.raises(WebhookInvalid) as raised:
        parse(body, headers(body) if sent is None else sent, now, at)
    assert "whsec" not in str(raised.value)
    return raised.value.message


def test_a_webhook_of_another_endpoint_or_of_nobody_is_refused() -> None:
    body = json.dumps(GOOD).encode()
    assert "not signed with the secret" in refused(body, headers(body, "whsec_another"))
    assert "no signature" in refused(body, {})
    assert "is not set" in refused(body, at=Endpoint((), "test", None, "default"))
    for header in (
        "t=,v1=",
        "v1=abc",
        "t=1e9,v1=abc",
        "t=\u0661,v1=a",
        "t=99999999999999999999,v1=a",
        "nonsense",
        ",",
        "==",
    ):
        refused(body, {"stripe-signature": header})
    assert "not signed" in refused(body, {"stripe-signature": headers(body)["stripe-signature"].replace("v1=", "v0=")})
    assert "not signed" in refused(body + b" ", headers(body))
    refused(b"\xff" + body, headers(body))
    refused(b"x" * (LONGEST_BODY + 1), headers(body))


@pytest.mark.parametrize("seconds", [301, -301])
def test_an_old_webhook_is_refused(seconds: int) -> None:
    body = json.dumps(GOOD).encode()
    assert "too old" in refused(body, headers(body, at=NOW - timedelta(seconds=seconds)))
    parse(body, headers(body, at=NOW - timedelta(seconds=299)), NOW, OURS)


@pytest.mark.parametrize("form", ["{old},t={now}", "t={now},{old}", "{old},t={now},t={now}"])
def test_an_old_webhook_is_not_made_new_by_a_second_time_in_its_header(form: str) -> None:
    """What was signed is one time; another, which anybody can add, must not be the one whose age is looked at."""
    body = json.dumps(GOOD).encode()
    old = headers(body, at=NOW - timedelta(days=3))["stripe-signature"]
    refused(body, {"stripe-signature": form.format(old=old, now=int(NOW.timestamp()))})


def test_an_old_secret_is_good_while_it_is_replaced() -> None:
    body = json.dumps(GOOD).encode()
    both = Endpoint(("whsec_new", SECRET), "test", None, "default")
    assert parse(body, headers(body), NOW, both).account == "default"


def test_the_other_mode_and_another_account_are_refused() -> None:
    assert "test mode" in refused(json.dumps({**GOOD, "livemode": True}).encode())
    assert "another account" in refused(json.dumps({**GOOD, "account": "acct_theirs"}).encode())
    body = json.dumps({**GOOD, "account": "acct_ours"}).encode()
    assert parse(body, headers(body), NOW, OURS).news


@pytest.mark.parametrize(
    "body",
    ["not json", "", "[]", "7", "null", '"event"', "{}", json.dumps({**GOOD, "object": "v2.core.event"}),
     json.dumps({**GOOD, "id": 7}), json.dumps({**GOOD, "id": ""}), json.dumps({**GOOD, "livemode": None}),
     json.dumps({**GOOD, "data": []}), json.dumps({**GOOD, "data": {"object": None}}),
     json.dumps({**GOOD, "created": "never"}), json.dumps({**GOOD, "created": 10**30}),
     json.dumps(event("payment_intent.succeeded", {"id": "pi_1", "metadata": {"agentpay_op": "create"}})),
     json.dumps(event("refund.created", {**REFUND, "status": "succeeded", "amount": "much"})),
     json.dumps(event("checkout.session.completed", {"metadata": 7, "mode": "payment"})),
     "[" * 100_000],
    ids=lambda body: body[:40],
)  # fmt: skip
def test_what_is_signed_and_makes_no_sense_is_refused(body: str) -> None:
    refused(body.encode())
