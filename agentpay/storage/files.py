"""Making a file that is whole or not there, and that only its owner reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentpay.errors import ConfigurationError


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Make a file: the block writes to the path that it gets, beside the one that is wanted, which appears when the
    block ends well. Nothing is overwritten.

    Raises:
        ConfigurationError: the file is there already, or cannot be made.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        if path.exists():
            raise ConfigurationError(f"{path} is there already.", next_step="Name a file that is not there yet.")
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as exc:
        raise ConfigurationError(
            f"{part} is left from an earlier try, or one is under way.",
            next_step="Where none is under way, remove that file and run it again.",
        ) from exc
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written: {exc.strerror}.") from exc
    try:
        yield part
        part.rename(path)
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written: {exc.strerror}.") from exc
    finally:
        part.unlink(missing_ok=True)
