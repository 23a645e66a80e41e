"""Every snippet of the README and of docs/ is run, loaded, or checked against the command it names."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from acceptance.docs.pages import KNOWN, PAGES, ROOT, Block, blocks, of_kind, program
from agentpay_policies.loader import load_policy
from agentpay_policies.policy import Policy

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
        script = tmp_path / f"{page.stem}.py"
        script.write_text(text, "utf-8")
        run([sys.executable, "-W", "error", script.name], tmp_path, 0, page.name)
    for block in blocks(page):
        if block.kind == "sh":
            for command in block.commands():
                run_command(command, tmp_path, block.where)


def run_command(command: str, folder: Path, where: str) -> None:
    """Run `agentpay …`; of what else stands in shell blocks, see that it exists."""
    line, _, comment = command.partition("  #")
    words = shlex.split(line)
    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text("utf-8"), where
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), where
    elif words[0] == "export":
        pytest.fail(f"{where}: a shell block cannot export; write it in text")
    else:
        assert words[0] == "agentpay", f"{where}: {command}"
        expected = int(found.group(1)) if (found := re.search(r"exit (\d)", comment)) else 0
        run(words, folder, expected, where)


def run(words: list[str], folder: Path, expected: int, where: str) -> None:
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == expected, f"{where}: {shlex.join(words)}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("block", of_kind("sh names"), ids=ids)
def test_the_named_commands_exist(block: Block, tmp_path: Path) -> None:
    """The words up to the first value are a command, and its help has every option."""
    for command in block.commands():
        words = shlex.split(command.partition("  #")[0])
        assert words[0] == "agentpay", block.where
        verbs = [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]
        options = [word for word in words if word.startswith("--")]
        shown = subprocess.run(
            ["agentpay", *verbs[:2], "--help"] if len(verbs) > 1 else ["agentpay", verbs[0], "--help"],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert shown.returncode == 0, f"{block.where}: {command}\n{shown.stderr}"
        for option in options:
            assert option in shown.stdout, f"{block.where}: {command}: no {option}"


@pytest.mark.parametrize("block", of_kind("yaml"), ids=ids)
def test_policies_load(block: Block) -> None:
    assert load_policy(block.text).agents


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
    assert isinstance(load_policy(of_kind("yaml")[0].text), Policy)
