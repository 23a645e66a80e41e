"""What the mock is told to do: scenarios by amount or customer, and named points at which a test may step in.

A charge is scripted by its amount (`13.01`; `1301` in a currency without decimals) or by its customer's prefix
(`decline-ana`); the customer wins over the amount. A refund is scripted by its own amount (`14.01`). `SCRIPT` is the
whole table; `describe()` renders it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from agentpay.errors import ConfigurationError
from agentpay_policies.money import Money

Answer = Literal["succeed", "decline", "pending", "act", "act_then_look"]
"""What the mock's server makes of a first request, once it has it."""

Fault = Literal[
    "slow", "unreachable", "timeout_before", "timeout_after", "error_after", "malformed", "raises", "duplicate"
]
"""What the network, or the provider's front end, does to a request or to its answer."""

Point = Literal["before_move", "after_move", "before_answer"]
"""Where a `Script` is called: before the books take the request; after they committed a movement of money; and before
the answer goes back, whether or not money moved."""

Script = Callable[[Point, str, Mapping[str, object]], None]
"""Called with the point, the idempotency key and the request. What it raises passes through the provider; it may also
end the process."""

CRASH_VARIABLE: Final = "AGENTPAY_MOCK_CRASH"
"""`POINT` or `POINT:OP`, such as `after_move` or `before_move:refund`: the process ends there, as if it was killed."""

CRASH_EXIT: Final = 137
"""The exit code of a process that was made to die: that of SIGKILL."""

Op = Literal["charge", "create", "confirm", "capture", "refund"]
OPS: Final[tuple[Op, ...]] = get_args(Op)


@dataclass(frozen=True)
class Scenario:
    """One row of the script. `cents` is its number: 13.<cents> charges, 14.<cents> refunds where `refunds` is true.

    `steps` is how many requests a charge takes, and `fault_at` the request that the fault meets (the first, unless
    another is named).
    """

    name: str
    cents: int
    means: str
    answer: Answer = "succeed"
    code: str | None = None
    instructions: str | None = None
    fault: Fault | None = None
    fault_at: Op | None = None
    steps: int = 1
    refunds: bool = False

    @property
    def amount(self) -> str:
        """The amount that asks for it in a charge."""
        return f"13.{self.cents:02d}"

    @property
    def refund_amount(self) -> str | None:
        """The amount that asks for it in a refund; None where refunds do not have it."""
        return f"14.{self.cents:02d}" if self.refunds else None

    @property
    def prefix(self) -> str:
        """The beginning of a customer who always gets it."""
        return f"{self.name}-"

    def fault_for(self, op: str) -> Fault | None:
        """The fault that a request of this operation meets."""
        return self.fault if op == (self.fault_at or op) else None


PLAIN: Final = Scenario("plain", 0, "Succeeds.")
"""What is not scripted."""

SCRIPT: Final[tuple[Scenario, ...]] = (
    Scenario("decline", 1, "Declined: generic_decline.", "decline", "generic_decline", refunds=True),
    Scenario("insufficient-funds", 2, "Declined: insufficient_funds.", "decline", "insufficient_funds"),
    Scenario("expired-card", 3, "Declined: expired_card.", "decline", "expired_card"),
    Scenario("fraud", 4, "Declined: suspected_fraud.", "decline", "suspected_fraud"),
    Scenario("pending", 10, "Pending until `complete(reference, …)`.", "pending", refunds=True),
    Scenario("action", 11, "Wants the customer at a URL; after `customer_acts`, `resume` captures it.", "act"),
    Scenario("action-lookup", 12, "Wants the customer at a URL; `customer_acts` moves the money.", "act_then_look"),
    Scenario(
        "deposit",
        13,
        "Wants a deposit, by instructions without a URL; `customer_acts` is the deposit.",
        "act_then_look",
        instructions="Send exactly the amount to the address that the mock does not have.",
    ),
    Scenario("slow", 20, "Succeeds after `sleep(slow_seconds)`.", fault="slow", refunds=True),
    Scenario("timeout-before", 21, "Unknown: no answer; no money moved.", fault="timeout_before", refunds=True),
    Scenario("timeout-after", 22, "Unknown: no answer; the money moved.", fault="timeout_after", refunds=True),
    Scenario("error-after", 23, "Unknown: status 500; the money moved.", fault="error_after", refunds=True),
    Scenario("unreachable", 24, "NotSent: the connection was refused.", fault="unreachable", refunds=True),
    Scenario(
        "duplicate", 25, "Delivered twice, and answered twice with the first answer.", fault="duplicate", refunds=True
    ),
    Scenario("malformed", 26, "Unknown: the answer makes no sense; the money moved.", fault="malformed", refunds=True),
    Scenario("raises", 27, "The provider raises what it cannot map; the money moved.", fault="raises", refunds=True),
    Scenario("two-steps", 30, "Two requests: create, capture.", steps=2),
    Scenario("three-steps", 31, "Three requests: create, confirm, capture.", steps=3),
    Scenario(
        "two-steps-timeout",
        32,
        "The second is not answered; the money moved.",
        fault="timeout_after",
        fault_at="capture",
        steps=2,
    ),
    Scenario(
        "two-steps-lost", 33, "The second is lost; no money moved.", fault="timeout_before", fault_at="capture", steps=2
    ),
)
"""Every scenario but `PLAIN`."""

