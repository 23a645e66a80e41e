"""Each example runs, in a folder of its own and in a temporary one, and prints what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

BASIC = """\
Access before: False (no_plan)
Subscribed to pro: active
Used 3, 97 left
Charged 5.00 USD; the repeat is the same payment: True
Refunded 2.00 USD: succeeded
Declined: generic_decline. Ask the customer for another way to pay, then use a new idempotency key.

All payments of alice:
  13.01 USD  declined, refunded 0.00
  5.00 USD  succeeded, refunded 2.00
  10.00 USD  succeeded, refunded 0.00
"""

ADVANCED = """\
60.00 USD by writer: approval_required
  olga approves: charge of 60.00 USD from acme
The same call again: succeeded
45.00 USD by researcher: BUDGET_EXHAUSTED
  writer can spend 40.00 USD now
  researcher can spend 40.00 USD now
A second 10.00 USD: DUPLICATE_SUSPECTED, it looks like the first: True
Meant as a second one: succeeded
1.00 USD by writer: HALTED
Resumed: succeeded
In order: doctor True, audit True
"""

USAGE_BILLING = """\
3 x 0.0035 = 0.0105 USD
Billed 0.01 USD, carried 0.0005
10 more: billed 0.03 USD, carried 0.0055
Free summary 1, 1 left
Free summary 2, 0 left
A third: False (limit_reached)
Credits: 0.60 USD
Image 1: 0.25 USD from credits
Image 2: 0.25 USD from credits
Image 3: CREDITS_EXHAUSTED
28.02. renewed 1, paid until 31.03.
31.03. renewed 1, paid until 30.04.
Paid by dan: ['10.00', '10.00', '10.00']
"""

PLUGIN = """\
Charged 80.00 USD by vouchers: succeeded
Refunded 30.00 USD: succeeded
Declined: voucher_empty
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [("basic", BASIC), ("advanced", ADVANCED), ("usage_billing", USAGE_BILLING), ("plugin", PLUGIN)],
)
def test_an_example_prints_what_happened(name: str, expected: str, tmp_path: Path) -> None:
    assert run(name, tmp_path, str(tmp_path)) == expected
    assert (tmp_path / "agentpay.db").is_file()


def test_without_a_folder_nothing_is_left(tmp_path: Path) -> None:
    assert run("basic", tmp_path) == BASIC
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"basic", "advanced", "usage_billing", "plugin"}


def run(name: str, work: Path, *arguments: str) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments],
        cwd=work,
        env={"TMPDIR": str(work), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
