"""Where a server's database and policy are, in words and in the JSON that MCP clients start servers by.

A client starts the server from a folder of its own choice and passes few variables on: everything is absolute. And the
JSON is a file that people copy and commit: no secret is written into it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentpay.errors import ConfigurationError
from agentpay_policies.files import ready_names

if TYPE_CHECKING:
    from sqlalchemy import URL

_SECRET_QUERIES: Final = frozenset({"password", "sslpassword", "passfile"})


def client_config(
    agent: str,
    *,
    database_url: str,
    policy: str | None = None,
    providers: Sequence[str] = (),
    live: bool = False,
    interpreter: str | None = None,
) -> dict[str, Any]:
    """The JSON with which an MCP client starts the server of one agent.

    A password in the database URL is left out: give it to the server by PGPASSWORD or a .pgpass file. A provider's
    keys are left out too.

    Raises:
        ConfigurationError: the URL is none, or there is no such policy file.
    """
    env = {"AGENTPAY_DATABASE_URL": without_password(absolute_url(database_url))}
    if policy is not None:
        env["AGENTPAY_POLICY"] = policy_path(policy)
    if providers:
        env["AGENTPAY_PROVIDERS"] = ",".join(providers)
    if live:
        env["AGENTPAY_LIVE"] = "1"
    command = str(Path(interpreter or sys.executable).absolute())  # not resolved: a venv's python is a link out of it
    server = {"command": command, "args": ["-m", "agentpay_servers", "mcp", "--agent", agent], "env": env}
    return {"mcpServers": {"agentpay": server}}


def policy_path(policy: str) -> str:
    """The full path of a policy file, which may be given by the name of a ready one.

    Raises:
        ConfigurationError: there is no such file; the message has its full path.
    """
    path = Path(policy).expanduser().absolute()
    if path.is_file():
        return str(path)
    if policy in ready_names():
        return _ready_path(policy)
    raise ConfigurationError(
        f"There is no policy file {path}.",
        next_step=f"Make one with `agentpay init`, or use a ready one: {', '.join(ready_names())}.",
    )


def _ready_path(name: str) -> str:
    # As `agentpay_policies.files` looks for it: the packed copy, else the source tree.
    package = Path(str(files("agentpay_policies")))
    packed = package / "files" / f"{name}.yaml"
    return str(packed if packed.is_file() else package.parent / f"{name}.yaml")


def absolute_url(database_url: str) -> str:
    """The URL with the full path where it names a file.

    Raises:
        ConfigurationError: it is no URL.
    """
    if database_url == "memory://":
        return database_url
    url = _parsed(database_url)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        url = url.set(database=str(Path(url.database).absolute()))
    return url.render_as_string(hide_password=False)


def without_password(database_url: str) -> str:
    """The URL as it may be shown and stored.

    Raises:
        ConfigurationError: it is no URL.
    """
    if database_url == "memory://":
        return database_url
    url = _parsed(database_url)
    query: Mapping[str, Any] = {key: value for key, value in url.query.items() if key not in _SECRET_QUERIES}
    bare = type(url).create(
        url.drivername, username=url.username, host=url.host, port=url.port, database=url.database, query=query
    )
    return bare.render_as_string(hide_password=False)


def _parsed(database_url: str) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(database_url)
    except (ArgumentError, ValueError):
        # The URL is not repeated, nor is the cause shown: a password may stand in both.
        text = "The database URL is none: use memory://, sqlite:///file or postgresql://…"
        raise ConfigurationError(text) from None
