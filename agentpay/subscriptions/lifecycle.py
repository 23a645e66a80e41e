"""How a subscription begins and ends, inside the write of the payment or the verb that makes it so.

Every function locks the customer's slot in the plan's group first, and reads after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from agentpay.audit.log import record
from agentpay.customers.models import Customer
from agentpay.errors import AlreadySubscribed, Conflict, NotFound
from agentpay.ids import Ids
from agentpay.plans.models import PaymentPlan
from agentpay.plans.service import plan_of
from agentpay.principal import SYSTEM, Principal
from agentpay.storage.transaction import Tx
from agentpay.subscriptions import periods, queries
from agentpay.subscriptions.entitlement import Terms, ending, entitled
from agentpay.subscriptions.states import LIVE, Event, Status, after, known
from agentpay.subscriptions.tables import SubscriptionRow

_MOMENT: Final = timedelta(microseconds=1)


def status_of(row: SubscriptionRow) -> Status:
    """The state of a row, as one of the closed set."""
    return known(row.status)


def terms_of(row: SubscriptionRow) -> Terms:
    """What the entitlement of a row depends on."""
    return Terms(status_of(row), row.free, ends(row), row.paid_until)


def ends(row: SubscriptionRow) -> bool:
    """Whether an agreed end comes with the period that runs, or ran last: not before the term is over."""
    return ending(row.cancel_at_period_end, row.period_number, row.term)


def committed(row: SubscriptionRow, now: datetime) -> bool:
    """Whether the customer is bound beyond the period that runs, or ran last. Unpaid, it binds until it lapses."""
    lapsed = row.lapses_at is not None and row.lapses_at <= now
    return status_of(row) in LIVE and row.period_number < row.term and not lapsed


def begin(
    tx: Tx,
    customer: Customer,
    plan: PaymentPlan,
    *,
    principal: Principal,
    ids: Ids,
    now: datetime,
    subscription_id: str | None = None,
) -> SubscriptionRow:
    """A new subscription in the state incomplete: it holds the slot and gives no access until it is activated.

    Another live plan of the group stays as it is until then. `plan` is a stored version. An id is made
    where none is given.

    Raises:
        AlreadySubscribed: the customer has this plan, or a payment for one of its group is under way; nothing is
            written.
        Conflict: an agent asks, and the customer is committed to another plan of the group for longer.
    """
    queries.lock_slot(tx, customer.id, plan.group)
    for row in queries.in_group(tx, customer.id, plan.group):
        _refuse_second(row, plan, now)
        if principal.kind == "agent" and row.plan_id != plan.id and committed(continue_free(tx, row, now), now):
            raise _bound(row, "Keep the plan until its term is over, or ask the operator to change it.")
    row = SubscriptionRow(
        id=subscription_id or ids.new("sub"),
        customer_id=customer.id,
        plan_id=plan.id,
        plan_version=plan.version,
        plan_group=plan.group,
        status="incomplete",
        free=plan.is_free,
        term=plan.term,
        created_at=now,
        updated_at=now,
    )
    queries.insert(tx, row)
    _audit(tx, "begun", row, now, principal, plan=plan.id, version=plan.version, customer=customer.id)
    return row


def activate(
    tx: Tx, subscription_id: str, payment_id: str | None, now: datetime, *, principal: Principal = SYSTEM
) -> bool:
    """The first payment succeeded, or none is needed: period 1 starts now, and what it replaces ends.

    False, and nothing is written, where the payment cannot be used: the subscription began with another payment, was
    canceled, or ended with its payment and another one holds the group since. A person then decides about the money.

    Raises:
        NotFound: there is no such subscription.
    """
    row = queries.locked(tx, subscription_id)
    if row.started_at is not None:
        first = queries.payment_of(tx, row.id, 1)
        return first is not None and first.payment_id == payment_id
    if after(status_of(row), "activate") is None:
        return False
    others = [other for other in queries.in_group(tx, row.customer_id, row.plan_group) if other.id != row.id]
    if row.status == "expired" and _taken_since(others, row):
        return False
    for other in others:
        _end(tx, other, "cancel", now, principal, replaced_by=row.id)
    _start(tx, row, payment_id, now)
    _audit(tx, "activated", row, now, principal, payment=payment_id or "")
    return True


def fail(tx: Tx, subscription_id: str, now: datetime, *, principal: Principal = SYSTEM) -> bool:
    """The first payment ended without money: the subscription ends with it and frees the slot. False where it had not
    been waiting for one."""
    row = queries.locked(tx, subscription_id)
    if row.started_at is not None or after(status_of(row), "fail") is None:
        return False
    _end(tx, row, "fail", now, principal)
    return True


def reopen(tx: Tx, subscription_id: str, now: datetime, *, principal: Principal = SYSTEM) -> bool:
    """The first payment is tried again after it was not sent: the subscription waits for it again.

    False, and nothing is written, where it began already, or where another one holds the group since.
    """
    row = queries.locked(tx, subscription_id)
    if row.status == "incomplete":
        return True
    if row.started_at is not None or after(status_of(row), "reopen") is None:
        return False
    if _taken_since(queries.in_group(tx, row.customer_id, row.plan_group), row):
        return False
    queries.change(tx, row.id, status="incomplete", ended_at=None, updated_at=now)
    _audit(tx, "reopened", row, now, principal)
    return True


def cancel(
    tx: Tx, customer: Customer, plan_id: str | None, *, at_period_end: bool, principal: Principal, now: datetime
) -> tuple[SubscriptionRow, bool]:
    """End a subscription: at the end of its period, with access until then, or at once. Within a term of several
    periods it ends with the term, and only the operator ends it at once. Where the payment of its next period is under
    way, it ends with that period, or where that is not paid.

    Returns the row, and whether this call changed anything: canceling what is canceled is no fault.

    Raises:
        NotFound: the customer has no subscription to end.
        Conflict: the customer has several and none is named, the first payment is still under way, or the customer is
            committed for longer.
    """
    row = _to_cancel(tx, customer, plan_id)
    row = queries.locked(tx, row.id)
    if row.status == "incomplete":
        raise Conflict(
            "The subscription's first payment is under way.", next_step="Wait until the payment is final, then cancel."
        )
    if status_of(row) not in LIVE:
        return row, False
    row = continue_free(tx, row, now)
    bound = committed(row, now)
    if not at_period_end and bound and principal.kind == "agent":
        raise _bound(row, "Cancel it with at_period_end: it ends with its term.")
    goes_on = bound or row.renewing is not None or entitled(terms_of(row), now)
    if not at_period_end or row.paid_until is None or not goes_on:
        _end(tx, row, "cancel", now, principal)
    elif row.cancel_at_period_end:
        return row, False
    else:
        queries.change(tx, row.id, cancel_at_period_end=True, updated_at=now)
        _audit(tx, "cancel_agreed", row, now, principal)
    return queries.by_id(tx, row.id), True


def expire_ended(tx: Tx, now: datetime, limit: int = 100) -> int:
    """Write down what time has decided already, and return how many were ended.

    A subscription whose end was agreed is canceled when its period is over. One that was not renewed can be renewed
    without a gap until the period that it would be renewed for is over too; then it is expired. One whose renewal is
    under way is left alone.
    """
    count = 0
    for found in queries.ended(tx, now, limit):
        row = queries.locked(tx, found.id)
        if (row.status, row.updated_at) == (found.status, found.updated_at):
            _end(tx, row, "cancel" if ends(row) else "expire", now, SYSTEM)
            count += 1
    return count


def continue_free(tx: Tx, row: SubscriptionRow, now: datetime) -> SubscriptionRow:
    """Give a subscription of price 0 the rows of the periods that it went through by itself."""
    if not row.free or ends(row) or status_of(row) not in LIVE:
        return row
    before = row.period_number
    while row.paid_until is not None and row.paid_until <= now:
        append_period(tx, row, row.period_number + 1, None, now)
        row = queries.by_id(tx, row.id)
    if row.period_number > before:
        _audit(tx, "renewed", row, now, SYSTEM, number=row.period_number, payment="")
    return row


def append_period(tx: Tx, row: SubscriptionRow, number: int, payment_id: str | None, now: datetime) -> None:
    """Add the period of that number, computed from the anchor, and make the subscription active with it."""
    assert row.started_at is not None
    length = plan_of(tx, row.plan_id, row.plan_version).billing_period
    period = periods.nth(row.started_at, length, number)
    queries.insert_period(
        tx,
        subscription_id=row.id,
        number=number,
        starts_at=period.start,
        ends_at=period.end,
        payment_id=payment_id,
        created_at=now,
    )
    queries.change(
        tx,
        row.id,
        status="active",
        started_at=row.started_at,
        period_number=number,
        paid_until=period.end,
        lapses_at=None if period.end is None else periods.nth(row.started_at, length, number + 1).end,
        renewing=None,
        ended_at=None,
        updated_at=now,
    )


def _start(tx: Tx, row: SubscriptionRow, payment_id: str | None, now: datetime) -> None:
    anchor = _quota_anchor(tx, row, now)
    row.started_at = now
    append_period(tx, row, 1, payment_id, now)
    queries.change(tx, row.id, quota_anchor=anchor)


def _quota_anchor(tx: Tx, row: SubscriptionRow, now: datetime) -> datetime:
    """Where the quotas are counted from: the earlier subscription's anchor, while its last quota window still runs.

    So subscribing again never resets a quota, however often: the windows of a customer and a plan never overlap.
    """
    earlier = queries.newest_started(tx, row.customer_id, row.plan_id, row.id)
    if earlier is None or earlier.quota_anchor is None:
        return now
    last = _last_moment(earlier, now)
    length = plan_of(tx, row.plan_id, row.plan_version).billing_period
    return earlier.quota_anchor if periods.at(earlier.quota_anchor, length, last).covers(now) else now


def _last_moment(row: SubscriptionRow, now: datetime) -> datetime:
    """The last moment at which the subscription gave access."""
    assert row.quota_anchor is not None
    end = row.ended_at or now
    if row.paid_until is not None and not row.free:
        end = min(end, row.paid_until)
    return max(row.quota_anchor, end - _MOMENT)


def _refuse_second(row: SubscriptionRow, plan: PaymentPlan, now: datetime) -> None:
    if row.status == "incomplete":
        raise AlreadySubscribed(
            f"A payment for a plan of the group {plan.group!r} is under way.", subscription_id=row.id
        )
    if row.plan_id == plan.id and (entitled(terms_of(row), now) or row.renewing is not None):
        raise AlreadySubscribed(f"The customer has the plan {plan.id!r} already.", subscription_id=row.id)


def _bound(row: SubscriptionRow, next_step: str) -> Conflict:
    return Conflict(
        f"The subscription is committed to {row.term} periods, of which this is number {row.period_number}.",
        next_step=next_step,
    )


def _to_cancel(tx: Tx, customer: Customer, plan_id: str | None) -> SubscriptionRow:
    """The subscription that is meant: the live or waiting one, else the newest that was."""
    rows = [row for row in queries.newest_first(tx, customer.id) if plan_id is None or row.plan_id == plan_id]
    open_ = [row for row in rows if status_of(row) in LIVE] or [row for row in rows if row.status == "incomplete"]
    if len(open_) > 1:
        plans = ", ".join(sorted(row.plan_id for row in open_))
        raise Conflict(f"The customer has several subscriptions: {plans}.", next_step="Name the plan to cancel.")
    if open_ or rows:
        return (open_ or rows)[0]
    raise NotFound("The customer has no such subscription.", next_step="Read what there is with get_subscription.")


def _end(
    tx: Tx, row: SubscriptionRow, event: Event, now: datetime, principal: Principal, *, replaced_by: str = ""
) -> None:
    """Move a subscription to the state in which it stays."""
    status = after(status_of(row), event)
    assert status is not None
    queries.change(tx, row.id, status=status, ended_at=now, renewing=None, updated_at=now)
    _audit(tx, status, row, now, principal, **({"replaced_by": replaced_by} if replaced_by else {}))


def _audit(tx: Tx, what: str, row: SubscriptionRow, now: datetime, principal: Principal, **data: object) -> None:
    record(tx, principal=principal, action=f"subscription.{what}", object_id=row.id, data=data, at=now)


def _taken_since(others: Sequence[SubscriptionRow], row: SubscriptionRow) -> bool:
    """Whether the group was given to another one since: not by the plan that this one was to replace."""
    return any(
        other.status == "incomplete" or (other.started_at or row.created_at) >= row.created_at for other in others
    )
