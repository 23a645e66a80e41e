"""What loading the libraries of a chain does to the process: nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

DEEP = """
import json, sys
limit = sys.getrecursionlimit()
{load}
assert sys.getrecursionlimit() == limit, sys.getrecursionlimit()
try:
    json.loads("[" * 100_000)
except RecursionError:
    print("refused")
"""


@pytest.mark.parametrize(
    "load",
    [
        "import agentpay.providers.crypto.provider",
        "from agentpay.testing.chain import LocalChain; chain = LocalChain(); chain.token('USDT'); chain.mine(2)",
    ],
    ids=["the provider", "the local chain"],
)
def test_a_deeply_nested_text_is_refused_and_does_not_end_the_process(load: str) -> None:
    """The naive counterpart is what the library alone does: the limit is so high that the C stack ends first."""
    done = subprocess.run([sys.executable, "-c", DEEP.format(load=load)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
    naive = subprocess.run(
        [sys.executable, "-c", "import sys, eth_account; print(sys.getrecursionlimit())"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert int(naive.stdout) > 10_000
