"""What a new policy loosens: each field loosened is reported, the same field tightened is not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from agentpay_policies.compare import loosenings
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
