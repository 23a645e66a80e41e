"""`make soak` in small: it runs, it counts, and what it left out makes it fail."""

from __future__ import annotations

import pytest

from soak.__main__ import main

SMALL = ["--on", "sqlite", "--providers", "mock", "--runs", "1", "--operations", "30", "--examples", "0", "--no-matrix"]


def test_a_small_soak_prints_a_table_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL) == 0
    head, run, total = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "part",
        "operations",
        "kills",
        "unknowns",
        "resolved",
        "doubles",
        "losses",
        "broken",
        "invariants",
    ]
    assert run.split()[5] == "30" and total.split()[-3:] == ["0", "0", "0"]


def test_a_soak_that_ran_out_of_time_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--seconds", "-1"]) == 1
    assert "NOT DONE: 1 parts" in capsys.readouterr().out
