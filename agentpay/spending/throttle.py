"""How often an agent may call: so many new keys and so many refusals a minute. Known keys are free."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from agentpay.audit import log
from agentpay.errors import ConfigurationError, Throttled
from agentpay.principal import agent as agent_principal
from agentpay.spending.counters import floored
from agentpay.spending.tables import ThrottleRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table

_THROTTLES = table(ThrottleRow)
_T = _THROTTLES.c
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Throttle:
    """So many new keys and so many refusals, per agent and minute; None is no bound."""

    new_keys: int | None = 600
    refusals: int | None = 120

    @classmethod
    def parse(cls, text: str) -> Throttle:
        """`"600/120"`, or `"off"`.

        Raises:
            ConfigurationError: anything else.
        """
        if text.strip().lower() == "off":
            return cls(None, None)
        keys, _, refusals = text.partition("/")
        if not (keys.strip().isdecimal() and refusals.strip().isdecimal()):
            raise ConfigurationError('AGENTPAY_THROTTLE is "new keys/refusals" a minute, such as 600/120, or off.')
        return cls(int(keys), int(refusals))

    def check(self, tx: Tx, agent: str, now: datetime) -> Throttled | None:
        """The refusal of a call beyond the bounds; None where the agent may go on. The minute's row is locked."""
        if self.new_keys is None and self.refusals is None:
            return None
        minute = self._row(tx, agent, now)
        row = tx.lock(sa.select(_THROTTLES).where(_T.agent == agent, _T.minute == minute))[0]
        over_keys = self.new_keys is not None and row.new_keys >= self.new_keys
        over_refusals = self.refusals is not None and row.refusals >= self.refusals
        if not (over_keys or over_refusals):
            return None
        what = f"{self.new_keys} new keys" if over_keys else f"{self.refusals} refusals"
        return Throttled(f"The agent has had {what} in this minute.", retry_at=minute + _MINUTE)

    def admit(self, tx: Tx, agent: str, now: datetime) -> None:
        """Let a new key of an agent in, and count it.

        Raises:
            Throttled: the agent has had too many, or too many refusals.
        """
        throttled = self.check(tx, agent, now)
        if throttled is not None:
            raise throttled
        self.count_new_key(tx, agent, now)

    def count_turned_away(self, tx: Tx, agent: str, now: datetime) -> None:
        """Count a call that was throttled. It gets no audit row of its own: one row a minute holds their number."""
        _count(tx, agent, self._row(tx, agent, now), "throttled")

    def count_new_key(self, tx: Tx, agent: str, now: datetime) -> None:
        """Count a key that was accepted."""
        if self.new_keys is not None:
            _count(tx, agent, self._row(tx, agent, now), "new_keys")

    def count_refusal(self, tx: Tx, agent: str, now: datetime) -> None:
        """Count a refusal."""
        if self.refusals is not None:
            _count(tx, agent, self._row(tx, agent, now), "refusals")

    def _row(self, tx: Tx, agent: str, now: datetime) -> datetime:
        minute = floored(now, _MINUTE)
        if tx.insert_new(ThrottleRow, agent=agent, minute=minute):
            close_minutes(tx, now, agent=agent)
        return minute


def close_minutes(tx: Tx, now: datetime, *, agent: str | None = None) -> None:
    """Write down, for one agent or for all, the past minutes in which calls were turned away, and forget the rest."""
    earlier = _T.minute < floored(now, _MINUTE)
    if agent is not None:
        earlier = sa.and_(_T.agent == agent, earlier)
    gone = tx.all(sa.delete(_THROTTLES).where(earlier).returning(_T.agent, _T.minute, _T.throttled))
    for row in sorted(gone, key=lambda one: (one.agent, one.minute)):
        if row.throttled:
            data = {"minute": row.minute.isoformat(), "turned_away": str(row.throttled)}
            log.record(
                tx,
                principal=agent_principal(row.agent),
                action="spending.throttled",
                object_id=f"agent:{row.agent}",
                data=data,
                at=now,
            )


def _count(tx: Tx, agent: str, minute: datetime, column: str) -> None:
    tx.execute(sa.update(_THROTTLES).where(_T.agent == agent, _T.minute == minute).values({column: _T[column] + 1}))
