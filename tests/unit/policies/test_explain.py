"""The rules in plain sentences: every field of the language is said, and nothing that is not there."""

from __future__ import annotations

from agentpay_policies.explain import explain
from agentpay_policies.files import ready_file
from agentpay_policies.loader import load_policy
from unit.policies.full import POLICY
from unit.policies.helpers import GONE, basic


def test_every_field_is_said() -> None:
    assert explain(POLICY, "bot") == (
        "bot may use: charge, check_access, record_usage, refund, subscribe.",
        "It may do nothing before 2025-12-31T23:00:00Z.",
        "It may do nothing from 2027-01-01T00:00:00Z on.",
        "It may change something only on Mondays, Tuesdays, Wednesdays, Thursdays and Fridays"
        " from 08:00 to 18:00 (Europe/Rome).",
        "Providers: mock, stripe. Currencies: USD.",
        "It acts for: every customer, but never mallory and x-*.",
        "It may pay: paypal:ana@example.com, your own account (self), stripe:acct_1;"
        " for any other, people are asked; never stripe:acct_9.",
        "Charges: customers pay you and your wallet pays; each at least 0.50 USD and at most 50.00 USD.",
        "Charges: at most 200.00 USD in each calendar day (Europe/Rome), charges and subscriptions together (both).",
        "Charges: at most 150.00 USD within any 1d, collecting and sending together, for each category apart (day).",
        "A charge that looks like an earlier one waits for people.",
        "Subscriptions: the plans pro, team, up to 20.00 USD for one period, billed monthly,"
        " for no longer than 1 year.",
        "Of a subscription only the period that is paid first counts in limits.",
        "Usage: up to 100 units and 0.000000001 USD of cost at once.",
        "Usage: at most 1.00 USD in each calendar week (Europe/Rome) (cost).",
        "Refunds: any payment; a refund gives back what its charge used of the limits.",
        "Refunds: at most 5 operations in each calendar year (Europe/Rome) (refunds).",
        "With the others of the budget team: at most 98765432.10 USD in each calendar month (Asia/Tokyo) (month).",
        "With the others of the budget team: at most 5.00 USD within any 1h, recorded usage together,"
        " for each customer apart (usage).",
        "2 of alice, bob and carol must approve within 30m when it is more than 25.00 USD"
        " and it goes through stripe and it goes in the direction send (big).",
        "1 of alice, bob and carol must approve within 30m when the payee is new (new).",
        "1 of alice, bob and carol must approve within 2h"
        " when with what nobody approved within any 1d it comes to more than 60.00 USD (split).",
        "1 of alice, bob and carol must approve within 30m when it looks like an earlier charge (twice).",
        'The payee reads your text: "Order {payment} for {customer}".',
        "People are told when 80 % or 95 % of a limit is used.",
        "Some rules are only tried out: they are logged and decide nothing.",
    )


def test_who_is_unknown_and_who_falls_under_a_pattern() -> None:
    assert explain(POLICY, "nobody") == ("The policy full has no entry for nobody: everything is denied.",)
    first, *_ = explain(POLICY, "s-1")
    assert first == "s-1 falls under the pattern s-*; each agent you enrolled under it has limits of its own."


def test_what_is_missing_is_said() -> None:
    said = explain(basic(bot__charge=GONE, bot__customers=GONE, bot__payees=GONE), "bot")
    assert "It is offered charge, and every charge is denied: there is no section for it." in said
    assert "It acts for: none." in said
    assert "It may pay: none; every other is denied." in said
    assert "Nobody is asked: what is allowed happens at once." in said
    assert "A charge that looks like one of the last 5m is stopped, unless it is named as another one." in said


def test_the_starter_reads_like_what_it_is() -> None:
    said = explain(load_policy(ready_file("starter")), "support-bot")
    assert "owner must approve within 1d when it is more than 25.00 USD (big)." in said
    assert all(sentence.endswith(".") for sentence in said)
