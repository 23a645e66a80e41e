"""One policy that uses every field of the language, real and shadow; tests hold the model, the texts and the schema
to it."""

from __future__ import annotations

from typing import Any

import yaml

from agentpay_policies.errors import PolicyError
from agentpay_policies.loader import load_mapping, load_policy
from agentpay_policies.policy import Policy

FULL = """\
version: 1
id: full
defaults: {decision: deny, timezone: Europe/Rome, duplicate_window: 10m}
lists:
  vendors: ["stripe:acct_1", "paypal:ana@example.com"]
categories:
  food: ["@vendors"]
  travel: ["stripe:acct_2"]
budgets:
  company: {limits: [{id: all, count: 9876543, window: lifetime, of: [charge, refund, record_usage], shadow: true}]}
  team:
    parent: company
    limits:
      - {id: month, amount: "98765432.10 USD", window: {calendar: month, tz: Asia/Tokyo}, per: agent}
      - {id: usage, amount: "5.00 USD", window: {rolling: 1h}, of: [record_usage], per: customer}
agents:
  "s-*":
    each: true
    tools: [check_access]
  bot:
    budget: team
    not_before: "2026-01-01T00:00:00+01:00"
    expires_at: "2027-01-01T00:00:00Z"
    time_windows:
      - {days: [mon, tue, wed, thu, fri], from: "08:00", to: "18:00"}
      - {from: "22:00", to: "02:00", tz: UTC, shadow: true}
    tools: [check_access, charge, subscribe, record_usage, refund]
    providers: {allow: [mock, stripe]}
    currencies: {allow: [USD]}
    customers: {allow: ["*"], deny: [mallory, "x-*"]}
    payees: {allow: [self, "@vendors"], deny: ["stripe:acct_9"], new: approve}
    categories: {deny: [travel], shadow: true}
    memo: {template: "Order {payment} for {customer}"}
    notify: [0.8, 0.95]
    charge:
      directions: [collect, send]
      per_transaction: {min: "0.50 USD", max: "50.00 USD"}
      duplicates: approve
      limits:
        - {id: day, amount: "150.00 USD", window: {rolling: 24h}, per: category, directions: [collect, send]}
        - {id: both, amount: "200.00 USD", window: {calendar: day}, of: [charge, subscribe]}
        - {id: try, count: 3, window: {rolling: 1h}, per: payee, shadow: true}
    subscribe: {plans: [pro, team], max_per_period: "20.00 USD", periods: [monthly], max_term: 1 year, count: paid}
    record_usage:
      max_quantity: 100
      max_cost: "0.000000001 USD"
      limits: [{id: cost, amount: "1.00 USD", window: {calendar: week}}]
    refund:
      allow: any
      per_transaction: {max: "40.00 USD", shadow: true}
      limits: [{id: refunds, count: 5, window: {calendar: year}}]
      restores_budget: true
    approvals:
      - {id: big, when: {amount_over: "25.00 USD", direction: send, provider: stripe}, approvers: finance, quorum: 2}
      - {id: split, when: {unapproved_total_over: "60.00 USD", window: {rolling: 24h}}, approvers: finance, expires: 2h}
      - {id: new, when: {payee: new}, approvers: finance}
      - {id: twice, when: {duplicate: suspected}, approvers: finance}
      - {id: kind, when: {category: [food], operation: charge}, approvers: finance, shadow: true}
approvers:
  finance: {members: [alice, bob, carol]}
"""

POLICY = load_policy(FULL)


def places() -> list[tuple[Any, ...]]:
    """The path of every key and every list item of the file, but of those that only say what is the default."""

    def below(node: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        return [place for key, child in inner for place in [(*path, key), *below(child, (*path, key))]]

    defaults = {"decision", "lists", "approvers", "quorum"}
    return [place for place in below(yaml.safe_load(FULL), ()) if not defaults & {place[0], place[-1]}]


def without(place: tuple[Any, ...]) -> Policy | None:
    """The policy without one key or item; None where that is no policy."""
    mapping: Any = yaml.safe_load(FULL)
    node = mapping
    for key in place[:-1]:
        node = node[key]
    del node[place[-1]]
    try:
        return load_mapping(mapping)
    except PolicyError:
        return None
