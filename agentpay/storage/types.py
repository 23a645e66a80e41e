"""Column types and the base class that every table of AgentPay shares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import registry
from sqlmodel import SQLModel
from sqlmodel._compat import SQLModelConfig

from agentpay.errors import StorageCorrupt

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Base(SQLModel, registry=registry(metadata=sa.MetaData())):
    """Tables of AgentPay live in a registry of their own, apart from the application's SQLModel classes."""

    model_config = SQLModelConfig(defer_build=True)  # rows are checked by the database: the validators are never built


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC as a BIGINT of microseconds: exact, sortable, and the same on SQLite and PostgreSQL."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        try:
            return None if value is None else from_micros(value)
        except (OverflowError, TypeError):
            raise StorageCorrupt("The database holds a moment that is none: nothing of ours wrote it.") from None


Sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""The type of a primary key that the database counts up."""


def where(condition: str) -> dict[str, str]:
    """The `info` of a partial index. Its condition is attached by `with_conditions`, where the schema is made: to name
    it for a dialect loads that dialect, both of them, and would cost `import agentpay` a fifth of its time."""
    return {"where": condition}


def with_conditions(metadata: sa.MetaData) -> sa.MetaData:
    """The tables, with the conditions of their partial indexes attached for both dialects."""
    for index in (index for one in metadata.tables.values() for index in one.indexes if "where" in index.info):
        for dialect in ("sqlite", "postgresql"):
            index.dialect_options[dialect]["where"] = sa.text(index.info["where"])
    return metadata


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware moment."""
    if moment.tzinfo is None:
        raise ValueError("a moment must be aware")
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment that is so many microseconds after 1970."""
    return _EPOCH + micros * _MICROSECOND


def table(model: type[SQLModel]) -> sa.Table:
    """The Core table behind a SQLModel class: hot paths use it, not ORM objects."""
    found: sa.Table = model.__table__  # type: ignore[attr-defined]
    return found
