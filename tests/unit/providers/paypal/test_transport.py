"""What the network and PayPal's front end can do to a request, on both SDKs: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import paypalrestsdk
import pytest

from agentpay.providers.base import Found
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Pending, Succeeded, Unknown
from agentpay.providers.paypal import EXCHANGES, PayPalProvider
from agentpay.testing.paypal_fake import PayPalFake
from agentpay.testing.paypal_fake.faults import How
from unit.providers.paypal.calls import Call, Caller, charged, ordered

STEPS = ("charge", "capture", "refund", "payout")
"""The requests that move money. The first three go by paypal-server-sdk, the last by paypalrestsdk."""


@pytest.fixture
def hasty(fake: PayPalFake) -> Iterator[PayPalProvider]:
    """PayPal, where an exchange may take 0.3 s: for what never ends."""
    made = fake.provider(timeout=0.3)
    yield made
    made.close()


def made_ready(step: str, fake: PayPalFake, provider: PayPalProvider) -> Callable[[], Call]:
    """The call whose request is that step."""
    if step == "charge":
        saved = fake.save_method()
        return lambda: Caller(provider).charge(saved)
    if step == "capture":
        order = ordered(provider)
        fake.approve(order)
        return lambda: Caller(provider).resume(f"order:{order}")
    if step == "refund":
        charge = charged(provider, fake.save_method())
        return lambda: Caller(provider).refund(charge)
    return lambda: Caller(provider).send()


LOST: tuple[tuple[How, bool], ...] = (
    ("error_before", False),
    ("error_after", True),
    ("drop_before", False),
    ("drop_after", True),
    ("malformed", True),
    ("nonsense", True),
    ("huge", True),
    ("conflict", False),
    ("redirect", False),
)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("how", "done"), LOST)
def test_an_answer_that_proves_nothing_is_unknown_and_nothing_is_sent_again(
    fake: PayPalFake, provider: PayPalProvider, step: str, how: How, done: bool
) -> None:
    call = made_ready(step, fake, provider)
    known, before = len(fake.received), fake.effects()
    fake.fault(step, how, times=9)
    made = call()
    assert isinstance(made.outcome, Unknown), made.outcome
    assert [one.step for one in fake.received[known:]].count(step) == 1
    assert fake.effects() - before == (1 if done and step != "payout" else 0)
    if done and step != "payout":
        found = made.found()
        assert isinstance(found, Found) and isinstance(found.outcome, Succeeded)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["hang_after", "drip"])
def test_an_answer_that_does_not_end_is_unknown_in_time(
    fake: PayPalFake, hasty: PayPalProvider, step: str, how: How
) -> None:
    call = made_ready(step, fake, hasty)
    fake.fault(step, how)
    begun = time.monotonic()
    assert isinstance(call().outcome, Unknown)
    assert time.monotonic() - begun < 1.5, "a time-out of 0.3 s, and no second request"


@pytest.mark.parametrize("step", STEPS)
def test_what_paypal_takes_no_more_of_for_now_was_not_sent(
    fake: PayPalFake, provider: PayPalProvider, step: str
) -> None:
    call, before = made_ready(step, fake, provider), fake.effects()
    fake.fault(step, "rate_limited")
    assert isinstance(call().outcome, NotSent)
    assert fake.effects() == before
    assert isinstance(call().outcome, Succeeded | Pending)


@pytest.mark.parametrize("step", STEPS)
def test_an_issue_that_nobody_knows_is_unknown(fake: PayPalFake, provider: PayPalProvider, step: str) -> None:
    call = made_ready(step, fake, provider)
    fake.fault(step, "refused", issue="SOMETHING_NEW")
    outcome = call().outcome
    assert isinstance(outcome, Unknown) and "SOMETHING_NEW" in outcome.evidence


@pytest.mark.parametrize("step", STEPS)
def test_an_issue_of_the_table_is_declined(fake: PayPalFake, provider: PayPalProvider, step: str) -> None:
    call, before = made_ready(step, fake, provider), fake.effects()
    fake.fault(step, "refused", issue="TRANSACTION_REFUSED")
    outcome = call().outcome
    assert isinstance(outcome, Declined) and outcome.code == "transaction_refused"
    assert fake.effects() == before


# -- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_a_token_that_is_not_taken_any_more_is_renewed_once(
    fake: PayPalFake, provider: PayPalProvider, step: str
) -> None:
    call, before = made_ready(step, fake, provider), fake.effects()
    fake.expire_tokens()
    assert isinstance(call().outcome, Succeeded | Pending)
    assert fake.effects() - before == (0 if step == "payout" else 1)


@pytest.mark.parametrize("step", STEPS)
def test_a_lasting_401_ends_and_proves_that_nothing_was_sent(
    fake: PayPalFake, provider: PayPalProvider, step: str
) -> None:
    call = made_ready(step, fake, provider)
    known, before = len(fake.received), fake.effects()
    fake.tokens_refused = True
    assert isinstance(call().outcome, NotSent)
    assert len(fake.received) - known <= 4 and fake.effects() == before


def test_a_token_lasts_as_long_as_paypal_says(fake: PayPalFake) -> None:
    for seconds, tokens in ((3600, 1), (1, 3)):
        fake.token_seconds = seconds
        provider, known = fake.provider(), len(fake.received)
        for _ in range(3):
            Caller(provider).charge()
        assert [one.step for one in fake.received[known:]].count("token") == tokens
        provider.close()
    fake.token_seconds = 3600


@pytest.mark.parametrize("how", ["drop_before", "error_before", "malformed", "rate_limited", "unauthorized"])
@pytest.mark.parametrize("step", STEPS)
def test_without_a_token_nothing_is_sent(fake: PayPalFake, provider: PayPalProvider, step: str, how: How) -> None:
    order, fresh = ordered(provider), fake.provider(timeout=1.0)
    calls: dict[str, Callable[[], Call]] = {
        "charge": lambda: Caller(fresh).charge("paypal:abc"),
        "capture": lambda: Caller(fresh).resume(f"order:{order}"),
        "refund": lambda: Caller(fresh).refund("capture:3C1"),
        "payout": lambda: Caller(fresh).send(),
    }
    known = len(fake.received)
    fake.fault("token", how, times=9)
    assert isinstance(calls[step]().outcome, NotSent)
    assert {one.step for one in fake.received[known:]} == {"token"}
    fresh.close()


def test_wrong_credentials_are_named_and_never_shown(fake: PayPalFake) -> None:
    provider = fake.provider(client_secret="wrong-and-secret")
    health, outcome = provider.health(), Caller(provider).charge().outcome
    assert not health.ok and "credentials" in health.detail
    assert isinstance(outcome, NotSent) and "credentials" in outcome.evidence
    assert "wrong-and-secret" not in f"{health}{outcome}{provider!r}{vars(provider)}"
    provider.close()


def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    provider = PayPalProvider(client_id="id", client_secret="secret", endpoint=endpoint, timeout=1.0)
    for made in (Caller(provider).charge(), Caller(provider).send(), Caller(provider).refund("capture:3C1")):
        assert isinstance(made.outcome, NotSent)
    assert not provider.health().ok
    provider.close()


# -- the two SDKs as they come ---------------------------------------------------------------------------------------


def test_the_old_sdk_as_it_comes_asks_without_end_where_ours_stops(fake: PayPalFake, provider: PayPalProvider) -> None:
    """The naive counterpart: a lasting 401, of which the README gives the figure."""
    known_to = {"client_id": fake.client_id, "client_secret": fake.client_secret}
    naive = paypalrestsdk.Api(mode="sandbox", endpoint=fake.url, **known_to)
    fake.tokens_refused = True
    for api, bound in ((naive, 10_000), (provider._client.rest, 4)):
        known = len(fake.received)
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(_depth() + 90)
        try:
            with pytest.raises(Exception):  # noqa: B017 - each its own
                api.post("/v1/payments/payouts", {})
        finally:
            sys.setrecursionlimit(limit)
        asked = len(fake.received) - known
        assert asked <= bound
        assert (asked > 8) == (api is naive), asked


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def test_the_request_id_does_not_go_to_the_token_call(fake: PayPalFake) -> None:
    provider, known = fake.provider(), len(fake.received)
    Caller(provider).send()
    Caller(provider).charge()
    tokens = [one for one in fake.received[known:] if one.step == "token"]
    assert len(tokens) == 2 and all(one.request_id is None for one in tokens)
    provider.close()


def test_nothing_secret_is_logged(fake: PayPalFake, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    provider = fake.provider()
    Caller(provider).send()
    Caller(provider).charge(fake.save_method())
    fake.fault("charge", "error_after")
    Caller(provider).charge(fake.save_method())
    said = caplog.text
    for secret in (fake.client_secret, "FAKE-TOKEN", "Bearer", "Basic", "ana@example.com", "vault_id"):
        assert secret not in said, secret
    provider.close()


def test_a_password_of_a_netrc_does_not_take_the_place_of_the_token(
    fake: PayPalFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    provider = fake.provider()
    assert isinstance(Caller(provider).charge(fake.save_method()).outcome, Succeeded)
    provider.close()


# -- at once ---------------------------------------------------------------------------------------------------------


def test_a_forked_process_shares_no_connection_with_its_parent(fake: PayPalFake, provider: PayPalProvider) -> None:
    saved = fake.save_method()
    assert isinstance(Caller(provider).charge(saved).outcome, Succeeded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, in later versions of Python
        children = [os.fork() or _charging(provider, saved) for _ in range(3)]
    outcomes = [Caller(provider).charge(saved).outcome for _ in range(10)]
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]


def _charging(provider: PayPalProvider, saved: str) -> NoReturn:
    """A child's part: its charges are answered, each with its own answer."""
    code = 1
    try:
        outcomes = [Caller(provider).charge(saved).outcome for _ in range(10)]
        code = 0 if all(isinstance(outcome, Succeeded) for outcome in outcomes) else 2
    finally:
        os._exit(code)


