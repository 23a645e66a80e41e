"""What can go wrong is caught by its name; everything at once only at the seams listed here, with the reason."""

from __future__ import annotations

import ast
from collections import Counter

from unit.house.sources import FLOORS, modules, named, tree

# File → (how many, why). A new one needs a place in this list, and so in a review.
SEAMS = {
    "agentpay/manager/opening.py": (1, "the store is closed again whatever went wrong, and the error goes on"),
    "agentpay/manager/operations.py": (1, "provider call: a provider whose health raises does not answer"),
    "agentpay/manager/telling.py": (1, "callback: no payment fails because somebody was not told that it waits"),
    "agentpay/payments/recovery.py": (2, "provider calls: a look-up that raises says nothing; a resend is Unknown"),
    "agentpay/payments/sending.py": (1, "provider call: whatever it raises, the money may have moved: Unknown"),
    "agentpay/payments/speeding.py": (1, "provider call: whatever it raises, the money may have moved: Unknown"),
    "agentpay/providers/crypto/signers.py": (2, "a signer's exception may hold a key: its text goes no further"),
    "agentpay/webhooks/service.py": (2, "provider calls: what parse_webhook or poll raises proves nothing"),
    "agentpay/providers/seam.py": (
        1,
        "provider call: a question that moves no money; what it raises is an error of ours",
    ),
    "agentpay/worker/service.py": (1, "background loop: it outlives whatever a job raises"),
    "policies/agentpay_policies/evaluate.py": (1, "a policy that cannot be evaluated denies"),
    "servers/agentpay_servers/webhooks.py": (1, "web boundary: a crash is answered, without its stack trace"),
    "tools/agentpay_tools/boundary.py": (2, "tool boundary: a crash is answered, without its stack trace"),
}

_BROAD = {"Exception", "BaseException"}


def test_everything_is_caught_only_at_the_named_seams() -> None:
    found = Counter(
        named(path)
        for path in modules(*FLOORS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type)
    )
    assert found == {name: count for name, (count, _why) in SEAMS.items()}


def test_a_bare_except_and_a_tuple_count_as_broad() -> None:
    code = "try: pass\nexcept (ValueError, Exception): pass\ntry: pass\nexcept: pass\ntry: pass\nexcept OSError: pass\n"
    handlers = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ExceptHandler)]
    assert [_is_broad(handler.type) for handler in handlers] == [True, True, False]


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(name, ast.Name) and name.id in _BROAD for name in names)
