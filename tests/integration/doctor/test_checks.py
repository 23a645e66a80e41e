"""Every check passes on a healthy installation and finds the breach that is planted for it.

A plant is SQL in a transaction that is taken back. What keeps such a row out of a real database (triggers, constraints,
unique indexes) is taken away first: the doctor is for the day when it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
import sqlalchemy as sa

from agentpay.doctor.checks import CHECKS, examine
from agentpay.storage.transaction import Tx
from agentpay.storage.triggers import APPEND_ONLY, make_append_only
from integration.doctor.story import Story

DAY: Final = 86_400_000_000

# What is planted for each check, by the beginning of its title. {names} are the ids that the story knows.
PLANTS: Final[dict[str, list[str]]] = {
    "the entries of every ledger transaction": [
        "UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE account = 'refunds' AND transaction_id ="
        " (SELECT id FROM ledger_transactions WHERE object_id = '{agent_refund}')",
    ],
    "every ledger transaction has entries": [
        "INSERT INTO ledger_transactions (id, event, object_id, posted_at) VALUES ('ltx_x', 'odd', 'x', 1)"
    ],
    "the running balance of every constrained account": [
        "UPDATE ledger_balances SET balance_minor = balance_minor - 1"
    ],
    "every payment that succeeded is posted once": [
        "UPDATE ledger_transactions SET event = 'odd' WHERE object_id = '{paid}'",
    ],
    "every refund that succeeded is posted once": [
        "UPDATE ledger_transactions SET object_id = 'ref_none' WHERE object_id = '{refund}'",
    ],
    "what is captured is the amount": [
        "UPDATE payments SET captured_minor = captured_minor - 1 WHERE id = '{approved}'",
    ],
    "every decision that took a hold has exactly one": [
        "UPDATE holds SET decision_id = 'dec_none' WHERE owner_id = '{agent_paid}'",
    ],
    "the caps stored with every decision can be read": [
        "UPDATE decisions SET checks = 'garbage' WHERE owner_id = '{agent_paid}'",
    ],
    "every decision kept the caps that are stored": [
        """UPDATE decisions SET checks = replace(checks, '"total": "0"', '"total": "14990"')"""
        " WHERE owner_id = '{agent_paid}'",
    ],
    "the holds up to every decision keep the caps": [
        "UPDATE holds SET amount_minor = 15001, weight_minor = 15001 WHERE owner_id = '{agent_paid}'",
        "UPDATE payments SET amount_minor = 15001, captured_minor = 15001 WHERE id = '{agent_paid}'",
    ],
    "every counter is the sum of the holds": [
        "UPDATE spending_counters SET value = value + 1 WHERE subject = 'budget:company' AND grain = 'hour'",
    ],
    "every payment and refund of an agent has exactly the hold": [
        "UPDATE holds SET state = 'held' WHERE owner_id = '{agent_paid}'",
    ],
    "every hold for recorded usage has its use": [
        "UPDATE holds SET cost_nanos = cost_nanos + 1 WHERE operation = 'record_usage'",
    ],
    "every approval that was given has the people": [
        "UPDATE approvals SET needs = replace(needs, 'ann', 'eve') WHERE id = '{approval}'",
    ],
    "every approval is about exactly one": [
        "UPDATE approvals SET digest = 'another' WHERE id = '{approval}'",
    ],
    "what waits for people has one open approval": [
        "UPDATE approvals SET status = 'expired' WHERE id = '{open_approval}'",
    ],
    "every attempt has a provider key": ["UPDATE attempts SET provider_key = '' WHERE subject_id = '{paid}'"],
    "at most one attempt of a payment or refund is open": [
        "UPDATE attempts SET outcome = 'unknown' WHERE subject_id IN"
        " (SELECT subject_id FROM attempts WHERE number = 3)",
    ],
    "no attempt was opened while an earlier one": [
        "UPDATE attempts SET outcome = 'not_sent', settled_at = sent_at + 9000000 WHERE number = 1 AND subject_id ="
        " '{action}'",
    ],
    "the attempts of a payment or refund are numbered": [
        "UPDATE attempts SET number = 7 WHERE subject_id = '{paid}'",
    ],
    "the state of every payment and refund follows": [
        "UPDATE attempts SET outcome = 'declined' WHERE subject_id = '{paid}'",
    ],
    "refunds, made and under way": ["UPDATE payments SET refunding_minor = 0 WHERE id = '{paid}'"],
    "a refund or dispute is in the currency of its payment": [
        "UPDATE payments SET currency = 'EUR' WHERE id = '{paid}'"
    ],
    "money that was sent is not refunded": ["UPDATE payments SET direction = 'send' WHERE id = '{paid}'"],
    "what is used of every pool": ["UPDATE usage_counters SET used = used + 1 WHERE plan_id = 'free'"],
    "what is held of every pool": ["UPDATE usage_counters SET held = held + 1 WHERE plan_id = 'free'"],
    "no pool is above the limit": ["UPDATE usage_counters SET limit_units = used - 1 WHERE plan_id = 'free'"],
    "the units of every event": ["UPDATE usage_events SET quantity = quantity + 1 WHERE id = '{event}'"],
    "held credits are those": ["UPDATE usage_carries SET held_nanos = held_nanos + 1 WHERE held_nanos > 0"],
    "credits that were drawn": ["UPDATE usage_carries SET credit_nanos = credit_nanos + 1 WHERE held_nanos > 0"],
    "every bill has claimed the sum": [
        "UPDATE usage_events SET bill_id = NULL WHERE bill_id = (SELECT id FROM bills WHERE status = 'paid')"
    ],
    "what bills left over": ["UPDATE usage_carries SET bill_nanos = bill_nanos - 1 WHERE held_nanos = 0"],
    "the amount of every bill": ["UPDATE bills SET currency = 'EUR' WHERE status = 'paid'"],
    "every bill stands as its payment": [
        "UPDATE bills SET payment_id = 'pay_none' WHERE status = 'paid'",
    ],
    "a customer has at most one live": [
        "UPDATE subscriptions SET plan_group = 'default' WHERE plan_id = 'meter'",
    ],
    "a customer has at most one subscription of a group that waits": [
        "UPDATE subscriptions SET status = 'incomplete', ended_at = NULL WHERE plan_id = 'pro' AND status <> 'active'",
        "UPDATE subscriptions SET customer_id = (SELECT customer_id FROM subscriptions WHERE id = '{incomplete}')"
        " WHERE status = 'incomplete'",
    ],
    "a subscription that has ended says when": [
        "UPDATE subscriptions SET ended_at = started_at WHERE id = '{subscription}'",
    ],
    "periods are half-open": [
        "UPDATE subscription_periods SET starts_at = starts_at + 1 WHERE number = 2",
    ],
    "every period of a plan that costs": [
        "UPDATE subscription_periods SET payment_id = '{not_sent}' WHERE number = 2 AND subscription_id ="
        " '{subscription}'",
    ],
    "a payment pays for one period": [
        "UPDATE subscription_periods SET payment_id = (SELECT payment_id FROM subscription_periods WHERE number = 1"
        " AND subscription_id = '{subscription}') WHERE number = 2 AND subscription_id = '{subscription}'",
    ],
    "what waits for a payment": ["UPDATE subscriptions SET renewing = 3 WHERE id = '{subscription}'"],
    "every payment is in the state": [
        "DELETE FROM audit_log WHERE action = 'payment.succeeded' AND object_id = '{paid}'"
    ],
    "every refund is in the state": ["DELETE FROM audit_log WHERE object_id = '{refund}'"],
    "every subscription is in the state": [
        "UPDATE subscriptions SET status = 'past_due' WHERE id = '{subscription}'",
    ],
    "every payment, refund and subscription that the audit tells of": [
        "DELETE FROM refunds WHERE id = '{refund}'",
    ],
    "every approval was asked for": [
        "DELETE FROM audit_log WHERE action = 'approval.asked' AND object_id = '{approval}'",
    ],
    "every vote of an approver": [
        "INSERT INTO approval_votes (approval_id, approver, verdict, voted_at) VALUES ('{approval}', 'bob',"
        " 'approved', 1)",
    ],
    "every version of the policy": ["UPDATE policies SET version = 2"],
    "every approver was enrolled": [
        "INSERT INTO approvers (name, secret_hash, enrolled_by, enrolled_at, failures) VALUES ('eve', 'x', 'eve', 1, 0)"
    ],
    "who is halted": ["DELETE FROM halts"],
    "every dispute and reversal is posted": [
        "UPDATE ledger_transactions SET event = 'odd' WHERE object_id = '{dispute}/1'",
    ],
    "every refund that came back is undone": [
        "UPDATE ledger_transactions SET event = 'odd' WHERE event = 'refund.returned'"
    ],
    "refunds, disputes and reversals are at most": ["UPDATE payments SET disputed_minor = 0 WHERE id = '{disputed}'"],
    "a webhook event is stored once": ["UPDATE webhook_events SET event_id = '' WHERE id = '{waiting_event}'"],
    "an event waits while": ["UPDATE webhook_events SET status = 'applied' WHERE id = '{waiting_event}'"],
    "what applied events are said": ["UPDATE webhook_news SET object_id = 'dsp_none' WHERE object_id = '{dispute}'"],
    "the state of every dispute": ["DELETE FROM audit_log WHERE object_id = '{dispute}'"],
    "every use that is counted": ["DELETE FROM audit_log WHERE object_id = '{event}'"],
}

# What else is broken by a plant, because no smaller one breaks the check.
ALSO: Final[dict[str, tuple[str, ...]]] = {
    "the entries of every ledger transaction": ("every refund that succeeded is posted once",),
    "the holds up to every decision keep the caps": (
        "every payment that succeeded is posted once",
        "every counter is the sum of the holds",
    ),
    "at most one attempt of a payment or refund is open": (
        "no attempt was opened while an earlier one",
        "the state of every payment and refund follows",
    ),
    "a refund or dispute is in the currency of its payment": ("every payment that succeeded is posted once",),
    "every payment, refund and subscription that the audit tells of": (
        "every refund that succeeded is posted once",
        "the state of every payment and refund follows",
        "refunds, made and under way",
    ),
    "the amount of every bill": ("every bill stands as its payment",),
    "a customer has at most one subscription of a group that waits": (
        "every subscription is in the state",
        "every period of a plan that costs",
        "what waits for a payment",
        "periods are half-open",
    ),
}


def test_a_healthy_installation_has_no_breach(story: Story) -> None:
    found = examine(story.manager._engine.store)
    assert found.breaches == ()
    assert found.ok
    assert len(found.checked) == len(CHECKS) + 1
    assert {int(line.partition(":")[0]) for line in found.checked} >= {1, 2, 3, 4, 5, 6, 7, 9}


def test_every_check_has_a_plant() -> None:
    titles = [check.title for check in CHECKS]
    assert len(set(titles)) == len(titles)
    unplanted = [title for title in titles if not any(title.startswith(plant) for plant in PLANTS)]
    assert unplanted == ["every append-only table has the triggers that keep it so"]


@pytest.mark.parametrize("plant", PLANTS)
def test_a_check_finds_what_is_planted(story: Story, plant: str) -> None:
    with planted(story, PLANTS[plant]) as tx:
        broken = [check.title for check in CHECKS if check.run(tx)]
    expected = (plant, *ALSO.get(plant, ()))
    assert [title for title in broken if title.startswith(plant)], broken
    assert [title for title in broken if not title.startswith(expected)] == []


def test_money_above_a_cap_is_a_breach_unless_it_is_flagged_late(story: Story) -> None:
    with planted(story, ["UPDATE payments SET late = false WHERE id = '{late}'"]) as tx:
        found = {check.title: check.run(tx) for check in CHECKS}
    ((title, rows),) = ((title, rows) for title, rows in found.items() if rows)
    assert title.startswith("the holds up to every decision")
    assert [row for row in rows if "add up to 20500, above 15000 USD" in row]


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_a_missing_trigger_is_found(story: Story, table: str) -> None:
    store = story.manager._engine.store
    on = f" ON {table}" if store.dialect == "postgresql" else ""
    with store.engine.connect() as conn:
        conn.exec_driver_sql(f"DROP TRIGGER {table}_no_delete{on}")
        broken = [row for check in CHECKS for row in check.run(_tx(story, conn))]
        conn.rollback()
    assert broken == [f"table {table}: no trigger refuses DELETE"]


def test_a_disabled_trigger_is_found_on_postgresql(story: Story) -> None:
    store = story.manager._engine.store
    if store.dialect == "sqlite":
        return
    with store.engine.connect() as conn:
        conn.exec_driver_sql("ALTER TABLE decisions DISABLE TRIGGER decisions_no_update")
        broken = [row for check in CHECKS for row in check.run(_tx(story, conn))]
        conn.rollback()
    assert broken == ["table decisions: no trigger refuses UPDATE"]


@contextmanager
def planted(story: Story, plant: list[str]) -> Iterator[Tx]:
    """The database with the breach in it; it is gone at the end of the block."""
    store = story.manager._engine.store
    with store.engine.connect() as conn:
        _disarm(conn)
        for statement in plant:
            conn.exec_driver_sql(statement.format(**story.ids))
        make_append_only(conn)
        yield _tx(story, conn)
        conn.rollback()
        if conn.dialect.name == "sqlite":
            conn.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")


def _disarm(conn: sa.Connection) -> None:
    """Take away what keeps a breach out."""
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        conn.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        for row in conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
            conn.exec_driver_sql(f"DROP TRIGGER {row[0]}")
    else:
        conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        checks = conn.exec_driver_sql(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c'"
            " AND connamespace = current_schema()::regnamespace"
        )
        for table, name in checks.all():
            conn.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for index in ("uq_subscription_live", "uq_subscription_incomplete", "uq_attempt_open"):
        conn.exec_driver_sql(f"DROP INDEX {index}")


def _tx(story: Story, conn: sa.Connection) -> Tx:
    dialect: Any = conn.dialect.name
    return Tx(conn, dialect=dialect, time=story.clock.now)
