"""What the fake writes down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agentpay_policies.money import Money

JSON = dict[str, Any]
"""A resource of PayPal's."""


@dataclass(frozen=True)
class Movement:
    """Money that moved. `key` is the mark that it carries (`custom_id`, `sender_batch_id`), `reference` PayPal's id."""

    kind: Literal["charge", "refund", "send"]
    key: str
    reference: str
    money: Money


@dataclass(frozen=True)
class Received:
    """A request that reached the server. `step` is what it was for, in a word: `create`, `capture`, `refund`, …"""

    step: str
    method: str
    path: str
    request_id: str | None
    body: Mapping[str, Any]
    headers: Mapping[str, str]


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, name: str, issue: str | None = None, **more: Any) -> None:
        super().__init__(f"{status} {issue or name}")
        self.status = status
        self.body: JSON = {"name": name, "message": "The fake refuses it.", "debug_id": "fake", **more}
        if issue is not None:
            self.body["details"] = [{"issue": issue, "description": "See the name."}]


def unprocessable(issue: str) -> Refusal:
    """Refused for what it asks."""
    return Refusal(422, "UNPROCESSABLE_ENTITY", issue)


def missing() -> Refusal:
    """There is no such thing."""
    return Refusal(404, "RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID")
