"""Asking a person for secrets: hidden, and never from a pipe where a new one is chosen."""

from __future__ import annotations

import getpass
import sys
from typing import Final

from agentpay_policies.errors import ConfigurationError
from agentpay_servers.output import hint

_TRIES: Final = 3
_SHORTEST: Final = 12
"""As the engine has it: said here before anybody types twice in vain."""


def on_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def new_secret(name: str) -> str:
    """A new secret of an approver, asked for twice.

    Raises:
        ConfigurationError: there is no terminal, or it was not given twice alike.
    """
    _need_terminal("A new secret is chosen by a person on a terminal.")
    for _ in range(_TRIES):
        secret = getpass.getpass(f"New secret for {name} (at least {_SHORTEST} characters, not shown): ")
        if len(secret) < _SHORTEST:
            hint(f"That has fewer than {_SHORTEST} characters.")
        elif getpass.getpass("The same again: ") == secret:
            return secret
        else:
            hint("The two are not the same.")
    raise ConfigurationError("No secret was chosen.", next_step="Run the command again.")


def known_secret(name: str) -> str:
    """The secret of an approver: AGENTPAY_APPROVER_SECRET, else asked for.

    Raises:
        ConfigurationError: it is not set, and there is no terminal.
    """
    from agentpay.settings import load_settings

    given = load_settings().approver_secret
    if given is not None:
        return given.get_secret_value()
    return typed_secret(name)


def typed_secret(name: str) -> str:
    """The secret of an approver, asked for.

    Raises:
        ConfigurationError: there is no terminal.
    """
    _need_terminal(f"The secret of {name} is asked for on a terminal.")
    return getpass.getpass(f"Secret of {name} (not shown): ")


def _need_terminal(why: str) -> None:
    if not on_terminal():
        raise ConfigurationError(
            why,
            next_step="Run it on a terminal; where an approver's own secret is asked, AGENTPAY_APPROVER_SECRET works.",
        )
