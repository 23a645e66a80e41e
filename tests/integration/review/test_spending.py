"""Counters say what the holds say, whatever becomes of the policy meanwhile; no text stops a settlement."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest
import sqlalchemy as sa

from agentpay.principal import OPERATOR
from agentpay.providers.base import Found
from agentpay.providers.outcomes import Declined, Outcome, RequiresAction, Unknown
from agentpay.spending import policies
from agentpay_policies.loader import load_mapping
from support.bench import Bench, capped, code_of, policy
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider

CAP = capped("30.00 USD", per="agent")


def glob(**more: Any) -> Any:
    made = policy({"worker-*": CAP, **more})
    del made["agents"]["bot"]
    return made


def pay(bench: Bench, agent: str, amount: str, key: str) -> str:
    handle = bench.manager.for_agent(agent)
    return handle.charge("ana", amount, "USD", description="x", idempotency_key=key).id


def decline_what_waits(bench: Bench) -> None:
    (charge,) = [one for one in bench.mock.charges() if one.status == "pending"]
    bench.mock.complete(charge.id, "declined")


def test_an_agent_that_gets_an_entry_of_its_own_takes_nothing_back_from_the_pattern(make_bench: MakeBench) -> None:
    """worker-1 leaves `worker-*`; when its old payment ends, the limit of the others must not be freed."""
    bench = make_bench(policy=glob())
    waiting = pay(bench, "worker-1", "13.10", "1")
    pay(bench, "worker-3", "16.00", "2")
    bench.manager.apply_policy(glob(**{"worker-1": CAP}))
    decline_what_waits(bench)
    bench.manager.verify_payment(waiting)
    refused = code_of(lambda: pay(bench, "worker-3", "20.00", "3"))
    assert refused == "POLICY_DENIED", "worker-* has 30.00 a day, and 36.00 were spent"


def test_a_settlement_survives_a_policy_that_takes_an_agent_out_of_its_pattern(make_bench: MakeBench) -> None:
    bench = make_bench(policy=glob())
    waiting = pay(bench, "worker-1", "13.10", "1")
    pay(bench, "worker-2", "2.00", "2")
    bench.manager.apply_policy(glob(**{"worker-1": CAP}))
    decline_what_waits(bench)
    assert bench.manager.verify_payment(waiting).status == "declined"


def test_a_settlement_beside_a_new_policy_is_counted_by_both(make_bench: MakeBench) -> None:
    bench = make_bench()
    waiting = bench.bot.charge("ana", "13.10", "USD", description="x", idempotency_key="1")
    decline_what_waits(bench)
    changed = load_mapping(policy({"bot": capped("99.00 USD")}))
    settling = threading.Thread(target=bench.manager.verify_payment, args=(waiting.id,), daemon=True)

    def apply(tx: Any) -> None:
        policies.apply(tx, changed, OPERATOR)
        if not settling.is_alive() and settling.ident is None:
            settling.start()
            time.sleep(0.5)

    bench.engine.store.write(apply)
    settling.join(30)
    assert bench.manager.get_payment(waiting.id).status == "declined"
    assert bench.bot.charge("ana", "99.00", "USD", description="x", idempotency_key="2").status == "succeeded"


HOSTILE = ["with \x00 nul", "lone \ud800 surrogate"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", ["declined", "action", "unknown"])
def test_no_text_of_a_provider_stops_a_settlement(make_bench: MakeBench, text: str, kind: str) -> None:
    answers: dict[str, Outcome] = {
        "declined": Declined("code", text),
        "action": RequiresAction("ref", url="https://x.example", instructions=text),
        "unknown": Unknown(text),
    }
    scripted = ScriptedProvider(answers=[answers[kind]])
    bench = make_bench(providers=(scripted,))
    code_of(lambda: bench.manager.charge("ana", "5.00", "USD", idempotency_key="k", provider="scripted"))
    expected = {"declined": "declined", "action": "requires_action", "unknown": "unknown"}
    assert bench.manager.list_payments("ana")[0].status == expected[kind]


def test_one_payment_that_cannot_be_settled_stops_no_other_and_no_start(make_bench: MakeBench) -> None:
    """Whatever is wrong with one, a start opens the engine and looks up the rest."""
    scripted = ScriptedProvider(answers=[Unknown("timed out")])
    bench = make_bench(providers=(scripted,))
    bench.manager.charge("ana", "5.00", "USD", idempotency_key="1", provider="scripted")
    bench.later(seconds=1)
    second = bench.manager.charge("ben", "13.22", "USD", idempotency_key="2")  # its answer was lost
    bench.later(days=1)
    scripted.findings = [Found(cast(Outcome, object()))]  # stands for anything that makes one settlement fail
    try:
        bench.restarted()
    except Exception as exc:
        pytest.fail(f"the engine does not start: {type(exc).__name__}")
    assert bench.manager.get_payment(second.id).status == "succeeded"


def test_what_a_provider_answers_that_is_no_outcome_is_unknown(make_bench: MakeBench) -> None:
    bench = make_bench(providers=(ScriptedProvider(answers=[lambda _: cast(Outcome, None)]),))
    payment = bench.manager.charge("ana", "5.00", "USD", idempotency_key="1", provider="scripted")
    assert payment.status == "unknown"


def test_append_only_rows_name_no_payee_by_an_e_mail_address(make_bench: MakeBench) -> None:
    section = {
        "directions": ["send"],
        "limits": [{"id": "each", "amount": "50.00 USD", "window": {"rolling": "24h"}, "per": "payee"}],
    }
    bench = make_bench(policy=policy({"bot": {"charge": section, "payees": {"allow": ["paypal:ana@example.com"]}}}))
    bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="k", payee="paypal:ana@example.com")
    rows = bench.rows(sa.text("SELECT checks FROM decisions"))  # type: ignore[arg-type]
    assert not [row.checks for row in rows if "ana@example.com" in row.checks]


def test_no_repr_shows_the_installations_secret(bench: Bench) -> None:
    secret = bench.engine.payments.opening.attempts.secret
    assert secret not in repr(bench.engine)
