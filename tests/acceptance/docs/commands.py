"""Runs commands of `agentpay` one after the other, each in a process of its own that has the imports already.

    python commands.py '[["plans", "list"], ["doctor"]]'

prints a JSON list with each one's exit code and what it said. Starting Python for each would take most of the time.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence


def run(arguments: Sequence[str]) -> tuple[int, str]:
    """One command: its exit code, and its two streams together."""
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            sys.argv = ["agentpay", *arguments]
            code = 70
            try:
                main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 0
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read()


if __name__ == "__main__":
    import agentpay.manager
    import agentpay.settings  # noqa: F401 - as the line before: only to have them loaded
    from agentpay_servers.main import main

    print(json.dumps([run(arguments) for arguments in json.loads(sys.argv[1])]))
