"""A made-up workload, predicted call for call by a model that knows nothing of the engine, and audited by the mock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase

from support.databases import Databases
from support.model import Model
from support.workload import work


@pytest.mark.slow
def test_every_call_ends_as_the_model_says(databases: Databases, dialect: str) -> None:
    """More of it, made up anew, by `make soak`."""
    sqlite = dialect == "sqlite"
    work(
        lambda: databases.create("sqlite" if sqlite else "postgresql"),
        databases.drop,
        examples=16 if sqlite else 4,
        steps=25,
    )


class Naive(Model):
    """It takes an answer that is lost for a payment that failed, as callers do who pay again."""

    def reconcile(self) -> None:
        self.expire()
        for item in self.some(lambda item: item.status == "unknown"):
            item.status = "not_sent"


def test_a_model_that_takes_unknown_for_failed_is_found_wrong(databases: Databases) -> None:
    """So that the comparison is known to find something."""
    once: dict[str, Any] = {"phases": [Phase.generate], "report_multiple_bugs": False}
    with pytest.raises(AssertionError):
        work(lambda: databases.create("sqlite"), databases.drop, examples=20, steps=25, model=Naive, **once)
