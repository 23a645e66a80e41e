"""`make test-live`: gets anvil, a real Ethereum node for tests, from npm, and runs the tests of this folder against it.

Where Node or anvil cannot be had it prints NOT RUN and why; where CI is set, that is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ANVIL = "@foundry-rs/anvil@1.7.1"
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".live"


def main() -> int:
    """Run the tests, or say why they are not run."""
    found = program()
    if isinstance(found, str):
        print(f"live tests NOT RUN: {found}", flush=True)
        return 1 if os.environ.get("CI", "").lower() in ("1", "true") else 0
    print(f"live tests against {found.relative_to(ROOT)}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "tests/live"]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "AGENTPAY_ANVIL": str(found)}, check=False).returncode


def program() -> Path | str:
    """The program anvil, or why there is none."""
    there = installed()
    if there is not None:
        return there
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "Node with npm is not installed"
    FOLDER.mkdir(exist_ok=True)
    command = [npm, "install", "--prefix", str(FOLDER), "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        done = subprocess.run([*command, ANVIL], capture_output=True, text=True, timeout=180, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"npm could not install {ANVIL}: {type(exc).__name__}"
    return installed() or f"npm could not install {ANVIL}: {' '.join(done.stderr.split())[-200:] or done.returncode}"


def installed() -> Path | None:
    """The program for this machine, where npm has put it."""
    made = sorted(FOLDER.glob("node_modules/@foundry-rs/anvil-*/bin/anvil*"))
    return made[0] if made else None


if __name__ == "__main__":
    sys.exit(main())
