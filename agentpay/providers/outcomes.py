"""The six outcomes of a request to a provider. What is not proved to be another one is Unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from agentpay_policies.text import storable

OutcomeName = Literal["succeeded", "requires_action", "pending", "declined", "not_sent", "unknown"]


@dataclass(frozen=True)
class Succeeded:
    """The money moved. `reference` is the provider's own id for it."""

    reference: str


@dataclass(frozen=True)
class RequiresAction:
    """The customer must act first: at `url`, or by what `instructions` say."""

    reference: str
    url: str | None = None
    instructions: str | None = None


@dataclass(frozen=True)
class Pending:
    """The provider has it and will decide later."""

    reference: str


@dataclass(frozen=True)
class Declined:
    """The provider said no, for good. No money moved, and none will by this attempt."""

    code: str
    message: str
    reference: str | None = None


@dataclass(frozen=True)
class NotSent:
    """It is proved that the provider did not take the request, and never will by this attempt's key."""

    evidence: str


@dataclass(frozen=True)
class Unknown:
    """Nothing is proved: the money may have moved."""

    evidence: str
    reference: str | None = None


Outcome = Succeeded | RequiresAction | Pending | Declined | NotSent | Unknown


def checked(answer: object) -> Outcome:
    """What a provider answered, fit to be kept: text is mended where no database keeps it; no outcome is Unknown."""
    if not isinstance(answer, Outcome):
        return Unknown(evidence=f"the provider answered {type(answer).__name__}, which is no outcome")
    mended: dict[str, Any] = {name: storable(text) for name, text in vars(answer).items() if isinstance(text, str)}
    return replace(answer, **mended)


def name_of(outcome: Outcome) -> OutcomeName:
    """The outcome as a status."""
    names: dict[type[Outcome], OutcomeName] = {
        Succeeded: "succeeded",
        RequiresAction: "requires_action",
        Pending: "pending",
        Declined: "declined",
        NotSent: "not_sent",
        Unknown: "unknown",
    }
    return names[type(outcome)]
