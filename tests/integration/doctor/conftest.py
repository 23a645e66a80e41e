"""One installation with a long history, for each kind of database; tests plant their breaches and take them back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agentpay.clock import FixedClock
from conftest import START
from integration.doctor.story import Story
from support.databases import Databases


@pytest.fixture(scope="module")
def story_of(databases: Databases) -> Iterator[Any]:
    """`story_of(dialect)`: the installation on that database, made once."""
    told: dict[str, tuple[Story, str]] = {}

    def of(dialect: Any) -> Story:
        if dialect not in told:
            url = databases.create(dialect)
            told[dialect] = Story(url, FixedClock(START)).tell(), url
        return told[dialect][0]

    yield of
    for story, url in told.values():
        story.manager.close()
        databases.drop(url)


@pytest.fixture
def story(story_of: Any, dialect: str) -> Story:
    """The installation on each database. It is shared: leave it as you found it."""
    found: Story = story_of(dialect)
    return found
