"""Running a function in a child of a fork, as another user where needed, and getting its answer."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

NOBODY = 65534


def in_child(fn: Callable[[], T], *, unprivileged: bool = False) -> T:
    """Fork, run `fn` in the child, and return its value here; its exception becomes an AssertionError.

    With `unprivileged`, a child of root becomes nobody first: file modes hold for it.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(fn, writer, unprivileged)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    assert data, "the child died"
    fine, value = pickle.loads(data)
    assert fine, value
    result: T = value
    return result


def _answer(fn: Callable[[], object], writer: int, unprivileged: bool) -> None:
    answer: tuple[bool, object]
    try:
        if unprivileged and os.geteuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        answer = (True, fn())
    except BaseException:
        answer = (False, traceback.format_exc())
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(pickle.dumps(answer))
    os._exit(0)
