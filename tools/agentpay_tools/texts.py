"""Sentences for the model: short, factual, with every id and figure that the next step needs.

Many clients show a model only the text of a result, so the text says all that the body says and matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

NO_MONEY_MOVED = "No money moved by this call."


def moment(value: datetime) -> str:
    """A moment in UTC, to the second, for reading."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(value: datetime) -> str:
    """A moment in UTC, exactly, for programs: ISO 8601."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def figure(amount: Decimal, currency: str) -> str:
    """An amount with its currency."""
    return f"{amount:f} {currency}"


def sentences(*parts: str | bool | None) -> str:
    """The parts that there are, one behind the other."""
    return " ".join(part for part in parts if isinstance(part, str) and part)


def pairs(**facts: object) -> str:
    """Facts as `name: value`, without those that are not known."""
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in facts.items() if value not in (None, ""))


def repeat(made: datetime | None, since: datetime | None = None) -> str:
    """What a repeat's answer adds: that nothing new was done, when it was, and from when the state is."""
    first = f" It was made {moment(made)}." if made else ""
    state = f"is from {moment(since)}" if since else "is the present one"
    return f"This is a repeat, nothing new was done.{first} The state {state}."


def until(expires_at: datetime | None) -> str:
    """How long something waits."""
    return f" until {moment(expires_at)}" if expires_at is not None else ""


def listed(names: Iterable[str]) -> str:
    """Names in a row, or `none`."""
    return ", ".join(names) or "none"


def not_paid_yet(what: str, approval_id: str | None, expires_at: datetime | None, url: str | None) -> str:
    """What is said of everything that waits for a person. It begins with what must not be misread."""
    return sentences(
        f"NOT PAID YET: {what} waits for a person's approval ({approval_id}){until(expires_at)}.",
        f"They decide at {url}." if url else None,
    )
