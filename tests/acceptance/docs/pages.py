"""The pages that people read, and the fenced blocks in them.

What stands behind the three backticks says how a block is tested:

| fence | tested so |
|---|---|
| `python` | the blocks of a page run in order, as one program, in an empty folder |
| `yaml` | a whole policy file: loaded |
| `yaml agent` | part of one agent's entry: loaded within a policy |
| `yaml plans` | a file of plans: read as `agentpay plans create` reads it |
| `sh` | each line runs, in order, in the same folder as the page's Python, and ends with 0, or as `# exit 1` says |
| `sh names` | has values of the reader's own in capitals: each command and option exists |
| `text`, `json`, `toml` | not run; `text transcript` is compared with the demo |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
KNOWN: Final = frozenset(
    {"python", "yaml", "yaml agent", "yaml plans", "sh", "sh names", "text", "text transcript", "json", "toml"}
)

_FENCE: Final = re.compile(r"^```(.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its first line of text, from 1."""

    page: Path
    kind: str
    line: int
    text: str

    @property
    def where(self) -> str:
        """For messages and test ids: `README.md:12`."""
        return f"{self.page.name}:{self.line}"

    def commands(self) -> list[str]:
        """The lines of a shell block that are commands, with what a backslash joins."""
        joined = self.text.replace("\\\n", " ")
        return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page."""
    found: list[Block] = []
    kind: str | None = None
    start = 0
    lines: list[str] = []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence is None:
            lines.append(line)
        elif kind is None:
            kind, start, lines = fence.group(1).strip(), number + 1, []
        else:
            found.append(Block(page, kind, start, "\n".join(lines) + "\n"))
            kind = None
    assert kind is None, f"{page.name}: a fence is not closed"
    return found


def of_kind(*kinds: str) -> list[Block]:
    """The blocks of such kinds on all pages."""
    return [block for page in PAGES for block in blocks(page) if block.kind in kinds]


def program(page: Path) -> str:
    """The Python blocks of a page as one program, each line where it stands on the page, so that errors name it."""
    lines: list[str] = []
    for block in blocks(page):
        if block.kind == "python":
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.text.splitlines()
    return "\n".join(lines) + "\n" if lines else ""
