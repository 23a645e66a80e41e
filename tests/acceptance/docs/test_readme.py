"""The README's first screen and its tables say what is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command

import agentpay
from acceptance.docs.pages import PAGES, ROOT, blocks
from agentpay import PaymentManager
from agentpay_servers.main import app

README = (ROOT / "README.md").read_text("utf-8")

EXTRA_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def masked(text: str) -> str:
    """The text without what is new in each run."""
    text = re.sub(r"\b(pay|apr|sub|ref|use)_[0-9a-f]{24}", r"\1_…", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "<time>", text)


def test_the_transcript_is_the_demos(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agentpay_servers", "demo"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = masked(done.stdout)
    (shown,) = [block.text for block in blocks(ROOT / "README.md") if block.kind == "text transcript"]
    for step in shown.strip("\n").split("\n\n"):
        assert step in said


def test_the_first_screen_says_what_it_is_and_how_to_try_it() -> None:
    screen = "\n".join(README.splitlines()[:20])
    for word in ("payment engine", "LLM agents", "spending policy", "make demo", "make test"):
        assert word in screen


def test_every_command_is_in_the_table() -> None:
    listed = {word for row in section("Commands") for word in re.findall(r"`([a-z]+)`", row.split("|")[1])}
    command = get_command(app)
    assert isinstance(command, TyperGroup)
    assert listed == set(command.commands)


def test_the_names_of_the_announcement_lead_to_names_of_ours() -> None:
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in section("For readers of")[2:]]
    assert len(rows) == 11
    for there, here in rows[:-2]:
        for name in re.findall(r"`(\w+)", here):
            exists = hasattr(PaymentManager, name) or name == "customer"
            assert exists != ("not yet" in here), (there, here)
    for name in re.findall(r"`(\w+)`", rows[-2][0] + rows[-1][0] + rows[-1][1]):
        assert issubclass(getattr(agentpay, name), agentpay.AgentPayError)
    assert issubclass(agentpay.PaymentDeclined, agentpay.PaymentFailed)


def section(title: str) -> list[str]:
    """The rows of the table in a section."""
    text = README.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]
    return [line for line in text.splitlines() if line.startswith("|")]


def test_links_lead_somewhere() -> None:
    pages = [*PAGES, *(ROOT / name for name in EXTRA_PAGES)]
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            path, _, anchor = target.partition("#")
            if path.startswith("http"):
                continue
            found = (page.parent / path) if path else page
            assert found.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor in anchors(found), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """What headings can be linked to."""
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}


def test_no_text_says_to_install_what_belongs_to_somebody_else() -> None:
    for page in [*PAGES, *(ROOT / name for name in EXTRA_PAGES), *ROOT.glob("examples/*.py")]:
        assert not re.search(r"pip install agentpay(?!-engine)\b", page.read_text("utf-8")), page.name
