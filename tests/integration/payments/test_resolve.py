"""What no look-up can settle, people settle: two of them, with evidence, once."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.payments.models import Payment
from agentpay.providers.base import Found, Steps
from agentpay.providers.outcomes import Outcome, Pending, Succeeded, Unknown
from agentpay.storage.tables import OutboxRow
from agentpay.storage.texts import text_of
from agentpay.storage.types import table
from support.bench import SECRET, Bench, capped, code_of, policy
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider

LOST = Unknown("timed out")

sqlite_only = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
ALICE = {"approver": "alice", "secret": SECRET}
BOTH = {**ALICE, "second": "bob", "second_secret": SECRET}
TOLD = "Line 12 of the statement of January says so."


@pytest.fixture
def scripted() -> ScriptedProvider:
    return ScriptedProvider(consistent=False)


@pytest.fixture
def own(make_bench: MakeBench, scripted: ScriptedProvider) -> Bench:
    allowed = {"providers": {"allow": ["mock", "scripted"]}, **capped("50.00 USD")}
    bench = make_bench(policy=policy({"bot": allowed}), providers=(scripted,))
    bench.enrol("alice", "bob")
    return bench


def charged(bench: Bench, key: str = "k") -> Payment:
    return bench.bot.charge("ana", "50.00", "USD", description="x", idempotency_key=key, provider="scripted")


@pytest.fixture
def unknown(own: Bench, scripted: ScriptedProvider) -> Payment:
    """A charge whose outcome nobody will ever tell."""
    scripted.answers = [LOST]
    payment = charged(own)
    own.later(days=3)
    own.manager.reconcile()
    assert own.manager.get_payment(payment.id).status == "unknown"
    return payment


def resolved(bench: Bench, subject_id: str, outcome: str, **who: Any) -> Any:
    return bench.manager.resolve_payment(subject_id, outcome=outcome, evidence=TOLD, **(who or BOTH))  # type: ignore[arg-type]


@sqlite_only
def test_two_people_say_that_it_succeeded(own: Bench, unknown: Payment) -> None:
    answer = resolved(own, unknown.id, "succeeded", **BOTH, reference="txn-7")
    assert answer.status == "succeeded" and not answer.late
    assert own.holds(unknown.id) == ["captured"]
    (attempt,) = own.attempts(unknown.id)
    assert attempt.reference == "txn-7"
    assert own.actions(unknown.id)[-2:] == ["attempt.resolved", "payment.succeeded"]
    assert charged(own).replayed


def test_two_people_say_that_it_was_never_sent_and_the_same_key_pays(
    own: Bench, scripted: ScriptedProvider, unknown: Payment
) -> None:
    assert resolved(own, unknown.id, "not_sent").status == "not_sent"
    assert own.holds(unknown.id) == ["void"]
    again = charged(own)
    assert (again.id, again.status) == (unknown.id, "succeeded")
    assert [attempt.outcome for attempt in own.attempts(unknown.id)] == ["not_sent", "succeeded"]


@sqlite_only
def test_the_evidence_is_kept_apart_and_the_audit_holds_its_hash_and_who_said_so(own: Bench, unknown: Payment) -> None:
    resolved(own, unknown.id, "succeeded")
    (attempt,) = own.attempts(unknown.id)
    assert own.engine.store.read(lambda tx: text_of(tx, attempt.id, "resolution")) == TOLD
    found = sa.text("SELECT body FROM audit_log WHERE action = 'attempt.resolved'")
    (body,) = own.engine.store.read(lambda tx: [row.body for row in tx.all(found)])
    data = json.loads(body)["data"]
    assert data["people"] == ["alice", "bob"] and data["as"] == "succeeded" and len(data["evidence"]) == 64
    assert TOLD not in body


def test_a_resolution_that_was_wrong_is_corrected_by_the_money_and_an_alarm(own: Bench, unknown: Payment) -> None:
    resolved(own, unknown.id, "not_sent")
    (attempt,) = own.attempts(unknown.id)
    settling = own.engine.payments.settling
    own.engine.store.write(lambda tx: settling.settle(tx, attempt.id, Succeeded("after all")))
    found = own.manager.get_payment(unknown.id)
    assert found.status == "succeeded" and found.late
    assert own.manager.health().late == 1
    assert any(unknown.id in warning and "late" in warning for warning in own.manager.doctor().warnings)
    outbox = table(OutboxRow)
    topics = [row.topic for row in own.rows(sa.select(outbox).where(outbox.c.object_id == unknown.id))]
    assert topics[-2:] == ["alarm.moved_late", "payment.succeeded"]
    assert own.actions(unknown.id)[-2:] == ["payment.moved_late", "payment.succeeded"]


@sqlite_only
def test_where_two_are_enrolled_one_is_not_enough(own: Bench, unknown: Payment) -> None:
    refused = {
        "one": ALICE,
        "twice the same": {**ALICE, "second": "alice", "second_secret": SECRET},
        "a wrong secret": {**BOTH, "secret": "wrong secret here"},
        "a wrong second secret": {**BOTH, "second_secret": "wrong secret here"},
        "nobody": {**BOTH, "second": "mallory"},
    }
    codes = {name: code_of(partial(resolved, own, unknown.id, "succeeded", **who)) for name, who in refused.items()}
    assert codes == dict.fromkeys(refused, "APPROVER_REFUSED")
    assert own.manager.get_payment(unknown.id).status == "unknown"


@sqlite_only
def test_where_one_is_enrolled_that_one_is_enough_and_the_doctor_tells(
    make_bench: MakeBench, scripted: ScriptedProvider
) -> None:
    bench = make_bench(providers=(scripted,))
    bench.enrol("alice")
    scripted.answers = [LOST]
    payment = bench.manager.charge("ana", "5.00", "USD", idempotency_key="k", provider="scripted")
    bench.later(days=1)
    assert resolved(bench, payment.id, "succeeded", **ALICE).status == "succeeded"
    assert bench.actions(payment.id)[-2:] == ["attempt.resolved_by_one", "payment.succeeded"]
    assert any(payment.id in warning and "One person alone" in warning for warning in bench.manager.doctor().warnings)


@sqlite_only
def test_where_nobody_is_enrolled_nobody_resolves(make_bench: MakeBench, scripted: ScriptedProvider) -> None:
    bench = make_bench(providers=(scripted,))
    scripted.answers = [LOST]
    payment = bench.manager.charge("ana", "5.00", "USD", idempotency_key="k", provider="scripted")
    bench.later(days=1)
    assert code_of(lambda: resolved(bench, payment.id, "succeeded", **ALICE)) == "APPROVER_REFUSED"


@sqlite_only
def test_within_the_lease_nobody_resolves(own: Bench, scripted: ScriptedProvider) -> None:
    scripted.answers = [LOST]
    payment = charged(own)
    assert code_of(lambda: resolved(own, payment.id, "not_sent")) == "CONFLICT"
    own.later(seconds=12)
    assert resolved(own, payment.id, "not_sent").status == "not_sent"


@sqlite_only
@pytest.mark.parametrize("outcome", [Succeeded("ok"), Pending("p")])
def test_only_what_is_unknown_is_resolved(own: Bench, scripted: ScriptedProvider, outcome: Outcome) -> None:
    scripted.answers = [outcome]
    payment = charged(own)
    own.later(days=1)
    assert code_of(lambda: resolved(own, payment.id, "not_sent")) == "CONFLICT"
    assert code_of(lambda: resolved(own, "pay_none", "not_sent")) == "NOT_FOUND"
    assert code_of(lambda: resolved(own, "ref_none", "not_sent")) == "NOT_FOUND"


@sqlite_only
def test_a_provider_that_knows_by_now_is_believed_first(
    own: Bench, scripted: ScriptedProvider, unknown: Payment
) -> None:
    scripted.findings = [Found(Succeeded("found"))]
    assert code_of(lambda: resolved(own, unknown.id, "not_sent")) == "CONFLICT"
    assert own.manager.get_payment(unknown.id).status == "succeeded"


@sqlite_only
def test_what_an_earlier_step_began_is_given_up_with_it(own: Bench, scripted: ScriptedProvider) -> None:
    def begun(steps: Steps) -> Outcome:
        steps.record("capture", {"op": "capture"}, reference="order-1")
        return LOST

    scripted.answers = [begun]
    payment = charged(own)
    own.later(days=1)
    assert resolved(own, payment.id, "not_sent").status == "not_sent"
    assert [attempt.outcome for attempt in own.attempts(payment.id)] == ["not_sent", "not_sent"]
    assert charged(own).status == "succeeded"


def test_a_refund_is_resolved(own: Bench, scripted: ScriptedProvider) -> None:
    payment = charged(own)
    for outcome, left in (("not_sent", "0.00"), ("succeeded", "20.00")):
        scripted.answers = [LOST]
        refund = own.bot.refund(payment.id, "20.00", reason="r", idempotency_key=f"r-{outcome}")
        own.later(days=1)
        assert resolved(own, refund.id, outcome).status == outcome
        assert str(own.manager.get_payment(payment.id).refunded) == left


@sqlite_only
def test_what_people_say_is_checked(own: Bench, unknown: Payment) -> None:
    wrong: list[dict[str, Any]] = [
        {"outcome": "declined"},
        {"evidence": " "},
        {"evidence": "x" * 501},
        {"reference": "a\x00b", "outcome": "succeeded"},
        {"reference": "ref", "outcome": "not_sent"},
        {"approver": ""},
    ]
    for arguments in wrong:
        given: dict[str, Any] = {"outcome": "succeeded", "evidence": TOLD, **BOTH, **arguments}
        assert code_of(partial(own.manager.resolve_payment, unknown.id, **given)) == "INVALID_ARGUMENT"
    assert own.manager.get_payment(unknown.id).status == "unknown"
