"""`agentpay demo --provider crypto`: the whole story of a stablecoin on a chain that only this process knows.

A deposit, its confirmations, access; a refund to the address that the customer confirmed; a send under policy that is
parked and approved; and what nobody asked for, listed for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentpay.errors import AgentPayError, PolicyDenied
from agentpay.ids import RandomIds
from agentpay.manager import AgentHandle, PaymentManager
from agentpay.payments.models import Payment
from agentpay.plans.models import BillingPeriod, PaymentPlan, PaymentType
from agentpay.testing.chain import CHAIN, XPUB, LocalChain, TestToken
from agentpay_servers.demo.steps import Actor, Step, Steps, differences

if TYPE_CHECKING:
    from agentpay_servers.demo.transcript import Transcript

AGENT: Final = "buyer"
APPROVER: Final = "owner"
CUSTOMER: Final = "ana"
_CUSTOMERS_WALLET: Final = 4
_CONFIRMED: Final = 6
_VENDOR: Final = 5
_CONFIRMATIONS: Final = 3

PLAN: Final = PaymentPlan(
    id="pro",
    name="Pro",
    payment_type=PaymentType.SUBSCRIPTION,
    price="10.00",
    currency="USDT",
    billing_period=BillingPeriod.MONTHLY,
    features=["premium_api"],
)


def policy(vendor: str) -> dict[str, Any]:
    """What the agent may: pay one vendor, and ask a person above 20 USDT."""
    rule = {"id": "big", "when": {"amount_over": "20 USDT"}, "approvers": "people", "quorum": 1, "expires": "30m"}
    return {
        "version": 1,
        "id": "chain-demo",
        "agents": {
            AGENT: {
                "tools": ["charge", "get_payment"],
                "providers": {"allow": ["crypto"]},
                "currencies": {"allow": ["USDT"]},
                "customers": {"allow": ["*"]},
                "payees": {"allow": [vendor]},
                "charge": {"directions": ["send"], "per_transaction": {"max": "50 USDT"}},
                "approvals": [rule],
            }
        },
        "approvers": {"people": {"members": [APPROVER]}},
    }


@dataclass(frozen=True)
class Told:
    """The demo as data."""

    steps: tuple[Step, ...]
    books: Mapping[str, object]
    expected: Mapping[str, object]

    @property
    def wrong(self) -> tuple[str, ...]:
        """Whatever did not come as expected."""
        steps = tuple(line for step in self.steps for line in step.wrong)
        return steps + differences("the books", self.books, self.expected)

    def data(self) -> dict[str, object]:
        """The demo as JSON can hold it."""
        steps = [step.data() for step in self.steps]
        return {"ok": not self.wrong, "wrong": self.wrong, "steps": steps, "books": self.books}


def tell(folder: Path, transcript: Transcript | None) -> Told:
    """Run the whole story.

    Raises:
        ConfigurationError: the extra `crypto` or eth-tester is not installed.
    """
    chain = LocalChain()
    token = chain.token("USDT")
    for account in (1, _CUSTOMERS_WALLET):
        chain.pay(token, chain.account(account), "500")
    url = f"sqlite:///{folder / 'agentpay.db'}"
    provider = chain.provider(
        url, tokens=[token], xpub=XPUB, private_key=chain.key(1), confirmations=_CONFIRMATIONS
    )  # fmt: skip
    vendor = f"eip155:{CHAIN}:{chain.account(_VENDOR)}"
    with PaymentManager(url, provider=provider, policy=policy(vendor), clock=chain.clock) as manager:
        if transcript is not None:
            transcript.begin_on_chain(CHAIN, token.address)
        story = _Story(chain, token, manager, vendor, Steps(transcript))
        story.run()
        told = Told(tuple(story.steps.kept), story.books(), _EXPECTED)
    if transcript is not None:
        transcript.end_on_chain(told)
    return told


_EXPECTED: Final[dict[str, object]] = {
    "payments": ["30.000000 USDT succeeded", "10.000000 USDT succeeded"],
    "refunds": ["4.000000 USDT succeeded"],
    "unallocated": ["2.50 USDT duplicate"],
    "vendor has": "30.00 USDT",
    "customer's confirmed address has": "4.00 USDT",
    "audit verified": True,
    "doctor found nothing": True,
}


@dataclass
class _Story:
    """The steps as they happen."""

    chain: LocalChain
    token: TestToken
    manager: PaymentManager
    vendor: str
    steps: Steps

    def run(self) -> None:
        """Every step in order."""
        payment = self.subscribes()
        self.pays(payment)
        self.refunds(payment)
        self.sends()
        self.strays()

    def subscribes(self) -> str:
        self.manager.create_plan(PLAN)
        begun = self.manager.subscribe(CUSTOMER, PLAN.id, idempotency_key="subscribe-ana")
        payment = self.manager.get_payment(str(begun.payment_id))
        self.steps.add(
            "A customer subscribes: the charge is a deposit to an address of its own",
            "operator",
            "subscribe",
            {"customer": CUSTOMER, "plan": PLAN.id},
            payment.next_step,
            {"subscription": begun.status, "payment": payment.status},
            {"subscription": "incomplete", "payment": "requires_action"},
        )
        return payment.id

    def pays(self, payment: str) -> None:
        address = self._address(payment)
        tx_hash = self.chain.pay(self.token, address, "10.00", sender=_CUSTOMERS_WALLET)
        self._looks("The customer pays; the transfer is seen, and not confirmed", payment, tx_hash, "pending")
        self.chain.mine(_CONFIRMATIONS - 1)
        self._looks(f"After {_CONFIRMATIONS} confirmations it counts", payment, f"{_CONFIRMATIONS} blocks", "succeeded")
        access = self.manager.check_access(CUSTOMER, "premium_api")
        self.steps.add(
            "Now the customer has access",
            "operator",
            "check_access",
            {"customer": CUSTOMER, "feature": "premium_api"},
            access.reason,
            {"allowed": access.allowed},
            {"allowed": True},
        )

    def refunds(self, payment: str) -> None:
        order = {"payment_id": payment, "amount": "4.00"}

        def refund() -> str:
            return self.manager.refund(payment, "4.00", idempotency_key="refund-1").status

        self._refused("A refund: where to? The sender may be an exchange, and is not asked", "refund", order, refund)
        self.manager.link_customer(CUSTOMER, "crypto", f"eip155:{CHAIN}:{self.chain.account(_CONFIRMED)}")
        begun = refund()
        self.chain.mine(_CONFIRMATIONS)
        self.manager.reconcile()
        ended = self.manager.refunds_of(payment)[0]
        self.steps.add(
            "The customer confirms an address, and the refund goes there",
            "operator",
            "refund",
            order,
            f"The refund was {begun} when it was broadcast, and is {ended.status} after its confirmations.",
            {"begun": begun, "status": ended.status},
            {"begun": "pending", "status": "succeeded"},
        )

    def sends(self) -> None:
        secret = RandomIds().secret()
        self.manager.enrol_approver(APPROVER, secret)
        bot = self.manager.for_agent(AGENT)
        other = f"eip155:{CHAIN}:{self.chain.account(8)}"
        order = {"amount": "30.00", "currency": "USDT", "payee": self.vendor}

        def to_stranger() -> str:
            return _send(bot, "5.00", other, "send-0").status

        self._refused("The agent pays a stranger: the policy refuses", "charge", {**order, "payee": other}, to_stranger)
        parked = _send(bot, "30.00", self.vendor, "send-1")
        self.steps.add(
            "The agent pays the vendor 30 USDT: a person has to approve",
            "agent",
            "charge",
            order,
            parked.next_step,
            {"status": parked.status},
            {"status": "approval_required"},
        )
        self.manager.approve(str(parked.approval_id), approver=APPROVER, secret=secret)
        sent = _send(bot, "30.00", self.vendor, "send-1")
        self.steps.add(
            "The owner approves; the agent repeats its call: signed, stored, broadcast once",
            "agent",
            "charge",
            order,
            sent.next_step,
            {"status": sent.status},
            {"status": "pending"},
        )
        self.chain.mine(_CONFIRMATIONS)
        self._looks("The transfer has its confirmations", sent.id, "verify_payment", "succeeded")

    def strays(self) -> None:
        first = self.manager.list_payments(CUSTOMER)[-1]
        self.chain.pay(self.token, self._addresses[first.id], "2.50", sender=_CUSTOMERS_WALLET)
        self.chain.mine(_CONFIRMATIONS)
        self.manager.poll()  # what `agentpay worker` does
        (listed,) = self.manager.unallocated_transfers()
        self.steps.add(
            "The customer pays again by mistake: it is nobody's, and a person sees it",
            "operator",
            "agentpay chain unallocated",
            {},
            f"{listed.amount} {listed.currency}, {listed.reason} of {listed.payment_id}, from {listed.sender}",
            {"amount": listed.amount, "reason": listed.reason},
            {"amount": "2.50", "reason": "duplicate"},
        )

    def books(self) -> dict[str, object]:
        """What stands in the database and on the chain at the end."""
        payments = self.manager.recent_payments()
        refunds = [refund for payment in payments for refund in self.manager.refunds_of(payment.id)]
        audit = self.manager.verify_audit()
        return {
            "payments": [f"{one.amount} {one.currency} {one.status}" for one in payments],
            "refunds": [f"{one.amount} {one.currency} {one.status}" for one in refunds],
            "unallocated": [
                f"{one.amount} {one.currency} {one.reason}" for one in self.manager.unallocated_transfers()
            ],
            "vendor has": self._has(_VENDOR),
            "customer's confirmed address has": self._has(_CONFIRMED),
            "audit verified": audit.ok and audit.rows > 0,
            "doctor found nothing": self.manager.doctor().ok,
        }

    def _has(self, account: int) -> str:
        from agentpay.providers.crypto.amounts import shown

        return f"{shown(self.token.balance(self.chain.account(account)), self.token.decimals)} USDT"

    def _address(self, payment: str) -> str:
        words = self.manager.get_payment(payment).next_step
        self._addresses[payment] = words.partition("address=")[2].partition("&")[0]
        return self._addresses[payment]

    _addresses: dict[str, str] = field(default_factory=dict)

    def _looks(self, title: str, payment: str, what: str, status: str) -> None:
        found = self.manager.verify_payment(payment)
        text, answer, expected = found.next_step or found.status, {"status": found.status}, {"status": status}
        self.steps.add(title, "operator", "verify_payment", {"after": what}, text, answer, expected)

    def _refused(self, title: str, call: str, arguments: Mapping[str, object], run: Callable[[], str]) -> None:
        try:
            code, text = run(), ""
        except PolicyDenied as denied:
            code, text = denied.violations[0].code, denied.message
        except AgentPayError as error:
            code, text = error.code, f"{error.message} {error.next_step}"
        wanted = "PAYEE_NOT_ALLOWED" if call == "charge" else "PROVIDER_UNSUPPORTED"
        actor: Actor = "agent" if call == "charge" else "operator"
        self.steps.add(title, actor, call, arguments, f"{code}: {text}", {"code": code}, {"code": wanted})


def _send(bot: AgentHandle, amount: str, payee: str, key: str) -> Payment:
    return bot.charge(CUSTOMER, amount, "USDT", description="Hosting", payee=payee, idempotency_key=key)
