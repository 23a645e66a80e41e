"""`agentpay demo --provider crypto`, and what it says without the test chain; `make test-live` without Node."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from agentpay.errors import ConfigurationError
from agentpay.testing.chain import LocalChain
from agentpay_servers.demo import chain, run

ROOT = Path(__file__).resolve().parents[3]


def test_the_whole_story_comes_out_as_expected(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "agentpay_servers", "demo", "--provider", "crypto", "--json"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["ok"] and len(told["steps"]) == 11
    assert [step["answer"] for step in told["steps"]] == [step["expected"] for step in told["steps"]]
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_answer_is_named_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(chain._EXPECTED, "vendor has", "31.00 USDT")
    assert run(provider="crypto") == 1
    assert "WRONG: the books: vendor has is '30.00 USDT', expected '31.00 USDT'" in capsys.readouterr().out


def test_without_the_test_chain_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agentpay.testing.tester", None)
    with pytest.raises(ConfigurationError) as caught:
        LocalChain()
    assert "is not installed" in str(caught.value)
    assert "web3[tester]" in caught.value.next_step


@pytest.fixture
def live() -> ModuleType:
    """tests/live/run.py, which is no package of the tests here."""
    spec = importlib.util.spec_from_file_location("live_run", ROOT / "tests" / "live" / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("1", 1), ("true", 1)])
def test_live_tests_without_node_say_not_run_and_fail_in_ci(
    live: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    ci: str,
    code: int,
) -> None:
    monkeypatch.setattr(live, "FOLDER", tmp_path / ".live")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    assert live.main() == code
    assert capsys.readouterr().out == "live tests NOT RUN: Node with npm is not installed\n"
