"""Which parts of the language the engine does not keep yet. A file that uses one is refused by its name.

A policy that promises what nobody keeps is worse than none. The pure half (load, evaluate, explain, compare) knows the
whole language; a name leaves this set when the engine supplies what `agentpay_policies.decisions` says it must.
"""

from __future__ import annotations

from typing import Final

ALL: Final = frozenset(
    {
        "charge.duplicates",
        "each",
        "limits.of.record_usage",
        "limits.per.category",
        "memo",
        "notify",
        "record_usage.limits",
        "refund.restores_budget",
        "shadow",
        "subscribe.count",
        "subscribe.max_term",
        "subscribe.periods",
        "when.duplicate",
        "when.unapproved_total_over",
    }
)
"""Every name that ever needed the engine's support; what `load_policy(…, enforced=ALL)` takes."""

NOT_ENFORCED_BY_ENGINE: Final[frozenset[str]] = frozenset()
"""What this version of the engine does not keep: nothing. A part of the language that is added before the engine keeps
it has its name here until it does."""
