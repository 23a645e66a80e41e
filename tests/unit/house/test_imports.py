"""What importing AgentPay loads, and how long it takes: both measured in interpreters of their own.

`import agentpay` loads next to nothing: each exported name loads its module when it is first asked for.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

# Heavy, or only for some: each is imported where it is used.
NOT_LOADED = {
    "agentpay_servers", "agentpay_tools", "alembic", "anyio", "dotenv", "eth_hash", "greenlet", "httpx", "idna",
    "iso4217", "jsonschema", "langchain", "langchain_core", "langgraph", "mako", "mcp", "opentelemetry",
    "paypalrestsdk", "paypalserversdk", "psycopg", "psycopg_binary", "pydantic_settings", "pytest", "requests", "rich",
    "starlette", "stripe", "tomllib", "typer", "uvicorn", "web3", "yaml",
}  # fmt: skip

# What all exported names together may load beside what sqlmodel does: a new one is a decision.
LOADED = {"_sqlite3", "agentpay", "agentpay_policies", "portalocker", "sqlite3", "unicodedata"}

SECONDS_OVER_SQLMODEL = 0.2
SECONDS_OF_SQLMODEL = 0.33
"""What `import sqlmodel` takes on the machine for which the bound above was written."""


def test_import_agentpay_loads_nothing_of_others() -> None:
    others = {"agentpay_policies", "sqlalchemy", "sqlmodel", "pydantic", "sqlite3"}
    assert _loaded("import agentpay") & (NOT_LOADED | others) == set()


def test_all_that_agentpay_exports_does_not_load_what_is_heavy() -> None:
    assert _loaded("from agentpay import *") & NOT_LOADED == set()


def test_all_that_agentpay_exports_loads_little_beside_sqlmodel() -> None:
    assert _loaded("from agentpay import *") - _loaded("import sqlmodel") <= LOADED


def test_import_of_the_ground_floor_loads_no_other_floor() -> None:
    floors = {"agentpay", "agentpay_tools", "agentpay_servers", "sqlalchemy", "sqlmodel", "pydantic"}
    assert _loaded("import agentpay_policies") & floors == set()


@pytest.mark.slow
def test_import_agentpay_takes_at_most_a_fifth_of_a_second_over_sqlmodel() -> None:
    """The best of several, in processor time: on a slower machine the bound grows as the import of sqlmodel does."""
    times = [_seconds() for _ in range(5)]
    base, ours = min(base for base, _ in times), min(ours for _, ours in times)
    assert ours <= SECONDS_OVER_SQLMODEL * max(1.0, base / SECONDS_OF_SQLMODEL), f"{ours:.3f} s over {base:.3f} s"


def _loaded(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(_run(code).split())


def _seconds() -> tuple[float, float]:
    """Processor time of `import sqlmodel`, and of `import agentpay` after it."""
    clock = "time.process_time()"
    code = f"import time\na = {clock}\nimport sqlmodel\nb = {clock}\nimport agentpay\nprint(b - a, {clock} - b)"
    base, ours = _run(code).split()
    return float(base), float(ours)


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout
