"""What the commands print: rows by one column spec, as a table for people or as JSON for programs.

Results go to standard output, hints to standard error. Whatever agents, customers and providers wrote is shown escaped:
no control, bidi or zero-width character acts on a terminal, and no text is read as markup.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from agentpay_policies.text import escaped

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

T = TypeVar("T")

Where = Literal["list", "record", "json"]

_WIDE: Final = 400
"""The width of a table: a row is one line, which a narrow terminal wraps by itself; an id is never cut apart."""


@dataclass(frozen=True)
class Column(Generic[T]):
    """One field of a row. `name` is its JSON key, `value` what it holds, `shown` how people read it where that differs.

    `since` says from where on it is shown: in lists, in single records only, or in JSON only. JSON has every column.
    """

    name: str
    value: Callable[[T], object]
    shown: Callable[[T], object] | None = None
    since: Where = "list"

    @property
    def title(self) -> str:
        """What people read above it."""
        return self.name.replace("_", " ")

    def text(self, item: T) -> str:
        """What people read of a row."""
        return readable((self.shown or self.value)(item))


@dataclass(frozen=True)
class Listing(Generic[T]):
    """Rows of one kind. `empty` is said where there are none."""

    columns: Sequence[Column[T]]
    items: Sequence[T]
    empty: str = "There is nothing."

    def data(self) -> list[dict[str, object]]:
        """The rows as JSON can hold them."""
        return [row_data(self.columns, item) for item in self.items]

    def print(self, as_json: bool) -> None:
        """Print the rows; that there are none is a hint."""
        if as_json:
            print_json(self.data())
        elif self.items:
            _print(self._table())
        else:
            hint(self.empty)

    def print_under(self, title: str) -> None:
        """Print the rows for people, below a title, among other things."""
        print_line(f"{title}:" if self.items else f"{title}: none")
        if self.items:
            _print(self._table())

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        columns = [column for column in self.columns if column.since == "list"]
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.title, overflow="fold")
        for item in self.items:
            table.add_row(*(Text(column.text(item)) for column in columns))
        return table


def print_record(columns: Sequence[Column[T]], item: T, as_json: bool) -> None:
    """Print one thing with all that is known of it."""
    if as_json:
        print_json(row_data(columns, item))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for column in columns:
        if column.since != "json" and (text := column.text(item)):
            table.add_row(column.title, Text(text))
    _print(table)


def row_data(columns: Iterable[Column[T]], item: T) -> dict[str, object]:
    """A row as JSON can hold it."""
    return {column.name: plain(column.value(item)) for column in columns}


def print_json(data: object) -> None:
    """Print JSON, in ASCII: nothing hides in it."""
    sys.stdout.write(json.dumps(plain(data), indent=2, ensure_ascii=True) + "\n")


def print_line(text: str) -> None:
    """Print a line of the result, escaped."""
    sys.stdout.write(f"{escaped(text)}\n")


def hint(text: str) -> None:
    """Say something beside the result, on standard error, escaped."""
    sys.stdout.flush()
    sys.stderr.write(f"{escaped(text)}\n")


def answer(as_json: bool, data: Mapping[str, object], text: str) -> None:
    """Answer with a sentence, or the same as data."""
    if as_json:
        print_json(data)
    else:
        print_line(text)


def plain(value: Any) -> object:
    """A value as JSON can hold it: amounts as decimal strings, times in ISO 8601, UTC."""
    match value:
        case bool() | int() | None:
            return value
        case str():
            return str(value)
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return int(value.total_seconds())
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case frozenset() | set():
            return sorted((plain(one) for one in value), key=str)
        case list() | tuple():
            return [plain(one) for one in value]
    raise TypeError(f"no JSON for {type(value).__name__}")


def readable(value: Any) -> str:
    """A value as people read it, escaped."""
    match value:
        case None | "":
            return ""
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return f"{value:f}"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        case timedelta():
            return f"{int(value.total_seconds())} s"
        case frozenset() | set():
            return ", ".join(sorted(readable(one) for one in value))
        case list() | tuple():
            return ", ".join(readable(one) for one in value)
    return escaped(str(value))


def duration(length: timedelta | None) -> str:
    """How long something is, in the two largest units that it has."""
    left = 0 if length is None else int(length.total_seconds())
    parts: list[str] = []
    for name, seconds in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, seconds)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def money(amount: Decimal, currency: str) -> str:
    """An amount with its currency."""
    return f"{amount:f} {currency}"


def _print(what: RenderableType) -> None:
    """Print to standard output, without the spaces that fill up lines."""
    from rich.console import Console

    filled = StringIO()
    terminal = sys.stdout.isatty()
    console = Console(
        file=filled,
        width=_WIDE,
        force_terminal=terminal,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
    console.print(what)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in filled.getvalue().splitlines()))
