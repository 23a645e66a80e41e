"""What several endpoints together prove of a transfer. What one shows is tested with a chain: see test_send."""

from __future__ import annotations

import itertools

import pytest

from agentpay.providers.crypto.outgoing import Shown, combined
from agentpay.providers.crypto.rpc import ChainFault
from agentpay.providers.outcomes import Declined, Pending, Succeeded, Unknown

PAID = Shown("block", Succeeded("0xa"))
REFUSED = Shown("block", Declined("reverted", "no", "0xa"))
TAKEN = Shown("taken", Declined("replaced", "never", "0xa"))
POOL = Shown("pool", Pending("0xa"))
SILENT = Shown("silent", Unknown("nowhere", "0xa"))
DOWN = ChainFault("unreachable", "down")


@pytest.mark.parametrize("shown", list(itertools.permutations([PAID, REFUSED, SILENT])), ids=str)
def test_a_success_and_a_refusal_prove_nothing_whoever_says_so_first(shown: tuple[Shown, ...]) -> None:
    assert isinstance(combined(shown), Unknown)


@pytest.mark.parametrize("other", [SILENT, POOL, TAKEN, DOWN], ids=str)
@pytest.mark.parametrize("seen", [PAID, REFUSED], ids=str)
def test_what_one_has_in_a_block_another_may_not_know_yet(seen: Shown, other: Shown | ChainFault) -> None:
    assert combined([other, seen]) == combined([seen, other]) == seen.outcome


def test_that_a_nonce_was_taken_is_what_every_endpoint_says() -> None:
    assert combined([TAKEN, TAKEN]) == TAKEN.outcome
    for other in (SILENT, POOL):
        assert combined([TAKEN, other]) == other.outcome
    assert isinstance(combined([TAKEN, DOWN]), Unknown)


def test_where_no_endpoint_answers_nothing_is_said() -> None:
    with pytest.raises(ChainFault):
        combined([DOWN, DOWN])
