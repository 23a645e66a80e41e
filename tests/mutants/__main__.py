"""Puts each mutant into a copy of the code and runs its test there: it must fail. Exit code 1 where one survives."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from mutants import Mutant, engine, policies

MUTANTS: Final = (*policies.MUTANTS, *engine.MUTANTS)
ROOT: Final = Path(__file__).parents[2]
FLOORS: Final = ("policies", "tools", "servers")
"""The folders that hold one package each; the engine's own is the package `agentpay` of the repository itself."""

PURE: Final = ("tests/unit/policies/", "tests/unit/ground/")
AT_ONCE: Final = 2


def main(names: list[str]) -> int:
    """Run the mutants of these names, or all."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if unknown := set(names) - {mutant.name for mutant in MUTANTS}:
        print(f"There is no mutant {', '.join(sorted(unknown))}.")
        return 2
    tests = sorted({mutant.tests for mutant in chosen})
    if (sound := _tests(ROOT, tests)).returncode:
        print(f"The tests fail without any mutant:\n{sound.stdout}{sound.stderr}")
        return 1
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(verdict, chosen))
    for mutant, said in zip(chosen, verdicts, strict=True):
        print(f"{said:9} {mutant.name}")
    alive = [said for said in verdicts if said != "killed"]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} mutants killed.")
    return 1 if alive else 0


def verdict(mutant: Mutant) -> str:
    """`killed` where its test fails, `survived` where it passes, `stale` where its text is not there once."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        floor = mutant.file.partition("/")[0]
        shutil.copytree(ROOT / floor, place / floor, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        path = place / mutant.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if text.count(mutant.before) != 1:
            return "stale"
        path.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
        # 1: tests failed. Anything else but 0, such as 4 for a test that is not there, says nothing.
        return {0: "survived", 1: "killed"}.get(_tests(place, [mutant.tests]).returncode, "stale")


def _tests(code: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of the repository against the code of a folder; what is not there is the repository's own."""
    paths = [str(place) for home in dict.fromkeys((code, ROOT)) for place in (home, *(home / name for name in FLOORS))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", "-m", "not slow"]
    if all(test.startswith(PURE) for test in tests):
        options.append("--noconftest")  # the fixtures open databases, which these need not wait for
    command = [sys.executable, "-P", "-m", "pytest", *options, *tests]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
