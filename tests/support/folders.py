"""Where the databases of the tests lie."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_ROOM = 2 * 1024**3


def quick_folder() -> Path:
    """The folder for temporary files, in memory where the system has a file system for that.

    On a busy disk making the 300 files of a PostgreSQL database took 0.4 s; SQLite waits at each commit.
    """
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM
    return memory if roomy else Path(tempfile.gettempdir())
