"""The benchmark runs, and says what it says it measures."""

from __future__ import annotations

import pytest

from benchmarks import authorize


def test_the_benchmark_of_a_decision_prints_a_row_a_size(capsys: pytest.CaptureFixture[str]) -> None:
    rows = authorize.main(["--sizes", "10,300", "--seconds", "0.1"])
    assert [row.payments for row in rows] == [10, 300]
    assert all(row.evaluated > 0 and row.authorised > 0 for row in rows)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and said[1].endswith("1.00")