def test_many_threads_with_one_key_move_money_once(fake: PayPalFake, provider: PayPalProvider) -> None:
    order, before = ordered(provider), fake.effects()
    fake.approve(order)
    start = threading.Barrier(8)

    def capture(_: int) -> Outcome:
        start.wait()
        return Caller(provider).resume(f"order:{order}").outcome

    with ThreadPoolExecutor(8) as pool:
        outcomes = set(pool.map(capture, range(8)))
    assert len(outcomes) == 1 and isinstance(outcomes.pop(), Succeeded)
    assert fake.effects() == before + 1


@pytest.mark.parametrize("step", STEPS)
def test_a_call_ends_within_its_lease_whatever_hangs(fake: PayPalFake, hasty: PayPalProvider, step: str) -> None:
    """Every token and every request hangs, also those that follow a 401: what has no time left is not sent."""
    call, lease = made_ready(step, fake, hasty), hasty.capabilities().lease.total_seconds()
    assert lease == pytest.approx(0.3 * EXCHANGES * 1.25)
    fake.expire_tokens()
    fake.fault("token", "drip", times=9)
    fake.fault(step, "drip", times=9)
    begun = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda _: call().outcome, range(6)))
    assert time.monotonic() - begun < lease + 0.5, "nor does one wait for another's token"
    assert all(isinstance(outcome, NotSent | Unknown) for outcome in outcomes)
