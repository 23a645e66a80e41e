"""The committed contract: `tools/schemas/<tool>.json`, one file a tool, in the wheel under `agentpay_tools/files`.

`python -m agentpay_tools.snapshot` writes the files anew, and docs/tools.md; a test fails where they differ from the
catalog, so that no change of what agents see goes unseen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from agentpay.errors import ConfigurationError
from agentpay_policies.names import ToolName
from agentpay_tools import reference
from agentpay_tools.catalog import CATALOG
from agentpay_tools.render import contract

_TREE = Path(__file__).resolve().parents[2]


def rendered() -> Mapping[str, str]:
    """The text of each schema file by its name."""
    return {
        f"{spec.name}.json": json.dumps(contract(spec), indent=2, ensure_ascii=False) + "\n"
        for spec in CATALOG.values()
    }


def committed(name: ToolName) -> str:
    """The committed schema file of a tool: the packed copy, else the source tree's.

    Raises:
        ConfigurationError: this installation carries none.
    """
    places: tuple[Traversable, ...] = (files("agentpay_tools") / "files" / "schemas", _TREE / "tools" / "schemas")
    for place in places:
        if (found := place / f"{name}.json").is_file():
            return found.read_text(encoding="utf-8")
    raise ConfigurationError(f"This installation carries no schema of {name}.")


def main(tree: Path = _TREE) -> int:
    """Write the schema files and docs/tools.md into a source tree; other files among the schemas are removed."""
    folder = tree / "tools" / "schemas"
    if not folder.is_dir():
        sys.stderr.write(f"{folder} is no folder: run this in the source tree.\n")
        return 2
    texts = rendered()
    for old in folder.glob("*.json"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (tree / "docs").mkdir(exist_ok=True)
    (tree / "docs" / "tools.md").write_text(reference.page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
