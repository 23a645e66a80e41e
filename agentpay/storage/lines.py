"""The lines of an export: JSON that a person can read and a program takes back without loss. Pure.

The first line says what the file is, each further one holds one row, the last one how many rows of each table there are
and a hash over all lines between. Integers are strings, since many readers of JSON round them; moments are ISO 8601 in
UTC to the microsecond; text stands as it was kept, in ASCII, so that nothing hides in it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from agentpay.storage.types import UtcTime, from_micros, to_micros

FORMAT: Final = 1
MOST_BYTES: Final = 64 * 1024 * 1024
"""A longer line is none of ours."""

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})\Z", re.ASCII)
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z\Z", re.ASCII)
_SHOWN: Final = "%Y-%m-%dT%H:%M:%S.%fZ"
_REVISION: Final = re.compile(r"\w{1,40}\Z", re.ASCII)
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True)
class Header:
    """What an export says of itself."""

    revision: str
    installation: str
    dialect: str
    exported_at: datetime

    def line(self) -> bytes:
        """The first line of the file."""
        return _line(
            {
                "agentpay": "export",
                "format": FORMAT,
                "revision": self.revision,
                "installation": self.installation,
                "dialect": self.dialect,
                "exported_at": moment_text(self.exported_at),
            }
        )

    @classmethod
    def parse(cls, line: bytes) -> Header:
        """The first line of a file, read.

        Raises:
            ValueError: it is no export, or one in a format that this program does not know.
        """
        data = parsed(line)
        if data.get("agentpay") != "export":
            raise ValueError("it is no export of AgentPay")
        if data.get("format") != FORMAT:
            raise ValueError(f"its format is {str(data.get('format'))[:20]!a}; this program reads {FORMAT}")
        texts = [data.get(name) for name in ("revision", "installation", "dialect", "exported_at")]
        if not all(isinstance(text, str) for text in texts) or not _REVISION.match(str(texts[0])):
            raise ValueError("it does not say revision, installation, dialect and exported_at")
        return cls(str(texts[0]), str(texts[1]), str(texts[2]), moment(str(texts[3])))


def row_line(table: str, row: Mapping[str, object]) -> bytes:
    """The line of one row, whose values are encoded already."""
    return _line({"table": table, "row": row})


def end_line(counts: Mapping[str, int], sha256: str) -> bytes:
    """The last line of the file."""
    return _line({"end": {"rows": {name: str(count) for name, count in counts.items()}, "sha256": sha256}})


def parsed(line: bytes) -> dict[str, Any]:
    """A line as an object.

    Raises:
        ValueError: it is cut off, or no JSON object in which each name stands once.
    """
    if not line.endswith(b"\n"):
        raise ValueError("it is cut off, or too long")
    try:
        data = json.loads(line, object_pairs_hook=_once)
    except RecursionError as exc:
        raise ValueError("it is no JSON of ours") from exc
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    return data


def encoder(column: sa.Column[Any]) -> Any:
    """What turns a column's values into what stands in a line.

    Raises:
        TypeError: the format has no way to write such a column.
    """
    match _kind(column):
        case UtcTime():
            return moment_text
        case sa.Boolean():
            return bool
        case sa.Integer():
            return str
        case sa.String():
            return str
        case sa.LargeBinary():
            return lambda value: base64.b64encode(value).decode("ascii")
    raise TypeError(f"{column}: exports have no way to write {column.type!r}")


def decoded(column: sa.Column[Any], value: object) -> object:
    """The value of a column from what stands in a line; a moment becomes what the database keeps of it.

    Raises:
        ValueError: nothing that the column could hold.
    """
    if value is None:
        return None
    match _kind(column), value:
        case sa.Boolean(), bool():
            return value
        case sa.Integer(), str() if _MOMENT.match(value):
            return to_micros(moment(value))
        case sa.Integer(), str() if _INTEGER.match(value) and abs(int(value)) <= _LARGEST:
            return int(value)
        case sa.String(), str() if "\x00" not in value and not _has_surrogate(value):
            return value
        case sa.LargeBinary(), str():
            return _bytes(value)
    raise ValueError(f"{column.name} cannot be {json.dumps(value)[:60]}")


def moment_text(value: datetime) -> str:
    """A moment, to the microsecond."""
    return value.astimezone(UTC).strftime(_SHOWN).rjust(27, "0")


def moment(text: str) -> datetime:
    """The moment that `moment_text` wrote.

    Raises:
        ValueError: it is none.
    """
    if not _MOMENT.match(text):
        raise ValueError(f"{text[:40]!a} is no moment")
    return from_micros(to_micros(datetime.strptime(text, _SHOWN).replace(tzinfo=UTC)))


def _kind(column: sa.Column[Any]) -> object:
    """The type of a column; of one that only dresses another up, the one below it."""
    dressed = isinstance(column.type, sa.types.TypeDecorator) and not isinstance(column.type, UtcTime)
    return column.type.impl if dressed else column.type  # type: ignore[attr-defined]


def _line(data: Mapping[str, object]) -> bytes:
    return json.dumps(data, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands in it twice")
    return made


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as exc:
        raise ValueError(f"base64: {exc}") from exc
