"""What the engine is to answer, worked out without it: a model of payments, refunds, subscriptions and usage.

It knows the mock's script, the policy of the workload and the clock, and nothing of the engine's code. Each verb says
how the call must end, as a status or the code of an error; `moved` is what the provider must have moved by now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

CAP: Final = 200_00
"""What the agent may charge in all, in cents."""

ASKED_ABOVE: Final = 25_00
APPROVAL_LASTS: Final = 30 * 60
LEASE: Final = 1.5
BACK_OFF: Final = (5 * 60, 60 * 60, 24 * 60 * 60)
DAY: Final = 24 * 60 * 60
QUOTA: Final = 5
PRICES: Final = {"pro": 10_00, "moved": 13_22, "lost": 13_21, "no": 13_01}

_OPEN: Final = ("pending", "unknown")
_RAISED: Final = {"declined": "PAYMENT_DECLINED", "not_sent": "NOT_SENT", "refused": "POLICY_DENIED"}

Kind = Literal["charge", "refund", "subscribe", "renew"]


def scripted(minor: int) -> tuple[str, bool]:
    """How a request of so many cents ends, and whether it moves money."""
    return {
        1: ("declined", False),
        10: ("pending", False),
        21: ("unknown", False),
        22: ("unknown", True),
        24: ("not_sent", False),
        26: ("unknown", True),
        27: ("unknown", True),
    }.get(minor - (minor // 100) * 100 if minor // 100 in (13, 14) else 0, ("succeeded", True))


@dataclass
class Item:
    """A payment or refund by its key."""

    kind: Kind
    key: str
    customer: str
    minor: int
    status: str = "new"
    of: Item | None = None
    sub: Sub | None = None
    plan: str = ""
    moved: bool = False
    approved: bool = False
    asked_at: float = 0.0
    sent_at: float = 0.0
    next_check: float = 0.0
    checks: int = 0

    @property
    def answer(self) -> str:
        """How a call ends that finds it so."""
        return _RAISED.get(self.status, self.status)


@dataclass
class Sub:
    """A subscription to a plan of one day."""

    plan: str
    created: float
    status: str = "incomplete"
    started: float | None = None
    paid_until: float = 0.0
    renewing: Item | None = None

    @property
    def live(self) -> bool:
        """Whether it can be renewed or canceled."""
        return self.status in ("active", "past_due")


@dataclass
class Model:
    """The whole of it. `now` is in seconds since the beginning."""

    now: float = 0.0
    items: dict[str, Item] = field(default_factory=dict)
    subs: dict[str, list[Sub]] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    use_keys: set[str] = field(default_factory=set)

    # -- charges and refunds

    def charge(self, key: str, customer: str, minor: int) -> str:
        """A charge under a new key."""
        self.expire()
        item = Item("charge", key, customer, minor)
        if self._held() + minor > CAP:
            return "POLICY_DENIED"
        self.items[key] = item
        if minor > ASKED_ABOVE:
            item.status, item.asked_at = "approval_required", self.now
            return item.answer
        return self._send(item)

    def refund(self, key: str, of: Item, minor: int) -> str:
        """A refund of a charge under a new key."""
        self.expire()
        if of.status != "succeeded" or minor > self.left(of):
            return "REFUND_REFUSED"
        self.items[key] = Item("refund", key, of.customer, minor, of=of)
        return self._send(self.items[key])

    def left(self, charge: Item) -> int:
        """What of a charge can still be refunded."""
        taken = ("succeeded", *_OPEN)
        return charge.minor - sum(one.minor for one in self.items.values() if one.of is charge and one.status in taken)

    def repeat(self, item: Item) -> str:
        """The same call again."""
        self.expire()
        if item.status == "not_sent":
            refused = self._refused_again(item)
            return refused or self._send(item)
        if item.status == "approval_required" and item.approved:
            return self._send(item)
        if item.status in _OPEN and item.next_check <= self.now:
            self._look_up(item)
        return item.answer

    def _refused_again(self, item: Item) -> str | None:
        if item.kind == "charge" and self._held() + item.minor > CAP:
            return "POLICY_DENIED"
        if item.kind == "refund" and item.of is not None and item.minor > self.left(item.of):
            return "REFUND_REFUSED"
        if item.kind == "subscribe" and not self._reopened(item):
            return "ALREADY_SUBSCRIBED"
        if item.kind == "renew" and not self._still_wanted(item):
            return "CONFLICT"
        return None

    def decide(self, item: Item, *, approve: bool) -> None:
        """A person answers."""
        if approve:
            item.approved = True
        else:
            item.status = "refused"

    def expire(self) -> None:
        """What nobody approved, or used, in time is refused."""
        for item in self.items.values():
            if item.status == "approval_required" and item.asked_at + APPROVAL_LASTS <= self.now:
                item.status = "refused"

    def reconcile(self) -> None:
        """Everything open is looked up."""
        self.expire()
        for item in self.items.values():
            if item.status in _OPEN:
                self._look_up(item)

    def complete(self, item: Item) -> None:
        """The provider moves the money of what is pending there."""
        item.moved = True

    def moved(self, *kinds: Kind) -> int:
        """What the provider has moved."""
        return sum(item.minor for item in self.items.values() if item.moved and item.kind in kinds)

    def _held(self) -> int:
        counts = ("approval_required", "succeeded", *_OPEN)
        return sum(one.minor for one in self.items.values() if one.kind == "charge" and one.status in counts)

    def _send(self, item: Item) -> str:
        outcome, moves = scripted(item.minor)
        item.sent_at, item.checks = self.now, 0
        item.moved = item.moved or moves
        self._settle(item, outcome)
        return item.answer

    def _settle(self, item: Item, outcome: str) -> None:
        if outcome in _OPEN:
            item.next_check = self.now + BACK_OFF[min(item.checks, 2)]
            item.checks += 1
        changed, item.status = item.status != outcome, outcome
        if changed and item.sub is not None:
            (self._first_paid if item.kind == "subscribe" else self._renewal_paid)(item, item.sub)

    def _look_up(self, item: Item) -> None:
        if item.moved:
            self._settle(item, "succeeded")
        elif item.status == "pending":
            self._settle(item, "pending")
        elif self.now >= item.sent_at + LEASE:
            self._settle(item, "not_sent")

    # -- subscriptions

    def subscribe(self, key: str, customer: str, plan: str) -> str:
        """A subscription under a new key."""
        self.expire()
        for sub in self.subs.get(customer, []):
            if sub.status == "incomplete" or (sub.plan == plan and (self._entitled(sub) or self._waits(sub))):
                return "ALREADY_SUBSCRIBED"
        sub = Sub(plan, self.now)
        self.subs.setdefault(customer, []).append(sub)
        self.items[key] = Item("subscribe", key, customer, PRICES[plan], sub=sub, plan=plan)
        return self._send(self.items[key])

    def renew(self, key: str, customer: str) -> str:
        """A renewal under a new key."""
        self.expire()
        if not self.subs.get(customer):
            return "NOT_FOUND"
        live = [sub for sub in self.subs[customer] if sub.live]
        if not live or self._waits(live[0]) or abs(self.now - live[0].paid_until) > DAY or self._lapsed(live[0]):
            return "CONFLICT"  # one period ahead can be paid, and one behind
        item = Item("renew", key, customer, PRICES[live[0].plan], sub=live[0])
        live[0].renewing = self.items[key] = item
        return self._send(item)

    def cancel(self, customer: str) -> str:
        """The subscription ends at once."""
        if not self.subs.get(customer):
            return "NOT_FOUND"
        live = [sub for sub in self.subs[customer] if sub.live]
        if not live:
            waits = any(sub.status == "incomplete" for sub in self.subs[customer])
            return "CONFLICT" if waits else "fine"
        live[0].status, live[0].renewing = "canceled", None
        return "fine"

    def subscribed(self, customer: str) -> bool:
        """Whether the customer has access now."""
        return any(self._entitled(sub) for sub in self.subs.get(customer, []))

    def _entitled(self, sub: Sub) -> bool:
        return sub.live and self.now < sub.paid_until

    def _waits(self, sub: Sub) -> bool:
        return sub.live and sub.renewing is not None

    def _lapsed(self, sub: Sub) -> bool:
        return self.now >= sub.paid_until + DAY

    def _first_paid(self, item: Item, sub: Sub) -> None:
        if item.status == "succeeded":
            for other in self.subs[item.customer]:
                if other is not sub and (other.live or other.status == "incomplete"):
                    other.status, other.renewing = "canceled", None
            sub.status, sub.started, sub.paid_until = "active", self.now, self.now + DAY
        elif item.status in ("declined", "not_sent"):
            sub.status = "expired"

    def _reopened(self, item: Item) -> bool:
        sub = item.sub
        assert sub is not None
        for other in self.subs[item.customer]:
            held = other is not sub and (other.live or other.status == "incomplete")
            begun = other.created if other.started is None else other.started
            if held and (other.status == "incomplete" or begun >= sub.created):
                return False
        sub.status = "incomplete"
        return True

    def _still_wanted(self, item: Item) -> bool:
        sub = item.sub
        return sub is not None and sub.live and sub.renewing is item and not self._lapsed(sub)

    def _renewal_paid(self, item: Item, sub: Sub) -> None:
        if item.status == "succeeded" and sub.live and sub.renewing is item:
            sub.status, sub.renewing, sub.paid_until = "active", None, sub.paid_until + DAY
        elif item.status == "declined" and sub.renewing is item:
            sub.status, sub.renewing = "past_due", None

    # -- usage

    def use(self, key: str, customer: str) -> str:
        """One unit of a quota."""
        if key in self.use_keys:
            return "fine"
        if self.used.get(customer, 0) >= QUOTA:
            return "USAGE_LIMIT_EXCEEDED"
        self.used[customer] = self.used.get(customer, 0) + 1
        self.use_keys.add(key)
        return "fine"

    def some(self, wanted: Callable[[Item], bool]) -> list[Item]:
        """The items of a kind, in the order they were made."""
        return [item for item in self.items.values() if wanted(item)]
