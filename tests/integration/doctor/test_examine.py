"""The examination as a whole: what it says, what it warns of, and that it changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from agentpay.audit import log
from agentpay.audit.seal import seal
from agentpay.clock import FixedClock
from agentpay.doctor import checks
from agentpay.doctor.checks import AUDIT, Breach, examine
from agentpay.doctor.warnings import of_rows
from agentpay.ids import Ids
from agentpay.manager import PaymentManager
from agentpay.principal import SYSTEM
from agentpay.spending import approvers
from agentpay.storage import Store, Tx
from agentpay.storage.schema import install
from agentpay.storage.types import to_micros
from integration.doctor.story import POLICY, SECRET, Story
from integration.doctor.test_checks import planted

OWNED = "the gate is advisory"
_WITHOUT_TRIGGER = "DROP TRIGGER audit_log_no_update"


def test_an_empty_database_is_healthy(store: Store) -> None:
    found = examine(store)
    assert (found.ok, found.breaches) == (True, ())
    assert not any(OWNED in warning for warning in found.warnings)


def test_it_writes_nothing(story: Story) -> None:
    store = story.manager._engine.store
    before = _writes(store)
    examine(store)
    assert _writes(store) == before


@pytest.mark.breaks_invariants
def test_a_breach_has_its_invariant_and_its_rows_and_is_not_ok(store: Store) -> None:
    odd = "INSERT INTO ledger_transactions (id, event, object_id, posted_at) VALUES ('ltx_{0}', 'odd', '{0}', 1)"

    def write(tx: Tx) -> None:
        for number in range(checks.MOST_ROWS + 3):
            tx.execute(sa.text(odd.format(number)))

    store.write(write)
    found = examine(store)
    assert not found.ok
    (breach,) = found.breaches
    assert (breach.invariant, breach.what) == (1, "every ledger transaction has entries")
    assert "transaction ltx_0: it has no entries" in breach.rows
    assert breach.rows[-1] == "and 3 more"


@pytest.mark.breaks_invariants
def test_a_changed_audit_row_is_a_breach(store: Store) -> None:
    _record(store)
    if store.dialect == "postgresql":
        store.write(lambda tx: tx.execute(sa.text("ALTER TABLE audit_log DISABLE TRIGGER audit_log_no_update")))
    else:
        store.write(lambda tx: tx.execute(sa.text("DROP TRIGGER audit_log_no_update")))
    store.write(lambda tx: tx.execute(sa.text("UPDATE audit_log SET principal = 'operator:eve'")))
    found = examine(store)
    assert Breach(9, AUDIT, ("row 1: its column for 'principal' differs from its bytes",)) in found.breaches


@pytest.mark.breaks_invariants
@pytest.mark.parametrize(
    "forged",
    [
        "UPDATE audit_log SET action = 'policy.applied', body = 'x'",
        "UPDATE audit_log SET at = 9223372036854775807",
        "UPDATE installation SET epoch_at = 9223372036854775807, epoch = 2",
        "INSERT INTO policies (version, policy_id, hash, body, applied_by, applied_at, loosening, loosened)"
        " VALUES (1, 'p', 'h', '{', 'x', 1, false, '[]')",
    ],
)
def test_what_cannot_be_read_any_more_does_not_blind_it(store: Store, forged: str) -> None:
    """Whoever can write to the database could otherwise hide one breach behind another."""
    install(store, mode="test")
    _record(store)
    planted_beside = "INSERT INTO ledger_transactions (id, event, object_id, posted_at) VALUES ('ltx_0', 'odd', '0', 1)"
    gone = "ALTER TABLE audit_log DISABLE TRIGGER ALL" if store.dialect == "postgresql" else _WITHOUT_TRIGGER
    for statement in (gone, forged, planted_beside):
        store.write(lambda tx, statement=statement: tx.execute(sa.text(statement)))  # type: ignore[misc]
    found = examine(store)
    assert "every ledger transaction has entries" in {breach.what for breach in found.breaches}
    assert len(found.breaches) > 1 or found.warnings


def test_rows_that_are_not_sealed_are_a_warning_on_postgresql(store: Store) -> None:
    _record(store)
    unsealed = [warning for warning in examine(store).warnings if "not sealed" in warning]
    assert len(unsealed) == (1 if store.dialect == "postgresql" else 0)
    seal(store)
    assert not [warning for warning in examine(store).warnings if "not sealed" in warning]


def test_a_file_that_all_can_read_is_a_warning(store: Store) -> None:
    if store.dialect == "postgresql":
        return
    path = store.backend.path  # type: ignore[attr-defined]
    path.parent.chmod(0o755)
    path.chmod(0o644)
    assert [warning for warning in examine(store).warnings if "Every user" in warning]
    path.chmod(0o600)
    assert not [warning for warning in examine(store).warnings if "Every user" in warning]
    path.chmod(0o644)
    path.parent.chmod(0o700)
    assert not [warning for warning in examine(store).warnings if "Every user" in warning]


def test_books_of_the_mock_that_all_can_read_are_a_warning(store: Store) -> None:
    if store.dialect == "postgresql":
        return
    path = store.backend.path  # type: ignore[attr-defined]
    books = path.with_name(f"{path.name}.mock.db")
    path.parent.chmod(0o755)
    path.chmod(0o600)
    books.touch(0o644)
    books.chmod(0o644)
    assert [warning for warning in examine(store).warnings if f"read {books}" in warning]
    books.chmod(0o600)
    assert not [warning for warning in examine(store).warnings if "Every user" in warning]


def test_look_ups_that_nobody_makes_are_a_warning(story: Story) -> None:
    """While outcomes are unknown: overdue for more than an hour, and no worker in that time."""
    overdue = "UPDATE attempts SET outcome = 'unknown', next_check_at = {0} WHERE subject_id = '{{paid}}'"
    row = (
        "INSERT INTO worker_jobs (name, worker, ran_at, ended_at, due_at, failures) VALUES"
        " ('reconcile', 'host:1', {0}, {0}, {0}, 0)"
    )
    now = to_micros(story.clock.now())
    long_ago, lately = now - 7_200_000_000, now - 60_000_000
    for plant, told in (
        ([overdue.format(long_ago)], ["a worker ran never"]),
        ([overdue.format(long_ago), row.format(long_ago)], ["a worker ran last at"]),
        ([overdue.format(long_ago), row.format(lately)], []),
        ([overdue.format(lately)], []),
    ):
        with planted(story, plant) as tx:
            found = [line for line in of_rows(tx) if line.startswith("Outcomes are unknown")]
        assert [words for words in told if words in "".join(found)] == told
        assert len(found) == len(told)


def test_a_job_that_fails_again_and_again_is_a_warning(story: Story) -> None:
    plant = (
        "INSERT INTO worker_jobs (name, worker, ended_at, due_at, failures, fault) VALUES"
        " ('renewals', 'host:1', 1, 1, {0}, 'KeyError')"
    )
    for failures, told in ((2, 0), (3, 1)):
        with planted(story, [plant.format(failures)]) as tx:
            assert len([line for line in of_rows(tx) if "renewals has failed 3 times" in line]) == told


def test_a_gate_that_the_agent_could_edit_is_a_warning(store: Store, ids: Ids) -> None:
    approvers.enrol(store, ids, "ann", SECRET, by=None, by_secret=None)
    told = [warning for warning in examine(store).warnings if OWNED in warning]
    assert len(told) == (1 if store.dialect == "sqlite" else 0)


def test_the_story_has_its_warnings(story: Story) -> None:
    told = examine(story.manager._engine.store).warnings
    assert "The active policy asks approvers who are not enrolled: bob." in told
    assert [line for line in told if line.startswith("The money moved late") and story.ids["late"] in line]


def test_money_without_use_and_long_unknowns_are_warnings(story: Story) -> None:
    plant = [
        "UPDATE attempts SET outcome = 'unknown', sent_at = sent_at - 90000000000 WHERE subject_id = '{paid}'",
        "INSERT INTO audit_log (at, principal, action, object_id, body, hash, previous_hash) VALUES"
        " (1, 'system:engine', 'payment.unused', '{approved}', '', '', '')",
    ]
    with planted(story, plant) as tx:
        told = of_rows(tx)
    assert [line for line in told if "unknown for more than a day" in line and story.ids["paid"] in line]
    assert [line for line in told if line.startswith("Paid for what") and story.ids["approved"] in line]


def test_the_manager_asks_the_doctor(database: str, clock: FixedClock) -> None:
    with PaymentManager(database, provider="mock", policy=POLICY, clock=clock) as manager:
        manager.charge("alice", "5.00", "USD", idempotency_key="one")
        clock.advance(timedelta(minutes=1))
        assert manager.doctor().ok


def _record(store: Store) -> None:
    store.write(
        lambda tx: log.record(tx, principal=SYSTEM, action="test.done", object_id="thing", data={}, at=tx.now())
    )


def _writes(store: Store) -> list[object]:
    names = sorted(sa.inspect(store.engine).get_table_names())
    return store.read(lambda tx: [tx.scalar(sa.text(f"SELECT count(*) FROM {name}")) for name in names])
