"""What a function gets to work with inside `store.read` and `store.write`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlmodel import SQLModel

from agentpay.storage.types import table

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

Dialect = Literal["sqlite", "postgresql"]
Row = sa.Row[Any]


class Tx:
    """One transaction. A function that gets one may be run twice, and has no effect outside it."""

    def __init__(self, conn: sa.Connection, *, dialect: Dialect, time: Callable[[], datetime]) -> None:
        self.conn = conn
        self.dialect = dialect
        self._time = time

    def now(self, *known: datetime | None) -> datetime:
        """The time, read now: call it after the rows that matter are locked.

        It is never earlier than the moments given, which are those of the rows that were locked.
        """
        return max([self._time(), *(moment for moment in known if moment is not None)])

    def execute(
        self, statement: sa.Executable, parameters: Sequence[Mapping[str, Any]] | None = None
    ) -> sa.CursorResult[Any]:
        """Run a statement."""
        return self.conn.execute(statement, parameters)

    def first(self, statement: sa.Executable) -> Row | None:
        """The first row, or None."""
        return self.execute(statement).first()

    def all(self, statement: sa.Executable) -> Sequence[Row]:
        """Every row."""
        return self.execute(statement).all()

    def scalar(self, statement: sa.Executable) -> Any:
        """The first column of the first row, or None."""
        return self.execute(statement).scalar()

    def insert(self, model: type[SQLModel], **values: Any) -> None:
        """Insert one row. Columns that are not named get the default of the model, as SQLAlchemy renders it."""
        self.execute(sa.insert(table(model)).values(**_with_defaults(model, values)))

    def insert_new(self, model: type[SQLModel], **values: Any) -> bool:
        """Insert one row unless one with its unique values is there. True where it was inserted."""
        statement = self.insert_into(table(model)).values(**_with_defaults(model, values)).on_conflict_do_nothing()
        return self.first(statement.returning(sa.literal_column("1"))) is not None

    def insert_into(self, target: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """The dialect's own INSERT, which knows ON CONFLICT; both have the same methods for it."""
        # Imported here: the dialects would cost `import agentpay` a tenth of its time, and one of them is never used.
        if self.dialect == "sqlite":
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(target)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(target)

    def lock(self, statement: sa.Select[Any]) -> Sequence[Row]:
        """Read rows and lock them until the end: one statement, so that a later one sees what others committed.

        On SQLite a write transaction already excludes every other.
        """
        return self.all(statement.with_for_update() if self.dialect == "postgresql" else statement)


def _with_defaults(model: type[SQLModel], values: dict[str, Any]) -> dict[str, Any]:
    unknown = values.keys() - model.model_fields.keys()
    if unknown:
        raise TypeError(f"{model.__name__} has no {', '.join(sorted(unknown))}")
    defaults = {
        name: field.default
        for name, field in model.model_fields.items()
        if name not in values and not field.is_required() and field.default is not None
    }
    return {**defaults, **values}
