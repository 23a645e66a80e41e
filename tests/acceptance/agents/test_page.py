"""docs/agents.md names, for each attack, the test that proves its outcome: each exists, and none is left out."""

from __future__ import annotations

import inspect
import re
from types import FunctionType

from acceptance.agents import test_hostile
from acceptance.docs.pages import ROOT

ROWS = re.findall(
    r"^\| (.+?) \| (.+?) \| `(\w+)` \| `(test_\w+)` \|$", (ROOT / "docs" / "agents.md").read_text("utf-8"), re.MULTILINE
)
TESTS = {
    name: found
    for name, found in vars(test_hostile).items()
    if name.startswith("test_") and isinstance(found, FunctionType)
}


def test_every_named_test_exists_and_every_test_is_named() -> None:
    named = [test for _, _, _, test in ROWS]
    assert len(named) == len(set(named)) >= 15
    assert set(named) == set(TESTS)


def test_the_code_of_each_row_is_what_its_test_asks_for() -> None:
    assert [test for _, _, code, test in ROWS if f'"{code}"' not in inspect.getsource(TESTS[test])] == []