_BY_NAME: Final = {scenario.name: scenario for scenario in (PLAIN, *SCRIPT)}
_BY_CENTS: Final = {scenario.cents: scenario for scenario in SCRIPT}
_LONGEST_FIRST: Final = sorted(SCRIPT, key=lambda scenario: -len(scenario.name))
_UNIT: Final = {"charge": 1300, "refund": 1400}


def named(name: str) -> Scenario:
    """The scenario of a name.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ConfigurationError(f"The mock has no scenario {name!r}; it has {', '.join(_BY_NAME)}.") from None


def for_charge(customer: str, money: Money) -> Scenario:
    """The scenario of a charge: by its customer, else by its amount, else `PLAIN`."""
    by_customer = (scenario for scenario in _LONGEST_FIRST if customer.startswith(scenario.prefix))
    return next(by_customer, None) or _BY_CENTS.get(_cents(money, "charge"), PLAIN)


def for_refund(money: Money) -> Scenario:
    """The scenario of a refund, by its amount."""
    found = _BY_CENTS.get(_cents(money, "refund"), PLAIN)
    return found if found.refunds else PLAIN


def _cents(money: Money, kind: str) -> int:
    """Which number of the script an amount asks for: 1 for 13.01 USD, for 13.010000 USDT and for 1301 JPY."""
    decimals = -int(money.amount.as_tuple().exponent)
    hundredths, rest = divmod(money.minor * 100, 10**decimals) if decimals else (money.minor, 0)
    return hundredths - _UNIT[kind] if rest == 0 else 0


def describe() -> str:
    """The script as a Markdown table, for the documentation."""
    head = "| charge of | refund of | customer | what happens |\n|---|---|---|---|\n"
    rows = (f"| {s.amount} | {s.refund_amount or ''} | `{s.prefix}…` | {s.means} |" for s in SCRIPT)
    return head + "\n".join(rows) + "\n"


def no_script(_point: Point, _key: str, _request: Mapping[str, object]) -> None:
    """The script that does nothing."""


def crash_at(text: str) -> Script:
    """A script that ends the process at a point, without any clean-up: `after_move`, or `after_move:capture`.

    Raises:
        ConfigurationError: no such point or operation.
    """
    point, _, op = text.partition(":")
    if point not in get_args(Point) or (op and op not in OPS):
        points, ops = "|".join(get_args(Point)), "|".join(OPS)
        raise ConfigurationError(f"{CRASH_VARIABLE} is POINT or POINT:OP, with {points} and {ops}.")

    def crash(at: Point, _key: str, request: Mapping[str, object]) -> None:
        if at == point and (not op or request.get("op") == op):
            os._exit(CRASH_EXIT)

    return crash


def script_from_environment() -> Script | None:
    """The script that the environment asks for, if it does: a test server is made to die by it."""
    text = os.environ.get(CRASH_VARIABLE, "")
    return crash_at(text) if text else None
