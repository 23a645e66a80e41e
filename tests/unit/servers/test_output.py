"""Rows by one spec: as text that acts on nothing, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from io import StringIO

import pytest

from agentpay_servers.output import Column, Listing, hint, money, plain, print_json, print_record, readable

Row = tuple[str, Decimal]

COLUMNS = (
    Column[Row]("name", lambda row: row[0]),
    Column[Row]("amount", lambda row: row[1], lambda row: money(row[1], "USD")),
    Column[Row]("note", lambda row: row[0] * 2, since="record"),
    Column[Row]("currency", lambda row: "USD", since="json"),
)
ROW: Row = ("a[b]\x1b\u202e", Decimal("1.50"))


def _printed(capsys: pytest.CaptureFixture[str], act: Callable[[], None]) -> tuple[str, str]:
    act()
    caught = capsys.readouterr()
    return caught.out, caught.err


def test_a_list_for_people_is_escaped_and_short(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = _printed(capsys, lambda: Listing(COLUMNS, [ROW]).print(False))
    assert [line.split() for line in out.splitlines()] == [["name", "amount"], [r"a[b]\x1b\u202e", "1.50", "USD"]]
    assert all(line == line.rstrip() for line in out.splitlines())


def test_a_list_for_programs_has_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = _printed(capsys, lambda: Listing(COLUMNS, [ROW]).print(True))
    assert out.isascii()
    assert json.loads(out) == [{"name": ROW[0], "amount": "1.50", "note": ROW[0] * 2, "currency": "USD"}]


def test_that_there_is_nothing_is_no_part_of_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    empty: Listing[Row] = Listing(COLUMNS, [], "Nothing yet.")
    assert _printed(capsys, lambda: empty.print(False)) == ("", "Nothing yet.\n")
    assert _printed(capsys, lambda: empty.print(True)) == ("[]\n", "")
    assert _printed(capsys, lambda: empty.print_under("Rows")) == ("Rows: none\n", "")


def test_a_record_leaves_out_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = _printed(capsys, lambda: print_record(COLUMNS, ("", Decimal("2")), False))
    assert [line.split() for line in out.splitlines()] == [["amount", "2", "USD"]]


def test_a_hint_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert _printed(capsys, lambda: hint("a\x1b[2J\nb")) == ("", "a\\x1b[2J\\nb\n")


@pytest.mark.parametrize(
    ("value", "data", "text"),
    [
        (None, None, ""),
        (True, True, "yes"),
        (7, 7, "7"),
        (Decimal("1E+2"), "100", "100"),
        (
            datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-31T10:00:00Z",
            "2026-01-31 10:00:00 UTC",
        ),
        (datetime(2026, 1, 31, 10, 0, 0, 5, tzinfo=UTC), "2026-01-31T10:00:00.000005Z", "2026-01-31 10:00:00 UTC"),
        (timedelta(minutes=2), 120, "120 s"),
        (("b", "a"), ["b", "a"], "b, a"),
        (frozenset({"b", "a"}), ["a", "b"], "a, b"),
    ],
)
def test_values(value: object, data: object, text: str) -> None:
    assert plain(value) == data
    assert readable(value) == text


def test_a_float_is_no_answer() -> None:
    with pytest.raises(TypeError, match="float"):
        plain({"amount": 1.5})


def test_lone_surrogates_do_not_stop_it(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = _printed(capsys, lambda: print_json(["\ud800"]))
    assert out == '[\n  "\\ud800"\n]\n'
    assert readable("\ud800") == "\\ud800"


def test_an_id_is_in_one_piece_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    long = f"pay_{'0' * 24}"
    columns = (
        Column[str]("payment_id", lambda _: long),
        *(Column[str](f"words_{number}", lambda _: "some words " * 3) for number in range(5)),
    )
    monkeypatch.setenv("COLUMNS", "60")
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    Listing(columns, [""]).print(False)
    _, row = screen.getvalue().splitlines()
    assert row.startswith(long)
    assert row.endswith("some words")
