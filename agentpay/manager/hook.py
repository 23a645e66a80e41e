"""The operator's command that tells people what waits for them: AGENTPAY_APPROVAL_HOOK."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from typing import Final

from agentpay.errors import ConfigurationError
from agentpay.spending.cards import Card

logger = logging.getLogger(__name__)

PATIENCE: Final = 10.0
"""Seconds that a command may take."""

MOST_AT_ONCE: Final = 16
"""How many commands may run at the same time: an agent asks faster than a slow command tells."""

_PASSED_ON: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT",
     "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"}
)  # fmt: skip
_PREFIXES: Final = ("LC_", "HOOK_")


class CommandHook:
    """A callback that runs the operator's command with the card as JSON on its standard input.

    It runs beside the call, without a shell, with what it prints thrown away, with none of this process's secrets in
    its environment, and is ended with all that it started after `patience` seconds.

    Raises:
        ConfigurationError: the line is no command, or there is no such program.
    """

    def __init__(self, line: str, *, environment: Mapping[str, str] | None = None, patience: float = PATIENCE) -> None:
        try:
            self._words = shlex.split(line)
        except ValueError as exc:
            raise ConfigurationError(f"AGENTPAY_APPROVAL_HOOK is no command line: {exc}.") from None
        self._environment = harmless(os.environ if environment is None else environment)
        if not self._words or shutil.which(self._words[0], path=self._environment.get("PATH")) is None:
            raise ConfigurationError("AGENTPAY_APPROVAL_HOOK names no program that can be run.")
        self._patience = patience
        self._free = threading.BoundedSemaphore(MOST_AT_ONCE)

    def __call__(self, card: Card) -> None:
        """Start the command, and see to its end in a thread of its own, which a program waits for before it exits."""
        if not self._free.acquire(blocking=False):
            logger.error("the approval hook is too slow: it was not told of %s", card.id)
            return
        threading.Thread(target=self._run, args=(card,), name="agentpay-approval-hook").start()

    def _run(self, card: Card) -> None:
        try:
            self._wait(card)
        finally:
            self._free.release()

    def _wait(self, card: Card) -> None:
        text = json.dumps(card.as_data(), ensure_ascii=True).encode("ascii")
        try:
            process = subprocess.Popen(  # noqa: S603 - as above; nothing of it comes from an agent
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as exc:
            logger.error("the approval hook was not started for %s: %s", card.id, exc.strerror)
            return
        try:
            process.communicate(text, timeout=self._patience)
        except subprocess.TimeoutExpired:
            _end(process)
            logger.error("the approval hook was ended after %g s for %s", self._patience, card.id)
            return
        if process.returncode:
            logger.error("the approval hook ended with %d for %s", process.returncode, card.id)


def harmless(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment is passed on: what a program needs to run, and what begins with HOOK_."""
    return {name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_PREFIXES)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
