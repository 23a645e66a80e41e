"""Deliberate mutants: one fault put into the code each, and the test that must fail for it.

Run all from the repository with `PYTHONPATH=tests python -m mutants`, some with `… -m mutants NAME …`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One fault: in `file` the text `before`, which stands there once, becomes `after`; then `tests` must fail."""

    name: str
    file: str
    before: str
    after: str
    tests: str
