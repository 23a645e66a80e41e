"""Verifying: every way in which somebody who can write to the file may change the past is found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from agentpay.audit import queries
from agentpay.audit.hashes import row_hash, seal_hash
from agentpay.audit.seal import seal
from agentpay.audit.verify import Verification, verify
from agentpay.errors import ValidationError
from agentpay.storage import Store
from agentpay.storage.schema import install
from agentpay.storage.triggers import APPEND_ONLY
from conftest import OpenStore
from integration.audit.test_log import note


@pytest.fixture
def tampered(open_store: OpenStore) -> Iterator[Store]:
    """A store with six sealed rows of two objects, whose triggers somebody has dropped. Nothing is checked after."""
    store = open_store()
    install(store, mode="test")
    for action in ("opened", "sent", "settled"):
        note(store, "pay_1", action)
        note(store, "pay_2", action)
    seal(store)
    for name in APPEND_ONLY:
        for verb in ("update", "delete"):
            on = "" if store.dialect == "sqlite" else f" ON {name}"
            sql(store, f"DROP TRIGGER {name}_no_{verb}{on}")
    assert verify(store) == Verification(True, 6, 6, 0, head(store), ())
    yield store


def sql(store: Store, statement: str, **values: object) -> None:
    with store.engine.begin() as conn:
        conn.execute(sa.text(statement), values)


def head(store: Store) -> str:
    return store.read(queries.last_seal)[1]


def faults(store: Store, expected_head: str | None = None) -> str:
    found = verify(store, expected_head)
    assert found.ok == (not found.faults)
    return "\n".join(found.faults)


def test_an_empty_audit_is_in_order(store: Store) -> None:
    assert verify(store) == Verification(True, 0, 0, 0, "", ())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("principal", "operator:eve"),
        ("action", "nothing"),
        ("at", 1),
        ("at", 2**63 - 1),
        ("object_id", "pay_2"),
        ("previous_hash", ""),
    ],
)
def test_a_changed_column_is_found(tampered: Store, column: str, value: object) -> None:
    sql(tampered, f"UPDATE audit_log SET {column} = :value WHERE seq = 3", value=value)
    assert "row 3: its column for" in faults(tampered)


def test_changed_bytes_are_found(tampered: Store) -> None:
    sql(tampered, "UPDATE audit_log SET body = replace(body, 'sent', 'lost') WHERE seq = 3")
    assert "row 3: its bytes do not have its hash" in faults(tampered)
    assert "row 3: its column for 'action' differs" in faults(tampered)


@pytest.mark.parametrize("body", ["", "[]", "7", "{", "[" * 100_000], ids=["none", "list", "number", "open", "deep"])
def test_bytes_that_are_no_object_are_found(tampered: Store, body: str) -> None:
    sql(tampered, "UPDATE audit_log SET body = :body WHERE seq = 3", body=body)
    assert "row 3: its bytes are no JSON object" in faults(tampered)


def test_a_row_forged_with_its_hash_breaks_the_links(tampered: Store) -> None:
    row = tampered.read(lambda tx: tx.all(sa.text("SELECT * FROM audit_log WHERE seq = 3")))[0]
    body = row.body.replace("sent", "lost")
    sql(tampered, "UPDATE audit_log SET body = :b, hash = :h, action = 'lost' WHERE seq = 3", b=body, h=row_hash(body))
    assert faults(tampered).splitlines() == [
        "row 5: it does not follow the row of pay_1 before it",
        "seal 3: it does not follow from row 3 and the seal before",
    ]


def test_a_removed_row_is_found(tampered: Store) -> None:
    sql(tampered, "DELETE FROM audit_log WHERE seq = 3")
    assert "seal 3: row 3 is gone" in faults(tampered)
    assert "row 5: it does not follow the row of pay_1 before it" in faults(tampered)


def test_a_removed_history_is_found(tampered: Store) -> None:
    sql(tampered, "DELETE FROM audit_log WHERE object_id = 'pay_2'")
    assert [line for line in faults(tampered).splitlines() if "gone" in line] == [
        f"seal {number}: row {number} is gone" for number in (2, 4, 6)
    ]


def test_a_removed_link_is_found(tampered: Store) -> None:
    sql(tampered, "DELETE FROM audit_seals WHERE position = 3")
    assert "seal 4: seals are missing before it" in faults(tampered)


def test_links_in_another_order_are_found(tampered: Store) -> None:
    sql(
        tampered,
        "UPDATE audit_seals SET audit_seq = CASE audit_seq WHEN 2 THEN -3 ELSE -2 END WHERE position IN (2, 3)",
    )
    sql(tampered, "UPDATE audit_seals SET audit_seq = -audit_seq WHERE audit_seq < 0")
    assert "seal 2: it does not follow" in faults(tampered)


def test_a_cut_tail_is_found_by_its_former_head(tampered: Store) -> None:
    former = head(tampered)
    sql(tampered, "DELETE FROM audit_seals WHERE position > 4")
    sql(tampered, "DELETE FROM audit_log WHERE seq > 4")
    assert faults(tampered) == ""
    assert "expected head" in faults(tampered, former)


def test_a_chain_made_anew_is_found_by_its_former_head(tampered: Store) -> None:
    former = head(tampered)
    row = tampered.read(lambda tx: tx.all(sa.text("SELECT * FROM audit_log WHERE seq = 6")))[0]
    body = row.body.replace("settled", "forged")
    sql(
        tampered, "UPDATE audit_log SET body = :b, hash = :h, action = 'forged' WHERE seq = 6", b=body, h=row_hash(body)
    )
    fifth = tampered.read(lambda tx: list(queries.seals(tx)))[4].hash
    sql(tampered, "UPDATE audit_seals SET hash = :h WHERE position = 6", h=seal_hash(fifth, 6, row_hash(body)))
    assert faults(tampered) == ""
    assert "expected head" in faults(tampered, former)


def test_a_former_head_is_found_in_a_chain_that_grew(store: Store) -> None:
    note(store, "pay_1")
    seal(store)
    former = head(store)
    note(store, "pay_1")
    seal(store)
    assert faults(store, former) == ""
    assert faults(store, head(store)) == ""
    assert verify(store).head != former


@pytest.mark.parametrize("none", ["", " ", "head", "F" * 64])
def test_an_expected_head_that_is_none_is_refused_and_not_left_out(tampered: Store, none: str) -> None:
    """Where the file it is kept in is empty, an audit that was cut off would verify."""
    for rows in ("audit_seals", "audit_log"):
        sql(tampered, f"DELETE FROM {rows}")
    with pytest.raises(ValidationError, match="head"):
        verify(tampered, none)


def test_rows_without_a_seal_are_a_warning_only_where_sealing_comes_later(tampered: Store) -> None:
    sql(tampered, "DELETE FROM audit_seals WHERE position > 4")
    found = verify(tampered)
    assert (found.rows, found.sealed, found.unsealed) == (6, 4, 2)
    assert found.ok == (tampered.dialect == "postgresql")


def test_of_very_many_faults_a_hundred_are_named(tampered: Store) -> None:
    for number in range(110):
        note(tampered, f"o{number}")
    sql(tampered, "UPDATE audit_log SET body = ''")
    assert len(verify(tampered).faults) == 100


def test_it_goes_over_pages(store: Store) -> None:
    from agentpay.audit.log import record
    from agentpay.principal import SYSTEM
    from agentpay.storage import Tx

    def write(tx: Tx) -> None:
        for number in range(2100):
            record(tx, principal=SYSTEM, action="a", object_id=f"o{number % 3}", data={}, at=tx.now())

    store.write(write)
    while seal(store):
        pass
    found = verify(store)
    assert (found.ok, found.rows, found.sealed, found.unsealed) == (True, 2100, 2100, 0)
