"""The files that the rules of the house are about."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
FLOORS = ("agentpay", "policies", "tools", "servers")
FROZEN = ROOT / "agentpay" / "storage" / "migrations" / "versions"
"""Migrations are generated, and never changed once they are released: rules about how we write are not for them."""

_NOT_OURS = {"__pycache__", "build", "dist", "node_modules"}


@cache
def files(*roots: str) -> tuple[Path, ...]:
    """Every file below some folders of the repository, or of all of it; nothing hidden, nothing made by tools."""
    starts = [ROOT / root for root in roots] or [ROOT]
    return tuple(sorted(found for start in starts for found in _walk(start)))


def modules(*roots: str) -> list[Path]:
    """The Python modules among them that people write."""
    return [path for path in files(*roots) if path.suffix == ".py" and FROZEN not in path.parents]


@cache
def tree(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text("utf-8"), str(path))


def named(path: Path) -> str:
    """The path within the repository."""
    return path.relative_to(ROOT).as_posix()


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if (path.name.startswith(".") and path.name != ".ci") or path.name in _NOT_OURS:
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path
