"""The command in the test's own process, and as the real program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentpay import PaymentManager
from agentpay_servers.main import app
from support.databases import Databases

SECRET = "correct horse battery"


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.out)


Cli = Callable[..., Said]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AGENTPAY_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def cli(here: Path) -> Cli:
    """Runs a command in this process; its exit code is 0 unless `code` says otherwise."""

    def run(*args: str, code: int = 0, **env: str) -> Said:
        result = CliRunner().invoke(app, args, env=env, catch_exceptions=False)
        said = Said(result.exit_code, result.stdout, result.stderr)
        assert said.code == code, said
        return said

    return run


@pytest.fixture
def program(here: Path) -> Cli:
    """Runs the installed program, with no terminal."""

    def run(*args: str, code: int = 0, python: bool = False, **env: str) -> Said:
        start = (
            [sys.executable, "-m", "agentpay_servers"] if python else [str(Path(sys.executable).parent / "agentpay")]
        )
        done = subprocess.run(
            [*start, *args],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **env},
        )
        said = Said(done.returncode, done.stdout, done.stderr)
        assert said.code == code, said
        assert "Traceback" not in said.err
        return said

    return run


@pytest.fixture
def url(databases: Databases, here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh database, which the settings name."""
    made = databases.create("sqlite")
    monkeypatch.setenv("AGENTPAY_DATABASE_URL", made)
    yield made
    databases.drop(made)


@pytest.fixture
def manager(url: str) -> Iterator[PaymentManager]:
    """A manager on that database; the starter policy is active, and `owner` may approve."""
    with PaymentManager(url, policy="starter") as made:
        made.enrol_approver("owner", SECRET)
        yield made
