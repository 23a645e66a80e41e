"""Which LangChain the tests run with: `make test-langchain` runs them with both ends of the range that installs."""

from __future__ import annotations

import os
import tomllib
from importlib.metadata import version

from packaging.requirements import Requirement

from acceptance.docs.pages import ROOT


def declared(extra: str, name: str) -> Requirement:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [Requirement(text) for text in project["optional-dependencies"][extra]]
    return next(one for one in wanted if one.name == name)


def test_what_is_tested_is_in_the_range_that_is_declared() -> None:
    assert declared("langchain", "langchain-core").specifier.contains(version("langchain-core"))
    assert declared("langgraph", "langchain").specifier.contains(version("langchain"))


def test_the_version_asked_for_is_the_one_that_is_loaded() -> None:
    from langchain_core import version as loaded

    asked = os.environ.get("LANGCHAIN_CORE", "")
    assert version("langchain-core") == loaded.VERSION
    assert loaded.VERSION.startswith(asked)
