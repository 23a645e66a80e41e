"""What a new policy loosens: each field loosened is reported, the same field tightened is not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from agentpay_policies.compare import differences, loosenings
from agentpay_policies.files import ready_file
from agentpay_policies.loader import load_mapping, load_policy
from unit.policies.helpers import BASIC, EXAMPLE, GONE, basic

LIMIT: dict[str, Any] = {"id": "cap", "amount": "15.00 USD", "window": {"rolling": "24h"}}
RULE: dict[str, Any] = {
    "id": "big",
    "when": {"amount_over": "25.00 USD"},
    "approvers": "finance",
    "quorum": 1,
    "expires": "1h",
}
NEW = RULE | {"when": {"payee": "new"}}
Changes = dict[str, Any]


def limits(**more: Any) -> Changes:
    return {"bot__charge__limits": [LIMIT | more]}


def pot(**more: Any) -> Changes:
    return {"budgets": {"pot": {"limits": [LIMIT | more]}}, "bot__budget": "pot"}


def rule(**more: Any) -> Changes:
    return {"bot__approvals": [RULE | more]}


def hours(**more: Any) -> Changes:
    window = {"days": ["mon", "tue"], "from": "08:00", "to": "18:00"}
    return {"bot__time_windows": [window | more]}


def split(over: str, window: str = "1h") -> Changes:
    return rule(when={"unapproved_total_over": over, "window": {"rolling": window}})


EARLY, LATE = "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"
KINDS: Changes = {"categories": {"a": ["stripe:acct_1"], "b": []}}
BOTH = ["collect", "send"]

STRICTER_THAN: list[tuple[Changes, Changes, str]] = [
    # stricter, looser, what is said of going from the one to the other
    ({"defaults": {"duplicate_window": "5m"}}, {"defaults": {"duplicate_window": "4m"}}, "duplicate window is shorter"),
    ({"bot__tools": []}, {"bot__tools": ["charge"]}, "may use the tool charge"),
    ({"bot__providers": GONE}, {}, "may use the provider mock"),
    ({"bot__currencies": GONE}, {}, "may use the currency USD"),
    ({"bot__customers": {"allow": ["a*"]}}, {"bot__customers": {"allow": ["a*", "b"]}}, "for the customer b"),
    ({"bot__customers": {"allow": ["ab*"]}}, {"bot__customers": {"allow": ["a*"]}}, "for the customer a*"),
    (
        {"bot__payees": {"allow": ["self"]}},
        {"bot__payees": {"allow": ["self", "stripe:acct_1"]}},
        "may pay stripe:acct_1",
    ),
    (
        {"bot__approvals": [NEW]},
        {"bot__approvals": [NEW], "bot__payees": {"allow": ["self"], "new": "approve"}},
        "may pay new payees",
    ),
    ({"bot__charge": GONE}, {}, "may charge."),
    ({"bot__subscribe": GONE}, {}, "may subscribe customers."),
    ({"bot__record_usage": GONE}, {}, "may record usage."),
    ({"bot__refund": GONE}, {}, "may refund."),
    ({}, {"bot__charge__directions": BOTH}, "in the direction send"),
    (
        {},
        {"bot__charge__per_transaction__max": "1000.01 USD"},
        "most in one charge is 1000.01 USD instead of 1000.00 USD",
    ),
    (limits() | {"bot__charge__per_transaction__max": "10 USD"}, {"bot__charge": {"limits": [LIMIT]}}, "is unlimited"),
    (
        {"bot__charge__per_transaction__min": "2 USD"},
        {"bot__charge__per_transaction__min": "1 USD"},
        "least in one charge",
    ),
    ({"bot__charge__per_transaction__min": "2 USD"}, {}, "least in one charge is gone"),
    (limits(), {}, "the limit cap is gone"),
    (limits(), limits(amount="15.01 USD"), "the limit cap is looser"),
    (limits(), limits(window={"rolling": "23h"}), "the limit cap is looser"),
    (limits(window={"calendar": "month"}), limits(window={"calendar": "day"}), "the limit cap is looser"),
    (limits(window="lifetime"), limits(window={"calendar": "year"}), "the limit cap is looser"),
    (limits(directions=BOTH), limits(), "the limit cap is looser"),
    (
        {"bot__charge__limits": [{"id": "n", "count": 5, "window": {"rolling": "1h"}}]},
        {"bot__charge__limits": [{"id": "n", "count": 6, "window": {"rolling": "1h"}}]},
        "the limit n is looser",
    ),
    ({"bot__refund__limits": [LIMIT]}, {}, "refund: the limit cap is gone"),
    (pot(), {"budgets": pot()["budgets"]}, "no longer under the budget pot"),
    (pot(), pot(amount="16 USD"), "Budget pot: the limit cap is looser"),
    ({"bot__subscribe__plans": ["a"]}, {"bot__subscribe__plans": ["a", "b"]}, "the plan b"),
    ({"bot__subscribe__plans": ["a"]}, {"bot__subscribe__plans": ["*"]}, "every plan"),
    ({}, {"bot__subscribe__max_per_period": GONE}, "most in one period of a plan is unlimited"),
    ({"bot__record_usage__max_quantity": 5}, {"bot__record_usage__max_quantity": 6}, "6 instead of 5"),
    ({"bot__record_usage__max_quantity": 5}, {}, "unlimited instead of 5"),
    ({"bot__record_usage__max_cost": "1 USD"}, {"bot__record_usage__max_cost": "1.000000001 USD"}, "most cost"),
    ({"bot__record_usage__max_cost": "1 USD"}, {}, "most cost recorded at once is unlimited"),
    ({"bot__record_usage__max_cost": "1 USD"}, {"bot__record_usage__max_cost": ["1 USD", "1 EUR"]}, "costs in EUR"),
    ({}, {"bot__refund__allow": "any"}, "may refund what others charged"),
    (rule(), {}, "nobody is asked any more"),
    (rule(), rule(when={"amount_over": "25.01 USD"}), "asked above 25.01 USD instead of 25.00 USD"),
    (
        {"bot__approvals": [NEW]},
        {"bot__approvals": [NEW | {"when": {"payee": "new", "amount_over": "1 USD"}}]},
        "any amount",
    ),
    (rule(), rule(when={"payee": "new", "amount_over": "25.00 USD"}), "for new payees only"),
    (rule(quorum=2), rule(quorum=1), "1 must approve instead of 2"),
    (rule(), rule(expires="2h"), "good for 2h"),
    ({}, {"approvers__finance__members": ["alice", "bob", "eve"]}, "eve may approve"),
    ({"bot__not_before": EARLY}, {}, "from which it may act is not set instead of 2026-01-01T00:00:00Z"),
    ({"bot__not_before": LATE}, {"bot__not_before": EARLY}, "from which it may act is 2026"),
    ({"bot__expires_at": EARLY}, {}, "until which it may act is not set"),
    ({"bot__expires_at": EARLY}, {"bot__expires_at": LATE}, "until which it may act is 2027"),
    (hours(), {}, "may act at any hour"),
    (hours(), hours(to="18:01"), "may act mon, tue 08:00 to 18:01 (UTC)"),
    (hours(), hours(days=["sun", "mon", "tue"]), "may act mon, tue, sun"),
    (hours(), hours(**{"from": "07:59"}), "may act mon, tue 07:59"),
    ({"bot__categories": {"allow": ["a"]}, **KINDS}, KINDS, "may pay every category"),
    (
        {"bot__categories": {"allow": ["a"]}, **KINDS},
        {"bot__categories": {"allow": ["a", "b"]}, **KINDS},
        "may pay the category b",
    ),
    ({"bot__categories": {"deny": ["a"]}, **KINDS}, KINDS, "the category a is no longer denied"),
    ({"bot__customers__deny": ["x*"]}, {"bot__customers__deny": ["xy*"]}, "the customer x* is no longer denied"),
    ({"bot__payees__deny": ["stripe:acct_1"]}, {}, "the payee stripe:acct_1 is no longer denied"),
    ({}, {"bot__memo": {"free": {"max_chars": 5}}}, "memo that payees read is free, up to 5 instead of none"),
    ({"bot__notify": [0.8]}, {}, "nobody is told at 0.8"),
    ({}, {"bot__charge__duplicates": "warn"}, "the answer to a look-alike is warn instead of deny"),
    ({"bot__subscribe__periods": ["monthly"]}, {}, "how a plan may be billed is in any period instead of monthly"),
    (
        {"bot__subscribe__periods": ["monthly"]},
        {"bot__subscribe__periods": ["monthly", "yearly"]},
        "how a plan may be billed is monthly, yearly",
    ),
    ({"bot__subscribe__max_term": "1 year"}, {"bot__subscribe__max_term": "13 months"}, "longest term is 13 months"),
    ({"bot__subscribe__max_term": "1 year"}, {}, "longest term is unlimited"),
    ({}, {"bot__subscribe__count": "paid"}, "what a subscription counts is paid instead of committed"),
    ({"bot__record_usage__limits": [LIMIT]}, {}, "record_usage: the limit cap is gone"),
    ({"bot__refund__per_transaction__max": "5 USD"}, {}, "the most in one refund is unlimited"),
    ({"bot__refund__per_transaction__min": "5 USD"}, {}, "the least in one refund is gone"),
    ({}, {"bot__refund__restores_budget": True}, "gives its charge's budget back"),
    (limits(of=["charge", "subscribe"]), limits(), "the limit cap is looser"),
    (pot(), pot(of=["charge"]), "Budget pot: the limit cap is looser"),
    (limits(), limits(shadow=True), "the limit cap is gone"),
    (rule(), rule(shadow=True), "nobody is asked any more"),
    (
        rule(),
        rule(when={"amount_over": "25.00 USD", "provider": "x"}),
        "the provider that people are asked for is x instead of any",
    ),
    (rule(), rule(when={"amount_over": "25.00 USD", "direction": "send"}), "the direction that people are asked for"),
    (rule(), rule(when={"amount_over": "25.00 USD", "operation": "refund"}), "the operation that people"),
    (
        KINDS | rule(),
        KINDS | rule(when={"amount_over": "25.00 USD", "category": "a"}),
        "the category that people are asked for is a instead of any",
    ),
    (split("10 USD"), split("11 USD"), "of what nobody approved people are asked above 11.00 USD instead of 10.00 USD"),
    (split("10 USD", "2h"), split("10 USD", "1h"), "the window of what nobody approved is rolling 1h"),
    ({}, {"agents__new": {"tools": ["refund"]}}, "Agent new is new: it may use refund"),
    ({}, {"agents__bo*": {"tools": ["refund"]}}, "Agent bo* is new"),
]


@pytest.mark.parametrize(("strict", "loose", "said"), STRICTER_THAN)
def test_a_loosening_is_said(strict: Changes, loose: Changes, said: str) -> None:
    found = loosenings(basic(**strict), basic(**loose))
    assert any(said in sentence for sentence in found), found


@pytest.mark.parametrize(("strict", "loose", "said"), STRICTER_THAN)
def test_a_tightening_is_not(strict: Changes, loose: Changes, said: str) -> None:
    assert loosenings(basic(**loose), basic(**strict)) == ()


@pytest.mark.parametrize(("strict", "loose", "said"), STRICTER_THAN)
def test_the_difference_says_which_way_it_goes(strict: Changes, loose: Changes, said: str) -> None:
    one, other = basic(**strict), basic(**loose)
    assert {change.kind for change in differences(one, other)} == {"loosens"}
    back = differences(other, one)
    assert {change.kind for change in back} == {"tightens"} and len(back) == len(differences(one, other))
    assert all(change.sentence.endswith(".") for change in back)


def test_what_goes_both_ways_is_said_both_ways() -> None:
    changes = differences(basic(bot__tools=["charge"]), basic(bot__tools=["refund"]))
    assert [(change.kind, change.sentence) for change in changes] == [
        ("loosens", "Agent bot may use the tool refund."),
        ("tightens", "Agent bot may no longer use the tool charge."),
    ]
    assert differences(None, basic())[0].kind == "loosens"
    assert differences(basic(), basic()) == ()


def test_a_payee_of_another_category_may_loosen() -> None:
    denied = {"bot__categories": {"deny": ["a"]}}
    moved = {"categories": {"a": [], "b": ["stripe:acct_1"]}}
    said = loosenings(basic(**KINDS, **denied), basic(**moved, **denied))
    assert said == ("The category of stripe:acct_1 is b instead of a.",)
    assert loosenings(basic(**KINDS), basic(**moved)) == (), "no rule asks"


@pytest.mark.parametrize("text", [EXAMPLE, ready_file("starter")])
def test_the_same_policy_loosens_nothing(text: str) -> None:
    assert loosenings(load_policy(text), load_policy("# the same\n" + text)) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (limits(window={"rolling": "24h"}), limits(window={"calendar": "month"})),
        (limits(window={"calendar": "week"}), limits(window={"calendar": "month"})),
        (limits(window={"calendar": "day"}), limits(window={"calendar": "day", "tz": "Asia/Tokyo"})),
        (limits(per="customer"), limits(per="payee")),
        (hours(), hours(tz="Asia/Tokyo")),
        (hours(to="02:00"), hours(to="03:00")),
        ({"agents__s-*": {}}, {"agents__s-*": {"each": True}}),
        ({"agents__s-*": {"each": True}}, {"agents__s-*": {}}),
        ({"bot__memo": {"template": "a"}}, {"bot__memo": {"template": "b"}}),
        (split("10 USD"), rule(when={"unapproved_total_over": "10 USD", "window": {"calendar": "day"}})),
        (limits(), limits(directions=["send"])),
        (rule(), rule(approvers="ops") | {"approvers__ops": {"members": ["alice", "eve"]}}),
        (pot(per="agent"), pot()),
        (limits(), {"bot__charge__limits": [{"id": "cap", "count": 1, "window": {"rolling": "24h"}}]}),
    ],
)
def test_in_doubt_it_is_a_loosening(old: Changes, new: Changes) -> None:
    assert loosenings(basic(**old), basic(**new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (limits(), limits(id="renamed")),
        (limits(per="agent"), limits()),
        (limits(), limits(per="agent")),
        (limits(), {"bot__charge__limits": [LIMIT, LIMIT | {"id": "more", "amount": "1 USD"}]}),
        (rule(), rule(when={"amount_over": "24.99 USD"})),
        (rule(when={"payee": "new", "amount_over": "5 USD"}), rule(when={"payee": "new"})),
    ],
)
def test_what_is_plainly_as_strict_is_not_said(old: Changes, new: Changes) -> None:
    assert loosenings(basic(**old), basic(**new)) == ()


def test_everything_is_looser_than_no_policy() -> None:
    first, *agents = loosenings(None, basic())
    assert "There was no policy" in first
    assert agents == ["Agent bot may use cancel_subscription, charge, check_access, record_usage, refund, subscribe."]


def test_patterns_that_take_over_are_compared_with_what_stood_before() -> None:
    bot = BASIC["agents"]["bot"]

    def policy(**agents: Any) -> Any:
        return load_mapping({**yaml.safe_load(yaml.safe_dump(BASIC)), "agents": agents})

    wide, narrow = policy(**{"s-*": bot}), policy(**{"s-*": bot, "s-1": {**bot, "tools": []}})
    assert any("may use the tool charge" in said for said in loosenings(narrow, wide)), "s-1 falls under s-* again"
    assert loosenings(policy(**{"s-1": bot}), policy()) == ()
    carved = loosenings(wide, narrow)
    assert carved == ("Agent s-1 is counted apart from s-*, which stood for it before.",)
    assert any(
        "may use the tool" in said for said in loosenings(policy(**{"s-*": {}, "*-1": bot}), policy(**{"*-1": bot}))
    ), "s-1 stood under s-*, and now under *-1"
