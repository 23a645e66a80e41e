"""What the mock does: each scenario, by amount and by customer, and what its books hold after it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from agentpay.clock import FixedClock
from agentpay.errors import ConfigurationError, Conflict, ProviderError
from agentpay.errors import NotFound as NothingThere
from agentpay.providers.base import Found, NotFound, Order, Reference, RefundOrder
from agentpay.providers.mock import LEASE, SCRIPT, MockProvider, from_settings
from agentpay.providers.mock_script import Scenario
from agentpay.providers.outcomes import (
    Declined,
    NotSent,
    Outcome,
    Pending,
    RequiresAction,
    Succeeded,
    Unknown,
    name_of,
)
from agentpay.testing import RecordingSteps
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF, Payee

USDT_PAYEE = "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7"

EXPECTED = {  # outcome of a charge, and how many movements it leaves
    "decline": ("declined", 0),
    "insufficient-funds": ("declined", 0),
    "expired-card": ("declined", 0),
    "fraud": ("declined", 0),
    "pending": ("pending", 0),
    "action": ("requires_action", 0),
    "action-lookup": ("requires_action", 0),
    "deposit": ("requires_action", 0),
    "slow": ("succeeded", 1),
    "timeout-before": ("unknown", 0),
    "timeout-after": ("unknown", 1),
    "error-after": ("unknown", 1),
    "unreachable": ("not_sent", 0),
    "duplicate": ("succeeded", 1),
    "malformed": ("unknown", 1),
    "raises": ("raised", 1),
    "two-steps": ("succeeded", 1),
    "three-steps": ("succeeded", 1),
    "two-steps-timeout": ("unknown", 1),
    "two-steps-lost": ("unknown", 0),
}


class Sleeps(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


@pytest.fixture
def mock(sleeps: Sleeps, clock: FixedClock) -> Iterator[MockProvider]:
    made = MockProvider("memory://", clock=clock, sleep=sleeps)
    yield made
    made.close()


def order(amount: str = "20.00", customer: str = "ana", payee: str = "self", currency: str = "USD") -> Order:
    return Order("pay_1", customer, Money(amount, currency), Payee.parse(payee))


def charge(mock: MockProvider, what: Order, key: str = "k") -> tuple[Outcome, RecordingSteps]:
    steps = RecordingSteps(mock.prepare(what), key=key)
    return mock.charge(what, steps), steps


def paid(mock: MockProvider, what: Order, key: str = "k") -> str:
    outcome, _ = charge(mock, what, key)
    assert isinstance(outcome, Succeeded)
    return outcome.reference


def refund(mock: MockProvider, reference: str, amount: str, key: str = "r", currency: str = "USD") -> Outcome:
    what = RefundOrder("ref_1", "pay_1", reference, Money(amount, currency), SELF)
    return mock.refund(what, RecordingSteps(mock.prepare_refund(what), key=key, name="refund"))


def look(mock: MockProvider, steps: RecordingSteps) -> Outcome | None:
    last = steps.recorded[-1]
    finding = mock.lookup(Reference(last.key, "charge", last.name, last.request))
    return finding.outcome if isinstance(finding, Found) else None


def outcome_or_raised(mock: MockProvider, what: Order) -> str:
    try:
        return name_of(charge(mock, what)[0])
    except RuntimeError:
        return "raised"


def test_every_scenario_has_an_expectation() -> None:
    assert {scenario.name for scenario in SCRIPT} == EXPECTED.keys()


@pytest.mark.parametrize("scenario", SCRIPT, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("by", ["amount", "customer"])
def test_a_scenario_comes_to_its_outcome_and_its_movements(mock: MockProvider, scenario: Scenario, by: str) -> None:
    what = order(scenario.amount) if by == "amount" else order(customer=f"{scenario.prefix}ana")
    assert (outcome_or_raised(mock, what), len(mock.movements())) == EXPECTED[scenario.name]


@pytest.mark.parametrize("scenario", SCRIPT, ids=lambda scenario: scenario.name)
def test_the_look_up_tells_what_the_books_hold(mock: MockProvider, scenario: Scenario) -> None:
    what = order(scenario.amount)
    steps = RecordingSteps(mock.prepare(what), key="k")
    try:
        outcome: Outcome | None = mock.charge(what, steps)
    except RuntimeError:
        outcome = None
    found = look(mock, steps)
    if len(mock.movements()) == 1:
        assert isinstance(found, Succeeded)
    elif isinstance(outcome, Unknown | NotSent):
        assert found is None
    else:
        assert found == outcome


@pytest.mark.parametrize("scenario", [s for s in SCRIPT if s.steps == 1], ids=lambda scenario: scenario.name)
def test_a_second_delivery_moves_nothing(mock: MockProvider, scenario: Scenario) -> None:
    what = order(scenario.amount)
    outcome_or_raised(mock, what)
    moved = mock.movements()
    again = outcome_or_raised(mock, what)
    assert mock.movements() == moved
    if moved:
        assert again == "succeeded", "the fault met the first answer; the stored one gets through"


def test_only_the_slow_one_sleeps(mock: MockProvider, sleeps: Sleeps) -> None:
    charge(mock, order())
    assert sleeps == []
    charge(mock, order("13.20"), "k2")
    assert sleeps == [0.2]


@pytest.mark.parametrize(
    ("amount", "currency", "scripted"),
    [
        ("13.01", "USD", True),
        ("1301", "JPY", True),
        ("13.010", "KWD", True),
        ("13.010000", "USDT", True),
        ("13.011", "KWD", False),
        ("1301.00", "USD", False),
        ("13.00", "USD", False),
        ("14.01", "USD", False),
    ],
)
def test_an_amount_is_magic_in_every_currency(mock: MockProvider, amount: str, currency: str, scripted: bool) -> None:
    outcome, _ = charge(mock, order(amount, currency=currency))
    assert isinstance(outcome, Declined) == scripted


def test_the_customer_wins_over_the_amount_and_the_longest_prefix_wins(mock: MockProvider) -> None:
    assert isinstance(charge(mock, order("13.01", "pending-ana"))[0], Pending)
    assert isinstance(charge(mock, order(customer="two-steps-lost-ana"), "k2")[0], Unknown)


def test_a_collect_brings_money_in_and_a_send_takes_it_out(mock: MockProvider) -> None:
    paid(mock, order("20.00"), "k1")
    paid(mock, order("7.00", payee="stripe:acct_1A"), "k2")
    paid(mock, order("50.00", currency="USDT", payee=USDT_PAYEE), "k3")
    assert mock.balance("clearing", "USD") == 2000
    assert mock.balance("stripe:acct_1A", "USD") == 700
    assert mock.balance("wallet", "USDT") == -50_000_000
    assert mock.balance(USDT_PAYEE, "USDT") == 50_000_000
    assert [movement.kind for movement in mock.movements()] == ["charge", "charge", "send"]


def test_one_key_names_one_request(mock: MockProvider) -> None:
    paid(mock, order("20.00"))
    with pytest.raises(ProviderError, match="another request"):
        charge(mock, order("21.00"))
    assert len(mock.movements()) == 1


@pytest.mark.parametrize(("end", "moved"), [("succeeded", 1), ("declined", 0)])
def test_a_pending_charge_is_completed(mock: MockProvider, end: str, moved: int) -> None:
    outcome, steps = charge(mock, order("13.10"))
    assert isinstance(outcome, Pending)
    mock.complete(outcome.reference, end)  # type: ignore[arg-type]
    found = look(mock, steps)
    assert found is not None
    assert name_of(found) == end
    assert len(mock.movements()) == moved
    with pytest.raises(Conflict):
        mock.complete(outcome.reference, "succeeded")


def test_an_action_is_captured_after_the_customer_approved(mock: MockProvider) -> None:
    outcome, _ = charge(mock, order("13.11"))
    assert isinstance(outcome, RequiresAction)
    assert outcome.url is not None
    request = mock.prepare_resume(outcome.reference)
    assert request is not None
    early = mock.resume(outcome.reference, RecordingSteps(request, key="early"))
    assert isinstance(early, RequiresAction)
    mock.customer_acts(outcome.reference)
    assert mock.movements() == []
    steps = RecordingSteps(request, key="later")
    assert mock.resume(outcome.reference, steps) == Succeeded(outcome.reference)
    assert look(mock, steps) == Succeeded(outcome.reference)
    assert len(mock.movements()) == 1
    again = mock.resume(outcome.reference, RecordingSteps(request, key="again"))
    assert again == Succeeded(outcome.reference)
    assert len(mock.movements()) == 1


@pytest.mark.parametrize("amount", ["13.12", "13.13"])
def test_some_actions_need_no_request_of_ours(mock: MockProvider, amount: str) -> None:
    outcome, steps = charge(mock, order(amount))
    assert isinstance(outcome, RequiresAction)
    assert (outcome.url is None) == (outcome.instructions is not None)
    assert mock.prepare_resume(outcome.reference) is None
    mock.customer_acts(outcome.reference)
    assert mock.resume(outcome.reference, steps) == Succeeded(outcome.reference)
    assert len(mock.movements()) == 1


@pytest.mark.parametrize("amount", ["13.11", "13.12"])
def test_a_customer_may_refuse(mock: MockProvider, amount: str) -> None:
    outcome, steps = charge(mock, order(amount))
    assert isinstance(outcome, RequiresAction)
    mock.customer_acts(outcome.reference, approve=False)
    found = look(mock, steps)
    assert isinstance(found, Declined)
    assert found.code == "customer_refused"


def test_acting_on_nothing_is_an_error(mock: MockProvider) -> None:
    with pytest.raises(NothingThere):
        mock.complete("mch_none", "succeeded")
    with pytest.raises(NothingThere):
        mock.customer_acts("mch_none")
    with pytest.raises(Conflict):
        mock.customer_acts(paid(mock, order()))


def test_several_steps_are_recorded_each(mock: MockProvider) -> None:
    _, steps = charge(mock, order("13.31"))
    assert [step.name for step in steps.recorded] == ["charge", "confirm", "capture"]
    assert [request["op"] for _, request in mock.requests()] == ["create", "confirm", "capture"]
    assert steps.recorded[1].reference == mock.charges()[0].id


def test_what_was_created_and_never_captured_can_go_on(mock: MockProvider) -> None:
    what = order("13.30")
    steps = RecordingSteps(mock.prepare(what), key="k", on_record=lambda _: (_ for _ in ()).throw(OSError("no commit")))
    with pytest.raises(OSError, match="no commit"):
        mock.charge(what, steps)
    found = look(mock, steps)
    assert isinstance(found, RequiresAction)
    request = mock.prepare_resume(found.reference)
    assert request is not None
    assert mock.resume(found.reference, RecordingSteps(request, key="k2")) == Succeeded(found.reference)
    assert len(mock.movements()) == 1


def test_a_lost_second_request_leaves_only_the_first(mock: MockProvider) -> None:
    outcome, steps = charge(mock, order("13.33"))
    assert isinstance(outcome, Unknown)
    assert outcome.reference == mock.charges()[0].id
    assert look(mock, steps) is None
    assert mock.charges()[0].status == "created"


def test_refunds_never_exceed_the_charge(mock: MockProvider) -> None:
    reference = paid(mock, order("20.00"))
    assert isinstance(refund(mock, reference, "5.00", "r1"), Succeeded)
    assert isinstance(refund(mock, reference, "15.01", "r2"), Declined)
    assert isinstance(refund(mock, reference, "15.00", "r3"), Succeeded)
    last = refund(mock, reference, "0.01", "r4")
    assert isinstance(last, Declined)
    assert last.code == "refund_exceeds_charge"
    assert mock.balance("clearing", "USD") == 0
    assert mock.charges()[0].refunded == Money("20.00", "USD")


def test_a_pending_refund_counts_until_it_failed(mock: MockProvider) -> None:
    reference = paid(mock, order("20.00"))
    pending = refund(mock, reference, "14.10", "r1")
    assert isinstance(pending, Pending)
    assert isinstance(refund(mock, reference, "6.00", "r2"), Declined)
    mock.complete(pending.reference, "declined")
    assert isinstance(refund(mock, reference, "20.00", "r3"), Succeeded)
    assert len(mock.movements()) == 2


def test_a_pending_refund_may_succeed(mock: MockProvider) -> None:
    pending = refund(mock, paid(mock, order("20.00")), "14.10")
    assert isinstance(pending, Pending)
    assert [found.status for found in mock.refunds()] == ["pending"]
    mock.complete(pending.reference, "succeeded")
    assert mock.balance("customer:ana", "USD") == -590


@pytest.mark.parametrize(
    ("amount", "outcome", "moved"),
    [
        ("14.01", Declined, 0),
        ("14.21", Unknown, 0),
        ("14.22", Unknown, 1),
        ("14.23", Unknown, 1),
        ("14.24", NotSent, 0),
        ("14.25", Succeeded, 1),
        ("14.11", Succeeded, 1),
    ],
)
def test_refunds_are_scripted_by_their_own_amount(
    mock: MockProvider, amount: str, outcome: type[Outcome], moved: int
) -> None:
    reference = paid(mock, order("20.00"))
    assert isinstance(refund(mock, reference, amount), outcome)
    assert len(mock.movements()) == 1 + moved


def test_the_books_refuse_what_cannot_be_refunded(mock: MockProvider) -> None:
    sent = paid(mock, order("50.00", currency="USDT", payee=USDT_PAYEE), "k1")
    pending, _ = charge(mock, order("13.10"), "k2")
    assert isinstance(pending, Pending)
    codes = [
        refund(mock, sent, "1", "r1", "USDT"),
        refund(mock, pending.reference, "1.00", "r2"),
        refund(mock, "mch_none", "1.00", "r3"),
        refund(mock, paid(mock, order()), "1.00", "r4", "EUR"),
    ]
    assert [outcome.code for outcome in codes if isinstance(outcome, Declined)] == [
        "not_refundable",
        "charge_not_captured",
        "charge_unknown",
        "currency_mismatch",
    ]


def test_a_request_older_than_the_lease_is_not_taken(clock: FixedClock) -> None:
    late = MockProvider("memory://", clock=clock, sleep=lambda _: clock.advance(LEASE + timedelta(seconds=1)))
    outcome, steps = charge(late, order("13.20"))
    assert isinstance(outcome, Unknown)
    assert look(late, steps) is None
    assert (late.movements(), late.charges(), late.requests()) == ([], [], [])
    late.close()


def test_a_scenario_may_be_forced_once(mock: MockProvider) -> None:
    mock.force("unreachable")
    assert isinstance(charge(mock, order())[0], NotSent)
    assert isinstance(charge(mock, order())[0], Succeeded)
    with pytest.raises(ConfigurationError):
        mock.force("nonsense")
    with pytest.raises(ConfigurationError):
        mock.force("two-steps")


def test_the_script_is_called_at_its_points(clock: FixedClock) -> None:
    seen: list[tuple[str, object, int]] = []
    made = MockProvider("memory://", clock=clock, script=lambda at, key, request: note(at, request["op"]))

    def note(at: str, op: object) -> None:
        seen.append((at, op, len(made.movements())))

    charge(made, order("13.30"))
    assert seen == [
        ("before_move", "create", 0),
        ("before_answer", "create", 0),
        ("before_move", "capture", 0),
        ("after_move", "capture", 1),
        ("before_answer", "capture", 1),
    ]
    made.close()


def test_what_the_script_raises_passes_through(clock: FixedClock) -> None:
    def fail(at: str, key: str, request: object) -> None:
        if at == "after_move":
            raise ConnectionError("cut")

    made = MockProvider("memory://", clock=clock, script=fail)
    with pytest.raises(ConnectionError):
        charge(made, order())
    assert len(made.movements()) == 1
    made.close()


def test_unknown_things_are_not_found(mock: MockProvider) -> None:
    assert mock.lookup(Reference("none", "charge", "charge", {})) == NotFound()
    assert isinstance(mock.resume("mch_none", RecordingSteps({}, key="k")), Unknown)
    capture = mock.prepare_resume("mord_none")
    assert capture is not None
    assert isinstance(mock.resume("mord_none", RecordingSteps(capture, key="k")), Declined)


def test_it_needs_the_database_and_no_other_kind() -> None:
    with pytest.raises(ConfigurationError, match="database_url"):
        from_settings()
    for url in ("sqlite://", "mysql://x/y", "nonsense"):
        with pytest.raises(ConfigurationError):
            from_settings(database_url=url)


def test_it_opens_nothing_before_it_is_used(tmp_path: object) -> None:
    made = from_settings(database_url="sqlite:////nowhere/at/all/agentpay.db")
    made.prepare(order())
    assert made.capabilities().consistent_lookup
    health = made.health()
    assert not health.ok
    assert "cannot be written" in health.detail
    made.close()
