"""The lines of an export: what is written is read back as it was, and nothing else is taken."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from agentpay.storage import lines
from agentpay.storage.metadata import models
from agentpay.storage.types import UtcTime, to_micros

INTEGER, FLAG, TEXT = sa.Column("n", sa.BigInteger), sa.Column("f", sa.Boolean), sa.Column("t", sa.String)
BYTES, MOMENT = sa.Column("b", sa.LargeBinary), sa.Column("m", UtcTime)
HEADER = lines.Header("0003", "ins_1", "sqlite", datetime(2026, 1, 31, 10, tzinfo=UTC))

# Hypothesis takes the bounds without a zone.
moments = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))


def there_and_back(column: sa.Column[Any], value: Any) -> object:
    line = lines.row_line("some", {column.name: lines.encoder(column)(value)})
    assert line.isascii() and line.count(b"\n") == 1
    return lines.decoded(column, lines.parsed(line)["row"][column.name])


@given(st.integers(-(2**63) + 1, 2**63 - 1), texts, st.booleans(), st.binary(), moments)
def test_every_value_comes_back(number: int, text: str, flag: bool, raw: bytes, at: datetime) -> None:
    assert there_and_back(INTEGER, number) == number
    assert there_and_back(TEXT, text) == text
    assert there_and_back(FLAG, flag) is flag
    assert there_and_back(BYTES, raw) == raw
    assert lines.moment(lines.moment_text(at)) == at
    assert lines.decoded(INTEGER, lines.encoder(MOMENT)(at)) == to_micros(at)  # as a database shows the column


def test_every_column_that_there_is_can_be_written() -> None:
    columns = [column for one in models().sorted_tables for column in one.c]
    assert len(columns) > 200
    for column in columns:
        assert lines.encoder(column)


def test_a_column_of_another_kind_is_refused_when_it_is_made() -> None:
    with pytest.raises(TypeError, match="no way to write"):
        lines.encoder(sa.Column("x", sa.Float))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((INTEGER, value) for value in (1, 1.0, "1.0", "01", "+1", "1e3", "", "9223372036854775808", True, "١")),
        (INTEGER, "2026-01-31T10:00:00Z"),
        (INTEGER, "2026-13-31T10:00:00.000000Z"),
        *((FLAG, value) for value in (0, "true", "1")),
        *((TEXT, value) for value in (1, True, "a\x00b", "\ud800", ["a"])),
        *((BYTES, value) for value in ("=", "a", "é")),
    ],
)
def test_what_a_column_cannot_hold_is_refused(column: sa.Column[Any], value: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        lines.decoded(column, value)


def test_the_header_comes_back() -> None:
    assert lines.Header.parse(HEADER.line()) == HEADER


@pytest.mark.parametrize(
    "change",
    [
        {"agentpay": "other"},
        {"format": 2},
        {"format": "1"},
        {"revision": 3},
        {"revision": "../x"},
        {"exported_at": "now"},
    ],
)
def test_another_header_is_refused(change: dict[str, object]) -> None:
    line = json.dumps(json.loads(HEADER.line()) | change).encode() + b"\n"
    with pytest.raises(ValueError, match=r"\w"):
        lines.Header.parse(line)


@pytest.mark.parametrize("line", [b"", b"{}", b"[]\n", b"{\n", b'{"a":1,"a":2}\n', b"\xff\n", b"[" * 100_000 + b"\n"])
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        lines.parsed(line)
