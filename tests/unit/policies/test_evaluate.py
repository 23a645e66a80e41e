"""The decision: one test a code, the order of the steps, totality, and that no allow list leaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpay_policies.codes import VIOLATIONS, violation
from agentpay_policies.decisions import Decision, Halt, Request, State, Sum
from agentpay_policies.evaluate import MOST_PENDING, counted, evaluate, readings
from agentpay_policies.money import Money, Price
from agentpay_policies.names import ALWAYS_ALLOWED, TOOL_NAMES
from agentpay_policies.policy import Policy
from unit.policies.helpers import GONE, NOW, Book, basic, charge, codes, decide, refund, subscribe, usage

RULE = {"id": "big", "when": {"amount_over": "25.00 USD"}, "approvers": "finance", "expires": "30m"}
COUNT = {"id": "few", "count": 1, "window": {"rolling": "1h"}}
CAP = {"id": "cap", "amount": "15.00 USD", "window": {"rolling": "1h"}}
POT = {"pot": {"limits": [CAP]}}


@dataclass(frozen=True)
class Case:
    """A policy, a request, and how the answer must be."""

    policy: Policy | None
    request: Request
    before: tuple[Request, ...] = ()
    halts: tuple[Halt, ...] = ()
    pending: int = 0
    look_alike: str | None = None

    def decide(self) -> Decision:
        book = Book()
        for request in self.before:
            assert self.policy is not None
            book.hold(self.policy, request)
        return decide(
            self.policy, self.request, book=book, halts=self.halts, pending=self.pending, look_alike=self.look_alike
        )


ANY = basic()
HOURS = [{"from": "08:00", "to": "12:30"}]
CATEGORY = {"bot__categories": {"deny": ["own"]}, "categories": {"own": ["self"]}}
DENIED: dict[str, list[Case]] = {
    "HALTED": [
        Case(ANY, charge(), halts=(Halt("all", "fire"),)),
        Case(ANY, charge(), halts=(Halt("agent:bot", "odd"),)),
        Case(ANY, Request("cancel_subscription", "bot", customer="alice"), halts=(Halt("all", "fire"),)),
        Case(None, charge(), halts=(Halt("all", "fire"),)),
    ],
    "NO_POLICY": [Case(None, charge()), Case(None, Request("check_access", "bot"))],
    "AGENT_UNKNOWN": [Case(ANY, charge(agent="bo")), Case(ANY, charge(agent="Bot")), Case(ANY, charge(agent="bot "))],
    "AGENT_NOT_YET_ACTIVE": [
        Case(basic(bot__not_before="2026-03-10T12:30:46Z"), charge()),
        Case(basic(bot__not_before="2026-03-10T12:30:46Z"), Request("check_access", "bot")),
    ],
    "AGENT_EXPIRED": [
        Case(basic(bot__expires_at="2026-03-10T12:30:45Z"), charge()),
        Case(basic(bot__expires_at="2026-03-10T13:30:45+01:00"), charge()),
        Case(
            basic(bot__expires_at="2026-03-10T12:30:45Z", bot__tools=["check_access"]), Request("check_access", "bot")
        ),
    ],
    "OUTSIDE_HOURS": [
        Case(basic(bot__time_windows=HOURS), charge()),
        Case(basic(bot__time_windows=HOURS), usage()),
        Case(basic(bot__time_windows=HOURS), Request("cancel_subscription", "bot", customer="alice")),
    ],
    "CATEGORY_NOT_ALLOWED": [
        Case(basic(**CATEGORY), charge()),
        Case(basic(**CATEGORY), subscribe()),
        Case(basic(bot__categories={"allow": []}), charge()),
    ],
    "PERIOD_NOT_ALLOWED": [
        Case(basic(bot__subscribe__periods=["monthly"]), subscribe(period="yearly")),
        Case(basic(bot__subscribe__periods=["monthly"]), subscribe()),
    ],
    "TERM_TOO_LONG": [
        Case(basic(bot__subscribe__max_term="11 months"), subscribe(period="monthly", term=12)),
        Case(basic(bot__subscribe__max_term="100 years"), subscribe()),
    ],
    "DUPLICATE_SUSPECTED": [Case(ANY, charge(), look_alike="pay_1")],
    "TOOL_NOT_ALLOWED": [
        Case(basic(bot__tools=["refund"]), charge()),
        Case(basic(bot__tools=[]), Request("check_access", "bot")),
        Case(basic(bot__tools=[]), Request("list_plans", "bot")),
        Case(basic(bot__tools=["charge"]), Request("cancel_subscription", "bot", customer="alice")),
    ],
    "OPERATION_NOT_ALLOWED": [
        Case(basic(bot__charge=GONE), charge()),
        Case(basic(bot__subscribe=GONE), subscribe()),
        Case(basic(bot__record_usage=GONE), usage()),
        Case(basic(bot__refund=GONE), refund()),
    ],
    "PROVIDER_NOT_ALLOWED": [
        Case(ANY, charge(provider="stripe")),
        Case(ANY, charge(provider=None)),
        Case(ANY, refund(provider="stripe")),
        Case(ANY, subscribe(provider="stripe")),
        Case(basic(bot__providers=GONE), charge()),
    ],
    "CURRENCY_NOT_ALLOWED": [
        Case(ANY, charge("1", "EUR")),
        Case(ANY, refund(money=Money("1", "EUR"))),
        Case(basic(bot__currencies=GONE), charge()),
        Case(ANY, usage(cost=Price("1", "EUR"))),
        Case(
            basic(
                bot__currencies={"allow": ["USD", "EUR"]},
                bot__charge=GONE,
                bot__subscribe=GONE,
                bot__record_usage={"max_cost": "1 USD"},
            ),
            usage(cost=Price("0.1", "EUR")),
        ),
    ],
    "CUSTOMER_NOT_ALLOWED": [
        Case(basic(bot__customers={"allow": ["*"], "deny": ["al*"]}), charge()),
        Case(basic(bot__customers={"allow": ["bob"]}), charge()),
        Case(basic(bot__customers={"allow": ["ali", "Alice", "alicex", "*bob"]}), charge()),
        Case(basic(bot__customers=GONE), usage()),
        Case(basic(bot__customers=GONE), Request("cancel_subscription", "bot", customer="alice")),
        Case(ANY, charge(customer=None)),
    ],
    "PAYEE_NOT_ALLOWED": [
        Case(basic(bot__payees={"allow": ["self"], "deny": ["self"]}), charge()),
        Case(ANY, charge(payee="stripe:acct_1")),
        Case(basic(bot__payees=GONE), charge()),
        Case(basic(bot__payees=GONE), subscribe()),
    ],
    "DIRECTION_NOT_ALLOWED": [
        Case(basic(bot__payees={"allow": ["paypal:ana@example.com"]}), charge(payee="paypal:ana@example.com")),
        Case(ANY, subscribe(direction="send")),
        Case(basic(bot__charge__directions=["send"]), charge()),
    ],
    "PLAN_NOT_ALLOWED": [
        Case(basic(bot__subscribe__plans=["basic"]), subscribe("pro")),
        Case(basic(bot__subscribe__plans=["basic"]), subscribe(plan=cast("str", None))),
    ],
    "NOT_OWN_PAYMENT": [Case(ANY, refund(own_charge=False))],
    "BELOW_MINIMUM": [
        Case(basic(bot__refund__per_transaction__min="5.00 USD"), refund("4.99")),
        Case(basic(bot__charge__per_transaction__min="5.00 USD"), charge("4.99")),
    ],
    "ABOVE_MAXIMUM": [
        Case(ANY, charge("1000.01")),
        Case(ANY, subscribe("pro", "1000.01")),
        Case(basic(bot__refund__per_transaction__max="5.00 USD"), refund("5.01")),
    ],
    "LIMIT_EXCEEDED": [
        Case(basic(bot__charge__limits=[CAP]), charge("5.01"), before=(charge("10.00"),)),
        Case(basic(bot__charge__limits=[CAP]), charge("15.01")),
        Case(basic(bot__refund__limits=[CAP]), refund("5.01"), before=(refund("10.00"),)),
    ],
    "COUNT_EXCEEDED": [Case(basic(bot__charge__limits=[COUNT]), charge(), before=(charge(),))],
    "BUDGET_EXHAUSTED": [
        Case(basic(budgets=POT, bot__budget="pot"), charge("5.01"), before=(charge("10.00"),)),
        Case(basic(budgets=POT, bot__budget="pot"), subscribe("pro", "5.01"), before=(charge("10.00"),)),
        Case(basic(budgets={"pot": {"limits": [COUNT]}}, bot__budget="pot"), charge(), before=(subscribe(),)),
    ],
    "QUANTITY_TOO_LARGE": [Case(basic(bot__record_usage={"max_quantity": 10}), usage(11))],
    "COST_TOO_HIGH": [
        Case(basic(bot__record_usage={"max_cost": "0.01 USD"}), usage(cost=Price("0.010000001", "USD"))),
    ],
    "APPROVALS_PENDING": [Case(basic(bot__approvals=[RULE]), charge("25.01"), pending=MOST_PENDING)],
    "EVALUATION_FAILED": [
        Case(ANY, charge(operation="refund")),
        Case(ANY, charge(operation=None)),
        Case(ANY, charge(money=None)),
        Case(ANY, charge(direction="send")),
        Case(ANY, usage(-1)),
        Case(ANY, subscribe(term=0)),
        Case(basic(bot__charge__limits=[CAP | {"per": "customer"}]), charge(customer_ref=None)),
    ],
}

BY_THE_ENGINE = {"APPROVAL_DENIED", "APPROVAL_EXPIRED", "APPROVAL_STALE"}


def test_every_code_is_tested() -> None:
    assert set(DENIED) | BY_THE_ENGINE == set(VIOLATIONS)


@pytest.mark.parametrize(
    ("code", "case"),
    [pytest.param(code, case, id=f"{code}-{i}") for code, cases in DENIED.items() for i, case in enumerate(cases)],
)
def test_it_is_denied_with_its_code(code: str, case: Case) -> None:
    decision = case.decide()
    assert decision.outcome == "deny"
    assert decision.needs == ()
    assert code in codes(decision)
    found = next(violation for violation in decision.violations if violation.code == code)
    assert found.message and found.next_step == VIOLATIONS[code].next_step


@pytest.mark.parametrize(
    "case",
    [
        Case(ANY, charge("1000.00")),
        Case(ANY, subscribe("pro", "1000.00")),
        Case(ANY, subscribe("free", money=None, provider=None)),
        Case(ANY, usage(10**9)),
        Case(ANY, refund("5000.00")),
        Case(ANY, Request("check_access", "bot")),
        Case(ANY, Request("check_access", "bot"), halts=(Halt("all", "reading harms nobody"),)),
        Case(ANY, charge(), halts=(Halt("agent:other", "not us"),)),
        Case(ANY, Request("cancel_subscription", "bot", customer="alice")),
        Case(basic(bot__charge__per_transaction__min="5.00 USD"), charge("5.00")),
        Case(basic(bot__charge__limits=[CAP]), charge("5.00"), before=(charge("10.00"),)),
        Case(basic(bot__charge__limits=[COUNT]), subscribe(), before=(charge(),)),
        Case(basic(bot__refund__limits=[COUNT]), charge(), before=(refund(),)),
        Case(basic(budgets=POT, bot__budget="pot"), refund("500.00"), before=(charge("10.00"),)),
        Case(
            basic(bot__record_usage={"max_quantity": 10, "max_cost": "0.01 USD"}), usage(10, cost=Price("0.01", "USD"))
        ),
        Case(basic(bot__refund__allow="any"), refund(own_charge=False)),
        Case(basic(bot__subscribe__plans=["pro"]), subscribe("pro")),
        Case(basic(bot__customers={"allow": ["al*e"]}), charge()),
        Case(basic(bot__approvals=[RULE]), charge("25.00"), pending=MOST_PENDING),
        Case(
            basic(bot__payees={"allow": ["paypal:Ana@example.com"]}, bot__charge__directions=["send"]),
            charge(payee="paypal:ana@EXAMPLE.com."),
        ),
    ],
)
def test_it_is_allowed(case: Case) -> None:
    assert case.decide().outcome == "allow", case.decide()


@pytest.mark.parametrize("tool", sorted(ALWAYS_ALLOWED))
@pytest.mark.parametrize("policy", [None, ANY, basic(bot__tools=[])])
def test_ones_own_payments_may_always_be_read(tool: Any, policy: Policy | None) -> None:
    assert decide(policy, Request(tool, "bot"), halts=(Halt("all", "x"),)).outcome == "allow"


def test_every_violation_is_collected_in_the_order_of_the_steps() -> None:
    policy = basic(bot__charge__limits=[CAP, COUNT], bot__customers={"allow": ["bob"]})
    book = Book().hold(policy, charge("15.00"))
    decision = decide(policy, charge("2000.00", provider="x", payee="stripe:acct_1"), book=book)
    assert codes(decision) == [
        "PROVIDER_NOT_ALLOWED",
        "CUSTOMER_NOT_ALLOWED",
        "PAYEE_NOT_ALLOWED",
        "ABOVE_MAXIMUM",
        "LIMIT_EXCEEDED",
        "COUNT_EXCEEDED",
    ]


def test_no_policy_says_how_to_write_one() -> None:
    message = decide(None, charge()).violations[0].message
    assert "agentpay init" in message
    assert "agentpay policy apply FILE" in message


def test_a_halt_goes_over_everything() -> None:
    assert codes(decide(None, charge(agent="nobody"), halts=(Halt("all", "x"),))) == ["HALTED"]


def test_a_pattern_is_halted_by_its_own_name_too() -> None:
    policy = basic(**{"agents__s-*": {"tools": ["charge"]}})
    assert codes(decide(policy, charge(agent="s-1"), halts=(Halt("agent:s-*", "x"),))) == ["HALTED"]
    assert codes(decide(policy, charge(agent="s-1"), halts=(Halt("agent:s-1", "x"),))) == ["HALTED"]
    assert "HALTED" not in codes(decide(policy, charge(agent="s-1"), halts=(Halt("agent:s-2", "x"),)))


# ---- approval


def test_approval_is_asked_above_and_not_at_the_threshold() -> None:
    policy = basic(bot__approvals=[RULE])
    assert decide(policy, charge("25.00")).outcome == "allow"
    for request in (charge("25.01"), subscribe("pro", "25.01"), refund("25.01")):
        assert [need.rule for need in decide(policy, request).needs] == ["big"]


def test_an_approval_lifts_the_approval_step_only() -> None:
    policy = basic(bot__approvals=[RULE], bot__charge__limits=[CAP])
    decision = decide(policy, charge("30.00"), approved=frozenset({"big"}))
    assert codes(decision) == ["LIMIT_EXCEEDED"]
    assert decide(basic(bot__approvals=[RULE]), charge("30.00"), approved=frozenset({"big"})).outcome == "allow"


def test_every_rule_that_fires_must_be_approved() -> None:
    second = RULE | {"id": "huge", "when": {"amount_over": "100.00 USD"}, "quorum": 2}
    policy = basic(bot__approvals=[RULE, second])
    decision = decide(policy, charge("200.00"), approved=frozenset({"big", "other"}))
    assert decision.outcome == "approve"
    assert [(need.rule, need.quorum) for need in decision.needs] == [("huge", 2)]


def test_all_conditions_of_a_rule_must_hold() -> None:
    both = RULE | {"id": "both", "when": {"amount_over": "25.00 USD", "payee": "new"}}
    new = RULE | {"id": "new", "when": {"payee": "new"}}
    policy = basic(bot__approvals=[both, new], bot__payees={"allow": ["self"], "new": "approve"})
    stranger = "stripe:acct_1"

    def rules(request: Request) -> list[str]:
        return [need.rule for need in decide(policy, request).needs]

    assert rules(charge("25.00", payee=stranger)) == ["new"]
    assert rules(charge("25.01", payee=stranger)) == ["both", "new"]
    assert rules(charge("25.01")) == []
    assert rules(refund("25.01", payee=stranger)) == [], "a refund goes back where the money came from"


def test_at_most_five_wait_and_an_approved_one_is_not_a_new_one() -> None:
    policy = basic(bot__approvals=[RULE])
    assert decide(policy, charge("30.00"), pending=MOST_PENDING - 1).outcome == "approve"
    assert decide(policy, charge("30.00"), pending=MOST_PENDING, approved=frozenset({"big"})).outcome == "allow"


def test_a_new_payee_that_no_rule_would_ask_for_is_denied_whatever_loaded_the_policy() -> None:
    policy = basic(bot__approvals=[RULE])
    entry = replace(policy.agents[0], new_payees="approve")
    decision = decide(replace(policy, agents=(entry,)), charge(payee="stripe:acct_1"))
    assert codes(decision) == ["PAYEE_NOT_ALLOWED"]


def test_being_approved_never_makes_a_payee_known() -> None:
    new = RULE | {"id": "new", "when": {"payee": "new"}}
    policy = basic(bot__approvals=[new], bot__payees={"allow": ["self"], "new": "approve"})
    decision = decide(policy, charge(payee="stripe:acct_1"), approved=frozenset({"new"}))
    assert (decision.outcome, decision.payee_is_new) == ("allow", True)


# ---- totality


def test_a_missing_sum_is_a_denial() -> None:
    policy = basic(bot__charge__limits=[CAP])
    decision = evaluate(charge(), policy, State(), NOW)
    assert codes(decision) == ["EVALUATION_FAILED"]
    assert decision.violations[0].rule == "agents.bot.charge.limits.cap"


@pytest.mark.parametrize("found", [Sum(-1), Sum(5, 6), Sum(0, -1)])
def test_a_sum_that_cannot_be_is_a_denial(found: Sum) -> None:
    policy = basic(bot__charge__limits=[CAP])
    (reading,) = readings(policy, charge(), NOW)
    assert codes(evaluate(charge(), policy, State({reading: found}), NOW)) == ["EVALUATION_FAILED"]


class _Broken(Mapping[Any, Any]):
    def __getitem__(self, key: Any) -> Any:
        raise RuntimeError("down")

    def __iter__(self) -> Any:
        raise RuntimeError("down")

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("request_", "state", "now"),
    [
        (charge(), State(_Broken()), NOW),
        (charge(), State(), NOW.replace(tzinfo=None)),
        (charge(tool="steal"), State(), NOW),
        (charge(agent=None), State(), NOW),
        (charge(customer=5), State(), NOW),
        (charge(money="10 USD"), State(), NOW),
        (cast("Request", None), State(), NOW),
        (charge(), cast("State", None), NOW),
        (charge(), State(), cast("datetime", None)),
        (charge(), State(), datetime.min.replace(tzinfo=NOW.tzinfo)),
        (charge(), State(), datetime.max.replace(tzinfo=NOW.tzinfo)),
    ],
)
def test_whatever_goes_wrong_is_a_denial(request_: Request, state: State, now: datetime) -> None:
    window: dict[str, object] = {"calendar": "year"}
    policy = basic(bot__charge__limits=[CAP, COUNT | {"window": window}])
    assert evaluate(request_, policy, state, now).outcome == "deny"


def test_only_registered_codes_can_be_made() -> None:
    with pytest.raises(KeyError):
        violation("MADE_UP")


def test_the_engine_adds_its_own_codes_from_the_same_registry() -> None:
    for code in BY_THE_ENGINE:
        assert violation(code, rule="agents.bot.approvals.big").next_step == VIOLATIONS[code].next_step


# ---- nothing leaks

SECRETS = (
    "hidden-customer",
    "acct_hiddenpayee",
    "hidden-provider",
    "EUR",
    "hidden-plan",
    "hidden-agent",
    "4321",
    "hidden-member",
)


@settings(max_examples=150, deadline=None)
@given(
    tool=st.sampled_from(TOOL_NAMES),
    amount=st.sampled_from(["0.10", "20.00", "5000.00"]),
    currency=st.sampled_from(["USD", "JPY"]),
    payee=st.sampled_from(["self", "stripe:acct_1", "paypal:a@b.co"]),
    customer=st.sampled_from(["alice", None]),
    used=st.integers(0, 500_000),
)
def test_no_violation_names_an_allowed_entry_or_a_budget_figure(
    tool: Any, amount: str, currency: str, payee: str, customer: str | None, used: int
) -> None:
    policy = basic(
        bot__tools=["charge", "subscribe", "refund", "record_usage"],
        bot__customers={"allow": ["hidden-customer"]},
        bot__payees={"allow": ["stripe:acct_hiddenpayee"]},
        bot__providers={"allow": ["hidden-provider"]},
        bot__currencies={"allow": ["USD"]},
        bot__subscribe__plans=["hidden-plan"],
        bot__budget="pot",
        budgets={"pot": {"limits": [CAP | {"amount": "43.21 USD"}, COUNT | {"count": 4321}]}},
        approvers={"finance": {"members": ["hidden-member"]}},
        **{"agents__hidden-agent": {}},
    )
    operation = tool if tool in ("charge", "subscribe", "refund", "record_usage") else None
    request = charge(amount, "USD", tool=tool, operation=operation, payee=payee, customer=customer)
    if currency == "JPY":
        request = replace(request, money=Money("100", "JPY"))
    sums = {reading: Sum(used) for reading in readings(policy, request, NOW)}
    decision = evaluate(request, policy, State(sums), NOW)
    text = repr(decision.violations).replace(request.agent, "")
    assert not [secret for secret in SECRETS if secret in text]
    assert "43.21" not in text
    for found in decision.violations:
        if found.code == "BUDGET_EXHAUSTED":
            assert (found.limit, found.used, found.held, found.remaining) == (None, None, None, None)


def test_counting_and_reading_are_total_for_the_unknown() -> None:
    assert counted(None, charge()) == () == readings(None, charge(), NOW)
    assert counted(ANY, charge(agent="nobody")) == () == readings(ANY, charge(agent="nobody"), NOW)
    assert readings(ANY, Request("check_access", "bot"), NOW + timedelta(days=1)) == ()
