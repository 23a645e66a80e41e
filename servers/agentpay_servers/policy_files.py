"""Reading a policy file as a person's command does: what anybody could have changed is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from agentpay_policies.errors import ConfigurationError, Fault, PolicyError
from agentpay_policies.files import ready_file, ready_names
from agentpay_policies.loader import load_policy
from agentpay_policies.policy import Policy

ACTIVE: Final = "active"
"""The word that stands for the policy by which the database decides; a file of that name is written ./active."""

_MOST_BYTES: Final = 2_000_000
"""More than the loader takes: what is larger is not read as a whole."""


def read_policy_file(name: str) -> Policy:
    """The policy of a file, or of a ready one by its name.

    Raises:
        ConfigurationError: there is no such file, or it cannot be read.
        PolicyError: it is no policy, with every fault; or everybody may write it.
    """
    path = Path(name).expanduser().absolute()
    if not path.exists() and name in ready_names():
        return load_policy(ready_file(name))
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_BYTES)
    except FileNotFoundError:
        ready = ", ".join(ready_names())
        raise ConfigurationError(
            f"There is no policy file {path}.", next_step=f"Give the path of one, or the name of a ready one: {ready}."
        ) from None
    except OSError as exc:
        raise ConfigurationError(f"The policy file {path} cannot be read: {exc.strerror}.") from None
    if mode & stat.S_IWOTH:
        message = "everybody on this machine may write the file, the agent too"
        raise PolicyError(
            f"{path}: {message}.", faults=[Fault(0, "", message)], next_step=f"Look it over, then: chmod o-w {path}"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise PolicyError(f"{path} is no UTF-8 text.", faults=[Fault(0, "", "this is no UTF-8 text")]) from None
    return load_policy(text)
