"""`agentpay demo`: the main job, end to end, on a database of its own that is removed afterwards.

An agent's calls go through a real MCP client to a real server process; the operator acts in between, on the same
database. Each step says what it expects, and so does the look into the books at the end.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentpay_servers.output import print_json

if TYPE_CHECKING:
    from agentpay_servers.demo.story import Told

_DONE: Final = 0
_WENT_WRONG: Final = 1


def run(*, json: bool = False, provider: str = "mock") -> int:
    """Run the demo and print its transcript, or the same as JSON. The exit code is 0 only if all came as expected.

    Raises:
        ConfigurationError: there is no demo of that provider, or it would move real money.
    """
    if provider == "crypto":
        return _on_chain(json)
    import anyio

    from agentpay_servers.demo.stages import staged
    from agentpay_servers.demo.story import tell
    from agentpay_servers.demo.transcript import Transcript

    transcript = None if json else Transcript()
    with tempfile.TemporaryDirectory(prefix="agentpay-demo-") as folder:
        told = anyio.run(tell, Path(folder), transcript, staged(provider))
    if json:
        print_json(_data(told))
    return _DONE if told.ok else _WENT_WRONG


def _on_chain(json: bool) -> int:
    from agentpay_servers.demo.chain import tell
    from agentpay_servers.demo.transcript import Transcript

    with tempfile.TemporaryDirectory(prefix="agentpay-demo-") as folder:
        told = tell(Path(folder), None if json else Transcript())
    if json:
        print_json(told.data())
    return _WENT_WRONG if told.wrong else _DONE


def _data(told: Told) -> dict[str, object]:
    return {
        "ok": told.ok,
        "wrong": told.wrong,
        "server": told.server,
        "steps": [step.data() for step in told.steps],
        "books": told.books.data(),
    }
