"""Every snippet of the README and of docs/ is run, loaded, or checked against the command it names."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
import yaml

from acceptance.docs.pages import KNOWN, PAGES, ROOT, Block, blocks, of_kind, program
from agentpay_policies.loader import load_policy
from agentpay_servers.plan_files import read_plans

DRIVER = Path(__file__).parent / "commands.py"

AGENT = "version: 1\nid: page\nagents:\n  bot:\n"
AFTER = 'approvers:\n  finance: {members: [olga, hugo]}\nlists:\n  vendors: ["stripe:acct_1A2b3C"]\n'
BUDGETS = 'budgets:\n  team: {limits: [{id: day, amount: "100.00 USD", window: {rolling: 24h}}]}\n'

RUNNABLE = [page for page in PAGES if program(page) or any(block.kind == "sh" for block in blocks(page))]


def ids(block: Block) -> str:
    return block.where


def environment(folder: Path) -> dict[str, str]:
    """That of a person who has set nothing, with the commands of this environment first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENTPAY_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}", "HOME": str(folder)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    assert [block.where for block in blocks(page) if block.kind not in KNOWN] == []


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_python_and_shell_run(page: Path, tmp_path: Path) -> None:
    """The page's files first, then its Python, then its commands: all in one folder."""
    for block in blocks(page):
        if block.kind == "yaml" and (name := re.match(r"# ([\w-]+\.yaml)\b", block.text)):
            (tmp_path / name.group(1)).write_text(block.text, "utf-8")
    if text := program(page):
        script = tmp_path / f"page_{page.stem}.py"  # not the name of a library: it would be imported instead
        script.write_text(text, "utf-8")
        run([sys.executable, "-W", "error", script.name], tmp_path, 0, page.name)
    calls = [call for block in blocks(page) if block.kind == "sh" for call in agentpay_calls(block)]
    done = run([sys.executable, str(DRIVER), json.dumps([words for words, _, _ in calls])], tmp_path, 0, page.name)
    for (words, expected, where), (code, said) in zip(calls, json.loads(done), strict=True):
        assert code == expected, f"{where}: agentpay {shlex.join(words)}\n{said}"


def agentpay_calls(block: Block) -> Iterator[tuple[list[str], int, str]]:
    """The calls of `agentpay` in a shell block, each with its exit code; of what else stands there, that it exists."""
    for command in block.commands():
        line, _, comment = command.partition("  #")
        first, *words = shlex.split(line)
        if first == "make":
            assert f"\n{words[0]}:" in (ROOT / "Makefile").read_text("utf-8"), block.where
        elif first == "python":
            assert (ROOT / words[0]).is_file(), block.where
        else:
            assert first == "agentpay", f"{block.where}: {command}"
            found = re.search(r"exit (\d)", comment)
            yield words, int(found.group(1)) if found else 0, block.where


def run(words: list[str], folder: Path, expected: int, where: str) -> str:
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == expected, f"{where}: {shlex.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("block", of_kind("sh names"), ids=ids)
def test_the_named_commands_exist(block: Block, tmp_path: Path) -> None:
    """The words up to the first value are a command, and its help has every option."""
    calls = [shlex.split(command.partition("  #")[0])[1:] for command in block.commands()]
    helps = [[*_verbs(words), "--help"] for words in calls]
    done = json.loads(run([sys.executable, str(DRIVER), json.dumps(helps)], tmp_path, 0, block.where))
    for words, (code, said) in zip(calls, done, strict=True):
        assert code == 0, f"{block.where}: {words}\n{said}"
        for option in (word for word in words if word.startswith("--")):
            assert option in said, f"{block.where}: {words}: no {option}"


def _verbs(words: list[str]) -> list[str]:
    return list(takewhile(lambda word: re.fullmatch(r"[a-z][a-z-]*", word), words))


@pytest.mark.parametrize("block", of_kind("yaml"), ids=ids)
def test_policies_load(block: Block) -> None:
    assert load_policy(block.text).agents


@pytest.mark.parametrize("block", of_kind("yaml plans"), ids=ids)
def test_plans_load(block: Block, tmp_path: Path) -> None:
    (tmp_path / "plans.yaml").write_text(block.text, "utf-8")
    assert read_plans(str(tmp_path / "plans.yaml"))


@pytest.mark.parametrize("block", of_kind("yaml agent"), ids=ids)
def test_parts_of_policies_load(block: Block) -> None:
    """The part, with whatever of an entry it does not say itself."""
    assert load_policy(whole(block.text)).agents


def whole(part: str) -> str:
    """A policy around a part of an agent's entry."""
    given = set(yaml.safe_load(part))
    usual = {
        "tools": "[charge, subscribe, record_usage, refund]",
        "providers": "{allow: [mock]}",
        "currencies": "{allow: [USD]}",
        "customers": '{allow: ["*"]}',
        "payees": "{allow: [self]}",
        "charge": '{per_transaction: {max: "50.00 USD"}}',
    }
    entry = [f"    {name}: {value}" for name, value in usual.items() if name not in given]
    entry += [f"    {line}" for line in part.splitlines()]
    return AGENT + "\n".join(entry) + "\n" + AFTER + BUDGETS


def test_the_policies_of_the_pages_are_not_empty() -> None:
    """The guard of the guards: what is collected is there."""
    assert len(of_kind("yaml")) >= 2
    assert len(of_kind("yaml agent")) >= 5
    assert len([page for page in PAGES if program(page)]) >= 4
    assert of_kind("yaml plans")
