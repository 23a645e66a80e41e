"""The pages, and parts of pages, that are made from the code: docs/errors.md, and the mock's table in docs/mock.md.

    .venv/bin/python tests/acceptance/docs/generated.py

writes them anew; a test fails where they differ from the code.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agentpay import errors
from agentpay.errors import AgentPayError
from agentpay.providers import mock_script
from agentpay_policies.codes import VIOLATIONS
from agentpay_tools.codes import CODES

DOCS: Final = Path(__file__).resolve().parents[3] / "docs"
BEGIN: Final = "<!-- made from agentpay.providers.mock_script.describe() -->"
END: Final = "<!-- end -->"

_HEAD: Final = """\
# Errors

<!-- Made from the code by tests/acceptance/docs/generated.py; a test fails where it is out of date. -->

Every error is an `AgentPayError`. It has a `code` that never changes, a `message`, `retryable` (the same call may well
succeed later), `next_step` (what to do), and `retry_at` where that is known. Catch a class to catch what is below it:

```text
{tree}
```

A tool does not raise: it answers with `status` from the last column and the same code in `error.code`
(see [tools.md](tools.md)). On the command line a `ValidationError` or a `ConfigurationError` ends with exit code 2,
every other one, and a policy file with faults, with 1.

## Codes

| code | class | means | next step | retryable | a tool's status |
|---|---|---|---|---|---|
"""

_VIOLATIONS: Final = """
## Reasons of the policy

A `PolicyDenied` (code `POLICY_DENIED`) carries every reason in `violations`, each with one of these codes, a `message`,
a `next_step`, and, where they are the agent's own, `limit`, `used`, `held`, `attempted`, `remaining` and `retry_at`.

| code | means | next step |
|---|---|---|
"""


def errors_page() -> str:
    """docs/errors.md: the tree, the codes by class, the policy's reasons."""
    tree = "\n".join(tree_lines(AgentPayError))
    rows = "".join(_error_row(cls) for cls in error_classes())
    reasons = "".join(_row(f"`{one.code}`", one.meaning, one.next_step) for one in VIOLATIONS.values())
    return _HEAD.format(tree=tree) + rows + _VIOLATIONS + reasons


def error_classes() -> Iterator[type[AgentPayError]]:
    """Every class that `agentpay.errors` exports, each after its parent."""

    yield AgentPayError
    yield from _below(AgentPayError)


def tree_lines(cls: type[AgentPayError], indent: str = "") -> Iterator[str]:
    """The classes as a tree drawn with lines."""
    if not indent:
        yield cls.__name__
    children = _children(cls)
    for child in children:
        last = child is children[-1]
        yield f"{indent}{'└' if last else '├'}── {child.__name__}"
        yield from tree_lines(child, indent + ("    " if last else "│   ")) if _children(child) else ()


def _below(cls: type[AgentPayError]) -> Iterator[type[AgentPayError]]:
    for child in _children(cls):
        yield child
        yield from _below(child)


def _children(cls: type[AgentPayError]) -> list[type[AgentPayError]]:
    named = (one for one in cls.__subclasses__() if getattr(errors, one.__name__, None) is one)
    return sorted(named, key=lambda one: one.__name__)


def mock_page(text: str) -> str:
    """docs/mock.md with its table made anew; the rest is written by hand."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{mock_script.describe().strip()}\n\n{END}{after}"


def _error_row(cls: type[AgentPayError]) -> str:
    meaning = (inspect.getdoc(cls) or "").partition("\n\n")[0]
    status = CODES[cls.code].status if cls.code in CODES else ""
    retryable = "yes" if cls.retryable else "no"
    return _row(f"`{cls.code}`", f"`{cls.__name__}`", meaning, cls.default_next_step, retryable, status)


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |\n"


def main() -> int:
    """Write both pages."""
    (DOCS / "errors.md").write_text(errors_page(), "utf-8")
    mock = DOCS / "mock.md"
    mock.write_text(mock_page(mock.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
