"""A process that is forked off, as servers that load the program first do, gets its own answers and nobody else's."""

from __future__ import annotations

import os
import warnings
from typing import NoReturn

from agentpay.providers.outcomes import Succeeded
from agentpay.providers.stripe import StripeProvider
from agentpay.testing.stripe_fake import StripeFake
from support.stripe import charge, order


def test_a_forked_process_shares_no_connection_with_its_parent(fake: StripeFake, provider: StripeProvider) -> None:
    customer = fake.customer()
    assert _all_paid(provider, customer, "first"), "there is a connection to be shared"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, in later versions of Python
        children = [os.fork() or _charging(provider, customer, f"child{number}") for number in range(3)]
    paid = _all_paid(provider, customer, "parent")
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert paid and len(fake.effects()) == 50


def _all_paid(provider: StripeProvider, customer: str, name: str) -> bool:
    """Whether each of ten charges was answered as paid; none twice by the same."""
    outcomes = [charge(provider, order(customer), f"{name}-{number}").outcome for number in range(10)]
    return all(isinstance(one, Succeeded) for one in outcomes) and len(set(outcomes)) == 10


def _charging(provider: StripeProvider, customer: str, name: str) -> NoReturn:
    code = 1
    try:
        code = 0 if _all_paid(provider, customer, name) else 2
    finally:
        os._exit(code)
