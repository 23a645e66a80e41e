"""The ready policy files: `policies/*.yaml` of the source tree, which the wheel carries inside this package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentpay_policies.errors import ConfigurationError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,59}\Z")


def ready_names() -> tuple[str, ...]:
    """The names of the ready policies."""
    names = {
        path.name.removesuffix(".yaml")
        for place in _places()
        if place.is_dir()
        for path in place.iterdir()
        if path.name.endswith(".yaml")
    }
    return tuple(sorted(names))


def ready_file(name: str) -> str:
    """The text of a ready policy.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if _NAME.match(name):
        for place in _places():
            if (found := place / f"{name}.yaml").is_file():
                return found.read_text(encoding="utf-8")
    raise ConfigurationError(
        f"There is no ready policy {name[:60]!a}; there is: {', '.join(ready_names()) or 'none'}.",
        next_step="Use one of these names, or the path of a policy file.",
    )


def _places() -> tuple[Traversable, ...]:
    """Where they are looked for: the packed copy first, then the folder that holds this package in the source tree."""
    from importlib.resources import files

    return files("agentpay_policies") / "files", Path(__file__).parent.parent
