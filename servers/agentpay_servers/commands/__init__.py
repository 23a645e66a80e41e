"""The commands, one module a group. Each has `register`; the engine is imported inside the commands."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


def group(app: typer.Typer, name: str, text: str, *, default: str | None = None) -> typer.Typer:
    """A group of commands. With `default`, what is no command of the group is the first argument of that one."""

    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if default is not None and args and args[0] not in (*self.commands, "--help"):
                args = [default, *args]
            return super().parse_args(ctx, args)

    made = typer.Typer(name=name, help=text, cls=Group, rich_markup_mode=None)
    app.add_typer(made)
    return made
