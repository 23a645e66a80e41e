"""Tries the installed wheel: run by the interpreter of an environment that has the wheel and no source tree.

    .venv-wheel/bin/python -I tests/acceptance/wheel/check_wheel.py

It runs the command from an empty folder, and looks at what the wheel carries. Standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import resources, util
from importlib.metadata import files, version
from pathlib import Path

PACKAGES = ("agentpay", "agentpay_policies", "agentpay_tools", "agentpay_servers")
CARRIED = (
    "agentpay/py.typed",
    "agentpay/storage/migrations/versions/0001_initial.py",
    "agentpay_policies/files/metered-api.yaml",
    "agentpay_policies/files/pocket-allowance.yaml",
    "agentpay_policies/files/policy.schema.json",
    "agentpay_policies/files/starter.yaml",
    "agentpay_policies/files/support-refunds.yaml",
    "agentpay_policies/files/team-budget.yaml",
    "agentpay_policies/files/treasury.yaml",
    "agentpay_policies/py.typed",
    "agentpay_servers/py.typed",
    "agentpay_tools/files/schemas/charge.json",
    "agentpay_tools/py.typed",
)


def main() -> int:
    """Check everything; the first thing that is wrong ends it."""
    check_places()
    check_carried()
    with tempfile.TemporaryDirectory() as folder:
        check_commands(Path(folder))
    print("wheel: everything is there and works")
    return 0


def check_places() -> None:
    """Every package comes from this environment, and none that should not be there came with it."""
    for name in PACKAGES:
        spec = util.find_spec(name)
        if spec is None or spec.origin is None or not Path(spec.origin).is_relative_to(sys.prefix):
            fail(f"{name} does not come from the wheel: {spec and spec.origin}")
    for name in ("tools", "servers", "policies", "tests", "examples"):
        if util.find_spec(name) is not None:
            fail(f"the wheel puts a package {name} into site-packages")


def check_carried() -> None:
    """What is not Python code is in the wheel too, and opens."""
    carried = {str(path) for path in files("agentpay-engine") or ()}
    for path in CARRIED:
        if path not in carried:
            fail(f"the wheel lacks {path}")
    starter = resources.files("agentpay_policies") / "files" / "starter.yaml"
    if "id: starter" not in starter.read_text("utf-8"):
        fail("the packed starter policy is not the starter policy")
    for name in carried:
        if name.startswith("agentpay_tools/files/schemas/"):
            schema = resources.files("agentpay_tools") / "files" / "schemas" / Path(name).name
            json.loads(schema.read_text("utf-8"))


def check_commands(folder: Path) -> None:
    """The real command, from a folder that is not ours."""
    shown = run(folder, "--version")
    if version("agentpay-engine") not in shown:
        fail(f"agentpay --version says {shown!r}")
    run(folder, "policy", "check", "starter")
    story = json.loads(run(folder, "demo", "--json"))
    if story["ok"] is not True:
        fail(f"the demo went wrong: {story.get('wrong')}")
    left = sorted(path.name for path in folder.iterdir())
    if left:
        fail(f"the commands left files behind: {left}")


def run(folder: Path, *arguments: str) -> str:
    """What `agentpay …` prints; whatever is not success is a failure of the check."""
    command: Sequence[str] = (str(Path(sys.executable).parent / "agentpay"), *arguments)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENTPAY_")}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    if done.returncode != 0:
        fail(f"agentpay {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    print(f"wheel: agentpay {' '.join(arguments)}: done")
    return done.stdout


def fail(why: str) -> None:
    """End with exit code 1."""
    sys.exit(f"wheel: {why}")


if __name__ == "__main__":
    sys.exit(main())
